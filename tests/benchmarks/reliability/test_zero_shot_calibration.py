"""The section on the backbone's calibration: what its figures are, and when one counts as off."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.reliability import zero_shot_calibration
from benchmarks.reliability.zero_shot_calibration import zero_shot_pcoc
from benchmarks.speed.options import Options
from configs import Experiment
from trainer.job import Job


def test_a_backbone_is_calibrated_on_its_own_rows_and_would_not_be_without_its_intercepts(
    experiment: Experiment, dataset_dir: Path, job_dir: Path
) -> None:
    found = zero_shot_pcoc(experiment, dataset_dir, Job(job_dir))
    assert found["ctr"] == pytest.approx(1.0, abs=1e-4)
    assert found["ctcvr"] == pytest.approx(1.0, abs=1e-4)
    assert abs(float(found["ctr_without"]) - 1.0) > 0.01
    other = zero_shot_pcoc(experiment, dataset_dir, Job(job_dir), "test")
    assert other.keys() == found.keys()
    assert other["ctr"] != found["ctr"]


def test_figures_that_are_off_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def bench(experiment: Experiment, logs: str | None, folder: Path) -> Any:
        made.append(experiment)
        return SimpleNamespace(data=folder, job=None)

    def pcoc(experiment: Experiment, data: Path, job: Any) -> dict[str, float | str]:
        off = "undefined" if experiment.pretrain.progressive else 1.04 if len(made) == 2 else 1.0
        return {"ctr": off, "ctr_without": 2.0}

    monkeypatch.setattr(zero_shot_calibration, "Bench", bench)
    monkeypatch.setattr(zero_shot_calibration, "zero_shot_pcoc", pcoc)
    figures = zero_shot_calibration.measure(Options(tmp_path, tmp_path, quick=True))
    assert figures["outside"] == 2
    assert figures["progressive_ctr"] == "undefined"
    assert [experiment.backbone.debias is None for experiment in made] == [
        False,
        False,
        True,
        False,
    ]
    (table,) = zero_shot_calibration.tables(figures)["pcoc"]
    assert [row["cells"] for row in table["rows"]] == [
        ["quickstart, seed 17", "2.00", "1.000"],
        ["a stronger position bias", "2.00", "1.040"],
        ["without position debias", "2.00", "1.000"],
        ["progressive pre-training", "2.00", "undefined"],
    ]
    two = {"seed_18_ctr": 1.0, "seed_18_ctr_without": 1.123, "seed_18_ctcvr": 0.9996}
    (table,) = zero_shot_calibration.tables({**two, "seed_18_ctcvr_without": 1.2})["pcoc"]
    assert table["rows"] == [{"cells": ["quickstart, seed 18", "1.12 / 1.20", "1.000 / 1.000"]}]
