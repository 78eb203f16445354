"""A job's model on the rows of today: calibration by domain, and the rule of the backbone's age."""

from pathlib import Path

import numpy as np
import pytest

import trainer  # noqa: F401 - must come before TensorFlow
from configs import Experiment, InputError
from configs.files import read_json, write_json
from operations.drift.compare import compare
from operations.drift.drift_page import write_drift_page
from operations.drift.drift_result import DriftResult, TaskAge
from operations.drift.drift_text import render_text
from operations.drift.model_drift import age_of, model_drift, standard_errors
from preprocessing.dataset.manifest import load_manifest
from trainer.job import Job


@pytest.mark.parametrize(
    ("new", "zero_shot", "served", "anew", "words"),
    [
        (0.70, 0.66, 0.665, True, "lost 4.00 AUC points since it was new; kernels recover 0.50"),
        (0.70, 0.66, 0.699, False, "3.90; 0.10 are left, not above 1 (drift.age)"),
        (0.70, 0.71, 0.700, True, "gained 1.00"),
    ],
)
def test_the_rule_by_hand(
    new: float, zero_shot: float, served: float, anew: bool, words: str
) -> None:
    tasks = {"ctr": TaskAge(new=new, zero_shot=zero_shot, served=served)}
    threshold = -0.5 if zero_shot > new else 1.0
    found = age_of(tasks, "test", threshold)
    assert found.pretrain is anew and words in found.says
    assert found.says.endswith("or pre-train anew" if anew else ": no need to pre-train anew")
    assert found.lost_points == pytest.approx(100 * (new - zero_shot))
    assert found.recovered_points == pytest.approx(100 * (served - zero_shot))


def test_standard_errors_by_hand() -> None:
    users = np.array([7, 7, 8, 9])
    # sums of users: 1, -2, 2
    apart = np.array([0.5, 0.5, -2.0, 2.0])
    assert standard_errors(apart, users) == pytest.approx(1 / 3)
    assert standard_errors(np.ones(100), np.arange(100)) == pytest.approx(10.0)
    assert standard_errors(np.ones(100), np.zeros(100)) == pytest.approx(1.0)
    assert standard_errors(np.zeros(3), np.arange(3)) == 0.0


@pytest.fixture(scope="module")
def result(experiment: Experiment, dataset_dir: Path, job_dir: Path) -> DriftResult:
    return compare(experiment, dataset_dir, dataset_dir, split="pretrain", job=Job(job_dir))


def test_a_job_s_model_is_judged_on_the_evaluation_split(
    result: DriftResult, dataset_dir: Path, job_dir: Path
) -> None:
    assert result.other.splits == ("test",) and result.age and result.calibration
    cells = {(cell.domain, cell.task): cell for cell in result.calibration}
    counts = load_manifest(dataset_dir).splits["test"].domains["all"]
    of_all = cells["all", "ctr"]
    assert (of_all.rows, of_all.positives) == (counts.rows, counts.labels["click"])
    assert of_all.observed == pytest.approx(counts.labels["click"] / counts.rows)
    assert of_all.ratio == pytest.approx(of_all.predicted / of_all.observed)
    figures = [entry["validation"] for entry in read_json(job_dir / "backbone" / "history.json")]
    new = {task: of.new for task, of in result.age.tasks.items()}
    assert new in [{task: one[f"{task}_auc"] for task in new} for one in figures]


def test_on_the_rows_that_validated_it_the_backbone_has_lost_nothing(
    experiment: Experiment, dataset_dir: Path, job_dir: Path
) -> None:
    _, age = model_drift(experiment, dataset_dir, Job(job_dir), experiment.pretrain.validation)
    click = age.tasks["ctr"]
    assert click.zero_shot == pytest.approx(click.new, abs=1e-6)


def test_what_is_far_off_in_many_rows_has_drifted(
    result: DriftResult, experiment: Experiment
) -> None:
    assert result.calibration
    for cell in result.calibration:
        assert not cell.drifted or abs(cell.ratio - 1) > experiment.drift.calibration
        assert cell.drifted == bool(cell.says)
    assert result.drifted == bool(result.lines)


def test_page_and_text_say_the_rule(result: DriftResult, tmp_path: Path) -> None:
    assert result.age
    write_drift_page(result, tmp_path / "page.html")
    page, text = (tmp_path / "page.html").read_text(), render_text(result)
    assert result.age.says[1:] in page and result.age.says in text
    assert "Calibration by domain" in page and "<svg" not in page  # drawings are images


def test_a_job_without_a_course_of_training(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    write_json(job_copy / "backbone" / "history.json", [{"step": 1}])
    with pytest.raises(InputError, match=r"history.json: not the course of a pre-training"):
        model_drift(experiment, dataset_dir, Job(job_copy), "test")
