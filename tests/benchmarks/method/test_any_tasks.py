"""Studies of other tasks than a click and an order after it: every method, and the report."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.method.bench import Bench
from benchmarks.method.cells import cells_of, read_cells, run_cells
from benchmarks.method.methods.oracle import oracle
from benchmarks.method.report import write_report
from benchmarks.method.results import Results
from benchmarks.method.sections import report_of
from benchmarks.method.study import Study
from benchmarks.method.text import render_text
from configs import InputError
from configs.domains import ALL
from tests.conftest import MEMORY, QUICKSTART, SMALL
from tests.trainer.conftest import one_line, variant
from trainer.kernels.scoring import predicted_rows
from trainer.metrics.task_metrics import auc

ONE = "tasks={view: {label: click}}"
FIVE = (
    "tasks={view: {label: click},"
    " buy: {label: conversion, after: view, loss_weight: 0.0, entire: {name: view_and_buy}},"
    " direct: {label: conversion},"
    " again: {label: click},"
    " kept: {label: conversion, after: again}}"
)
RANKING = {ONE: ["view"], FIVE: ["view", "view_and_buy", "direct", "again"]}

_PLAIN = ["finetune.regulariser=none", "finetune.rates=constant", "finetune.child_epochs=null"]
METHODS: dict[str, dict[str, Any]] = {
    "zero_shot": {"run": "backbone"},
    "kernels": {"run": "kernels", "options": {"information": True, "compose": True}},
    "memory": {"run": "kernels", "set": [MEMORY]},
    "gate": {"run": "kernels", "set": ["kernel.gate=support"]},
    "last_two": {"run": "last_layers", "options": {"count": 2}, "set": _PLAIN},
    "bottleneck": {"run": "bottleneck", "options": {"parameters": 200}, "set": _PLAIN},
    "lora": {"run": "lora", "options": {"rank": 2}, "set": _PLAIN},
    "prompt": {"run": "prompt", "set": _PLAIN},
    "tower_input": {"run": "tower_input", "options": {"enters": "both"}},
    "id_biases": {
        "run": "id_biases",
        "options": {"features": ["user_id"], "precision": [10], "base": "backbone"},
    },
    "calibration": {"run": "calibration"},
    "update": {"run": "update"},
    "full": {"run": "full", "options": {"epochs": 1, "domains": ["scene=home"]}},
    "lightgbm": {"run": "lightgbm", "options": {"rounds": 5}},
    "trees": {
        "run": "lightgbm",
        "options": {"rounds": 5, "memory": True, "frozen": True},
        "set": [MEMORY],
    },
}


def study_of(tasks: str) -> Study:
    rows = [{"method": name} for name in METHODS if name != "zero_shot"]
    point = {"method": "kernels", "reference": "update", "x": 1}
    return Study.model_validate(
        {
            "name": "any",
            "title": "Any tasks",
            "description": "Every method.",
            "config": str(QUICKSTART),
            "set": [*SMALL, "score=view", tasks],
            "seeds": [17],
            "resamples": 4,
            "methods": {name: {"title": name, **method} for name, method in METHODS.items()},
            "sections": [
                {"id": "main", "title": "Main", "kind": "methods", "rows": rows},
                {"id": "log_loss", "title": "Log loss", "kind": "log_loss", "rows": rows},
                {"id": "domains", "title": "Domains", "kind": "domains", "rows": rows},
                {"id": "activity", "title": "Activity", "kind": "activity", "rows": rows},
                {"id": "absent", "title": "Absent", "kind": "absent", "rows": rows},
                {
                    "id": "curve",
                    "title": "Curve",
                    "kind": "curve",
                    "curves": [{"title": "kernels", "points": [point]}],
                },
            ],
            "bars": [
                {"bar": "gain", "method": "kernels", "at_least": [0.1] * len(RANKING[tasks])},
                {"bar": "level", "method": "kernels", "kind": "level", "tasks": RANKING[tasks][:1]},
            ],
        }
    )


@pytest.fixture(scope="module", params=[ONE, FIVE], ids=["one", "five"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, logs: Path
) -> tuple[Study, Results, Path]:
    tf.config.experimental.enable_op_determinism()
    study, folder = study_of(request.param), tmp_path_factory.mktemp("any")
    cells = cells_of(study, (17,))
    assert len(list(run_cells(study, cells, str(logs / "*.parquet"), folder))) == len(METHODS)
    experiment = study.experiment()
    results = Results(read_cells(cells, folder), experiment.domains, experiment.tasks.ranking)
    return study, results, folder


def test_every_method_has_figures_of_every_task(finished: tuple[Study, Results, Path]) -> None:
    study, results, _ = finished
    tasks = study.experiment().tasks
    assert list(results.tasks) == RANKING[study.set[-1]]
    for outcome in results.outcomes.values():
        for cell in outcome["splits"]["test"].values():
            assert list(cell) == ["rows", *results.tasks]
    for name in METHODS:
        for task in results.tasks:
            level = results.level(name, "test", "auto", task)
            assert level and 0.3 < level.value < 1.0
    calibrated = results.outcomes["calibration", 17]
    assert calibrated["parameters"] == 2 * len(tasks.towers)
    trees = results.level("lightgbm", "test", "auto", "view")
    assert trees and trees.value > 0.52


def test_tables_plots_and_bars_have_every_task(
    finished: tuple[Study, Results, Path], tmp_path: Path
) -> None:
    study, results, _ = finished
    result = report_of(study, results, "command")
    names = [task.upper() for task in results.tasks]
    main, losses, domains, activity, missing, curve = result["sections"]
    (table,) = main["tables"]
    columns = [column for name in names for column in (f"{name} gain", "by seed")]
    columns += [f"{name}-{metric}" for metric in ("AUC", "GAUC") for name in names]
    assert table["columns"][1:-4] == columns
    assert [plot["title"].partition(",")[0] for plot in main["plots"]] == names
    assert losses["tables"][0]["columns"][1::3] == names
    for section in (domains, activity, missing, curve):
        assert [table["title"].partition(",")[0] for table in section["tables"]] == names
    for section in result["sections"]:
        for table in section["tables"]:
            assert all(len(row["cells"]) == len(table["columns"]) for row in table["rows"])
    gain, level = result["bars"]
    assert gain["measured"].count(":") == gain["asked"].count("/") + 1 == len(names)
    assert level["measured"].startswith(f"{names[0]}: 0.")
    json.dumps(result, allow_nan=False)
    assert all(f"{name}-GAUC" in render_text(result) for name in names)
    write_report(result, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f"<th scope=col class=number>{name} gain</th>" in page for name in names)


def test_the_truth_of_a_task_that_has_one(
    logs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The small logs' truth speaks of ``ctr``, not of ``view``."""
    folder, given = tmp_path_factory.mktemp("truth"), str(logs / "*.parquet")
    experiment = variant("tasks={ctr: {label: click}}")
    bench = Bench(experiment, given, folder)
    logits = oracle(bench, experiment, ["test"], {})[""].logits["test"][ALL]
    rows = bench.rows("test")
    assert logits.shape == (len(rows.logits), 1)
    value = auc(rows.labels("click"), predicted_rows(experiment.tasks, logits)["ctr"])
    assert value is not None and value > 0.6
    assert np.isfinite(logits).all()
    with pytest.raises(InputError, match="cannot read columns impression_id, view") as error:
        oracle(bench, variant(ONE), ["test"], {})
    one_line(error)
