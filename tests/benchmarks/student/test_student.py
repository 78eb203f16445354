"""A table of jobs on one split: the figures are those of ``evaluate``, the sizes those of the
models.
"""

import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.figures.tables import study_table
from benchmarks.method.text import MISSING
from benchmarks.student import __main__ as command
from benchmarks.student import compare as module
from configs import Experiment
from configs.files import read_json
from trainer.backbone.saving import load_frozen
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore


@pytest.fixture
def words(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, job_dir: Path, tmp_path: Path
) -> list[str]:
    """The job, and a copy that serves its backbone alone."""
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False))
    alone = job_copy.rename(tmp_path / "alone")
    for domain in KernelStore(Job(alone)).active():
        KernelStore(Job(alone)).deactivate(domain)
    jobs = ["--job-dir", str(job_dir), str(alone)]
    return ["--config", str(config), "--data", str(dataset_dir), *jobs]


def test_figures_are_those_of_evaluate(
    words: list[str],
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 2)
    monkeypatch.setattr(sys, "argv", ["student", *words, "--json"])
    command.main()
    found = json.loads(capsys.readouterr().out)
    name = job_dir.name
    assert list(found) == [name, f"{name}, backbone", "alone, backbone"]
    before = (job_dir / "reports" / "metrics.json").exists()
    overall = evaluate(experiment, dataset_dir, Job(job_dir)).to_json()["overall"]
    if not before:  # the job is everybody's
        (job_dir / "reports" / "metrics.json").unlink()
    for task in ("ctr", "ctcvr"):
        for metric in ("auc", "gauc"):
            served, alone = (
                found[row]["figures"][task][metric] for row in (name, "alone, backbone")
            )
            expected = overall[task][metric]
            assert served["value"] == pytest.approx(expected["kernel"], abs=1e-6)
            assert alone["value"] == pytest.approx(expected["backbone"], abs=1e-6)
            assert alone["delta"] == pytest.approx(alone["value"] - served["value"], abs=1e-9)
            assert found[f"{name}, backbone"]["figures"] == found["alone, backbone"]["figures"]
    size = found["alone, backbone"]
    total = load_frozen(Job(job_dir), experiment).count_params()
    assert size["tables"] + size["dense"] == total
    ids = read_json(dataset_dir / "manifest.json")["vocabulary_sizes"]
    assert size["tables"] % experiment.backbone.embedding_dimension == 0
    assert size["tables"] >= ids["user_id"] * experiment.backbone.embedding_dimension
    assert all(speed > 0 for speed in size["rows_per_s"].values())
    assert "rows_per_s" not in found[name]


def test_the_table_has_a_line_for_each(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_ROUNDS", 2)
    path = tmp_path / "student" / "report.json"
    words += ["--split", "validation", "--report", str(path)]
    monkeypatch.setattr(sys, "argv", ["student", *words])
    command.main()
    title, first, second, third = capsys.readouterr().out.splitlines()
    titles, *rows = study_table(read_json(path), "student/jobs/0")
    assert titles[0] == "served"
    for printed, row in zip((title, first, second, third), (titles[1:], *rows), strict=True):
        cells = [cell for cell in row if cell != MISSING]
        assert printed.split() == " ".join(cells).split()
    assert "CTCVR-GAUC" in title
    assert first.count("[") == 0
    assert second.count("[") == third.count("[") == 4
    assert third.startswith("alone, backbone")
