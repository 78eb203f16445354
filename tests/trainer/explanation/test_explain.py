"""What a job's model reads: the same scores as ``evaluate``, what the simulator knows to decide,
and what is left on disk.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment
from configs.section import read_section
from tests.tasks import RANKING
from trainer.evaluation.evaluate import evaluate
from trainer.explanation.explain import explain
from trainer.job import Job
from trainer.metrics.explanation_results import Importance
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.explanation_text import render_importance

SIDES = ("backbone", "kernel")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explanation")


@pytest.fixture(scope="module")
def result(experiment: Experiment, dataset_dir: Path, job_dir: Path, output: Path) -> Importance:
    """Of all rows of the test split."""
    return explain(experiment, dataset_dir, Job(job_dir), permutations=2, output=output)


def test_rows_as_they_are_have_the_scores_of_evaluate(
    result: Importance, experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    judged = evaluate(experiment, dataset_dir, Job(job_copy))
    assert result.drawn_by is None
    assert result.rows == result.of_rows == judged.rows
    assert result.config == judged.config
    assert KernelStore(Job(job_copy)).active()
    for task in RANKING:
        figure = judged.overall[task]["auc"]
        assert result.overall.auc[task].model_dump() == figure.model_dump(exclude={"all"})
        assert figure.backbone != figure.kernel
    for name, found in result.domains.items():
        assert found.rows == judged.domains[name].rows
        assert found.undecided.keys() == judged.domains[name].undecided.keys() & set(RANKING)
        for task, pair in found.auc.items():
            assert pair.backbone == judged.domains[name].tasks[task]["auc"].backbone
    assert [*result.domains] == [name for name in judged.domains if name != "all"]


def test_what_decides_in_the_simulator_is_found(result: Importance) -> None:
    """Clicks follow a shop's quality, which its rating tells; nothing follows the device."""
    for task in RANKING:
        lost = result.overall.lost[task]
        for side in SIDES:
            figures = {name: float(getattr(cell, side).lost) for name, cell in lost.items()}
            most = sorted(figures, key=lambda name: -figures[name])[:4]
            assert "rating" in most
            low, _ = getattr(lost["rating"], side).ci95
            assert float(low) > 0
            low, high = getattr(lost["device"], side).ci95
            assert float(low) <= 0 <= float(high)


def test_the_position_is_not_read_when_served(result: Importance) -> None:
    assert [name for name, about in result.inputs.items() if not about.read] == ["position"]
    for part in (result.overall, *result.domains.values()):
        for task in part.lost:
            cell = part.lost[task]["position"]
            for side in (cell.backbone, cell.kernel):
                assert (side.lost, side.ci95) == (0.0, (0.0, 0.0))
    assert result.by_loss("ctr")[-1] == "position"


def test_the_mean_weights_of_a_gate_add_up_to_one(result: Importance) -> None:
    assert result.experts is not None
    assert list(result.experts) == ["ctr_gate", "cvr_gate"]
    for gate in result.experts.values():
        parts = [gate.overall, *(part for part in gate.domains.values() if part)]
        assert len(parts) > 3
        for part in parts:
            assert sum(part) == pytest.approx(1.0, abs=1e-5)
        assert gate.domains["region=r9"] is None
        # The mean over scenes and other rows is that of all rows, which is within their range.
        of_scenes = np.array([gate.domains["scene=home"], gate.domains["scene=search"]])
        assert not np.allclose(*of_scenes, atol=1e-4)


def test_files_hold_what_was_found(result: Importance, output: Path) -> None:
    assert read_section(output / "explanation.json", Importance) == result
    page = (output / "explanation.html").read_text()
    assert page.count("<img ") == len(RANKING)
    for name in (*result.inputs, *result.domains, "ctr_gate"):
        assert name.replace(",", ",<wbr>") in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_text_names_every_input_domain_and_expert(
    result: Importance, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = render_importance(result)
    for name in (*result.inputs, *result.domains, "cvr_gate"):
        assert name in text
    assert "not read when served" in text
    assert "(mean of 2 permutations)" in text.replace("\n", " ")
    assert all(len(line) <= min(width, 80) for line in text.splitlines())


def test_a_body_without_gates_says_so(result: Importance) -> None:
    bare = result.model_copy(update={"experts": None, "body": "esmm"})
    assert "experts: the body 'esmm' has no gates" in render_importance(bare)


def test_fewer_rows_are_whole_users_and_the_same_every_time(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    few = experiment.model_copy(update={"cross_topics": ()})
    found: list[Any] = []
    for _ in range(2):
        explain(few, dataset_dir, Job(job_dir), rows=600, permutations=1, output=tmp_path)
        found.append(json.loads((tmp_path / "explanation.json").read_text()))
    assert found[0] == found[1]
    assert found[0]["drawn_by"] == "users"
    assert 500 < found[0]["rows"] <= 600 < found[0]["of_rows"]


def test_memory_is_permuted_key_by_key_and_no_backbone_reads_it(
    memory_experiment: Experiment, dataset_dir: Path, memory_job: Path, tmp_path: Path
) -> None:
    job = Job(memory_job)
    found = explain(memory_experiment, dataset_dir, job, permutations=1, output=tmp_path)
    keys = [name for name, about in found.inputs.items() if about.kind == "memory"]
    remembering = [
        KernelStore(job).load(name, version).shape.memory
        for name, version in KernelStore(job).active().items()
    ]
    assert remembering
    assert all(remembering)
    assert keys == ["memory/user", "memory/shop", "memory/shop_scene"]
    lost = found.overall.lost["ctr"]
    assert {lost[name].backbone.lost for name in keys} == {0.0}
    assert all(lost[name].kernel.lost != 0.0 for name in keys)
    text = " ".join(render_importance(found).split())
    assert "memory/user is made of a raw column that user_id also has" in text
