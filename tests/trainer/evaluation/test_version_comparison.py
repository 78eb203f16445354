"""Two versions of a kernel on the same rows."""

from pathlib import Path

import numpy as np
import pytest

from configs import Experiment, InputError
from configs.domains import Domain
from tests.tasks import TASKS
from tests.trainer.conftest import one_line, variant
from trainer.backbone.frozen_pass import run_frozen
from trainer.evaluation.version_comparison import score_both
from trainer.job import Job
from trainer.kernels.scoring import predicted_rows, score_rows, task_rows
from trainer.metrics.task_metrics import auc
from trainer.registry.kernel_registry import KernelStore

HOME = "scene=home"


@pytest.fixture
def two(job_copy: Path) -> Job:
    """A job with a second version of a domain's kernel, three times as strong."""
    store = KernelStore(Job(job_copy))
    kernel = store.load(HOME, 1)
    louder = {name: 3.0 * array for name, array in kernel.weights.items()}
    assert store.add(HOME, louder, kernel.manifest) == 2
    return Job(job_copy)


def test_both_are_scored_on_the_domains_rows(
    experiment: Experiment, dataset_dir: Path, two: Job, frozen: object, dataset: object
) -> None:
    scored = score_both(experiment, dataset_dir, two, "validation", HOME, [1, 2])
    rows = run_frozen(frozen, dataset, "validation", experiment.kernel.tap, "")  # type: ignore[arg-type]
    inside = rows.domain_rows(Domain.parse(HOME, experiment.topics))
    assert (scored.split, scored.rows) == ("validation", len(inside))
    _, labels = task_rows(experiment, rows, inside, "ctr")
    for version, found in (
        (1, scored.figures["ctr"]["auc"].backbone),
        (2, scored.figures["ctr"]["auc"].kernel),
    ):
        kernel = KernelStore(two).load(HOME, version)
        logits = score_rows(kernel.shape, kernel.weights, rows, inside)
        expected = auc(labels, predicted_rows(TASKS, logits)["ctr"], rows.weights[inside])
        assert found == pytest.approx(expected)
    same = score_both(experiment, dataset_dir, two, None, HOME, [2, 2])
    assert same.split == experiment.evaluation.split
    assert {metrics["auc"].delta for metrics in same.figures.values()} <= {0.0, "undefined"}
    assert np.isfinite(float(same.figures["ctr"]["log_loss"].kernel))


def test_what_cannot_be_compared_is_one_line(
    experiment: Experiment, dataset_dir: Path, two: Job
) -> None:
    with pytest.raises(InputError, match="no version 3 of domain 'scene=home'") as error:
        score_both(experiment, dataset_dir, two, None, HOME, [1, 3])
    one_line(error)
    store = KernelStore(two)
    nowhere = variant("topics.scene.values=[home, search, moon]")
    record = store.load(HOME, 1)
    moon = [c.model_copy(update={"value": "moon"}) for c in record.manifest.definition or ()]
    manifest = record.manifest.model_copy(update={"definition": tuple(moon)})
    store.add("scene=moon", record.weights, manifest)
    with pytest.raises(InputError, match="has no row of domain 'scene=moon'") as error:
        score_both(nowhere, dataset_dir, two, None, "scene=moon", [1, 1])
    one_line(error)
