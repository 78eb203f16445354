"""The comparison of a server with the trainer: it agrees where it should, and says so where it
does not.
"""

from pathlib import Path

import numpy as np
import pytest

from configs import Experiment, InputError, load_experiment
from serving.export.reference_scores import stored_scores
from serving.export.version_writer import export
from serving.selfcheck import TOLERANCE, check, log_rows
from tests.conftest import QUICKSTART, SMALL
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune
from trainer.training.pretrain import pretrain


def test_a_server_gives_the_trainers_scores(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, models_dir: Path
) -> None:
    result = check(experiment, dataset_dir, Job(job_dir), models_dir, 100)
    active = list(KernelStore(Job(job_dir)).active())[:2]
    assert result["rows"] == 100
    assert list(result["domains"]) == [*active, "auto", "backbone"]
    assert max(domain["largest_difference"] for domain in result["domains"].values()) <= TOLERANCE
    assert result["rank"]["largest_difference"] <= 1e-6
    for name in (*active, "backbone"):
        assert result["domains"][name]["served"] == [name]


def test_a_server_gives_a_taught_students_scores(
    dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """A student is a job like any other: tuned, exported and served."""
    experiment = load_experiment(
        QUICKSTART,
        [
            *SMALL,
            "backbone.embedding_dimension=2",
            "backbone.expert_layers=[4]",
            "features.history.attention=false",
            "pretrain.epochs=1",
        ],
    )
    job, models = Job(tmp_path / "student"), tmp_path / "models"
    pretrain(experiment, dataset_dir, job, Job(job_dir))
    finetune(experiment, dataset_dir, job, ["all", "scene=home"])
    export(job, models)
    result = check(experiment, dataset_dir, job, models, 100)
    assert result["rows"] == 100
    assert max(domain["largest_difference"] for domain in result["domains"].values()) <= TOLERANCE
    assert result["rank"]["largest_difference"] <= 1e-6


def test_a_job_without_active_kernels_is_scored_by_its_backbone(
    experiment: Experiment, logs: Path, job_copy: Path
) -> None:
    job = Job(job_copy)
    rows = log_rows(experiment, str(logs / "*.parquet"), 20)
    under_kernel = stored_scores(job, experiment, rows)
    assert under_kernel.active
    for domain in under_kernel.active:
        KernelStore(job).deactivate(domain)
    without = stored_scores(job, experiment, rows)
    scores, served = without.scores_for("auto")
    assert served == ["backbone"] * 20
    np.testing.assert_array_equal(scores["ctr"], under_kernel.scores_for("backbone")[0]["ctr"])
    assert (scores["ctr"] != under_kernel.scores_for(under_kernel.active[0])[0]["ctr"]).any()


def test_an_export_of_other_kernels_is_refused(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, models_dir: Path
) -> None:
    job = Job(job_copy)
    for domain in KernelStore(job).active():
        KernelStore(job).deactivate(domain)
    with pytest.raises(InputError, match="export again"):
        check(experiment, dataset_dir, job, models_dir, 2_000)
