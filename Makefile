# Every target makes what it needs; `make install` alone creates .venv.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/quickstart
CONFIG := configs/quickstart.yaml

.PHONY: install quickstart test lint benchmark clean

install: .venv/installed

.venv/installed: setup.py requirements-worker.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,serve,dev,bench]'
	touch $@

quickstart: install
	rm -rf $(RUN)/job $(RUN)/models
	$(BIN)/python -m preprocessing.simulate --config $(CONFIG) --output $(RUN)/logs
	$(BIN)/python -m preprocessing.task --config $(CONFIG) --output $(RUN)/data
	$(BIN)/python -m trainer.task pretrain --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task finetune --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task evaluate --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task report --job-dir $(RUN)/job
	$(BIN)/python -m serving.export --job-dir $(RUN)/job --output $(RUN)/models
	$(BIN)/python -m serving.selfcheck --data $(RUN)/data --job-dir $(RUN)/job --models $(RUN)/models

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: install
	$(BIN)/python -m benchmarks.method --quick
	$(BIN)/python -m benchmarks.speed --quick
	$(BIN)/python -m benchmarks.reliability --quick

clean:
	rm -rf runs .venv
