# Every target makes .venv where it needs it, of PYTHON; `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/quickstart
CONFIG := configs/quickstart.yaml
PROCESSES ?= 2
BENCHMARKS ?= reliability method speed

.DEFAULT_GOAL := help
.PHONY: help install quickstart test coverage lint format hooks docs package benchmark gallery figures clean

help:  ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed  ## Make .venv with everything that the other targets need.

.venv/installed: setup.py requirements-worker.txt domain_kernels/version.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[train,serve,dev,bench,tune,docs]'
	touch $@

quickstart: install  ## Simulate logs, train, tune 30 domains, export, and check what is served.
	rm -rf $(RUN)/job $(RUN)/models
	$(BIN)/python -m preprocessing.simulate --config $(CONFIG) --output $(RUN)/logs
	$(BIN)/python -m preprocessing.task --config $(CONFIG) --output $(RUN)/data
	$(BIN)/python -m trainer.task pretrain --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task finetune --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task evaluate --config $(CONFIG) --data $(RUN)/data --job-dir $(RUN)/job
	$(BIN)/python -m trainer.task report --job-dir $(RUN)/job
	$(BIN)/python -m serving.export --job-dir $(RUN)/job --output $(RUN)/models
	$(BIN)/python -m serving.selfcheck --data $(RUN)/data --job-dir $(RUN)/job --models $(RUN)/models

# A file's tests share what it makes, so a file goes to one process.
test: install  ## Run the whole test suite in two processes.
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile $(COVERAGE)

# Tracing graphs is most of what tests wait for, and takes half as long again when it is traced itself.
coverage: COVERAGE = --cov --cov-report=term
coverage: test  ## The same, and print the coverage.

lint: install  ## Run ruff (rules and format) and mypy, as the pre-commit hooks do.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## Let ruff mend what it can and format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: install  ## Run what `make lint` runs before every commit, by pre-commit.
	$(BIN)/pip install --quiet --disable-pip-version-check 'pre-commit>=4,<5'
	$(BIN)/pre-commit install

# Material's notice about its own future is no warning of ours.
docs: install  ## Build the documentation as a site in site/; a warning is an error.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

package: install  ## Build wheel and sdist of a release in dist/, and check them.
	$(BIN)/python -m release --output dist

# Small ones measure nothing, so they may run beside each other.
benchmark: install  ## Run every method and section of the benchmarks once, small.
	printf '%s\n' $(BENCHMARKS) | xargs -P $(PROCESSES) -I {} $(BIN)/python -m benchmarks.{} --quick

gallery: install  ## Make every page that the program writes, with pictures where Chromium is.
	$(BIN)/python -m benchmarks.gallery --output runs/gallery

figures: install  ## Write the tables of README and docs from the reports in runs/method.
	$(BIN)/python -m benchmarks.figures

clean:  ## Remove runs/, site/ and .venv.
	rm -rf runs site .venv
