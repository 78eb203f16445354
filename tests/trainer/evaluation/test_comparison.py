"""A kernel beside one reference or both, on the same rows."""

import numpy as np
import pytest

from tests.tasks import TARGETS
from tests.trainer.conftest import random_rows, variant
from trainer.evaluation.comparison import compare, compare_with_both, paired_rows
from trainer.metrics.paired_bootstrap import paired_comparison
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import METRICS

EXPERIMENT = variant("evaluation.bootstrap=20")
DATA = random_rows(300)
ROWS = np.arange(20, 280)
GENERATOR = np.random.default_rng(7)
KERNEL, ALL_TRAFFIC = (
    DATA.logits[ROWS] + GENERATOR.standard_normal((260, 2), np.float32) for _ in range(2)
)


def test_each_reference_is_compared_as_if_it_stood_alone() -> None:
    both = compare_with_both(EXPERIMENT, DATA, ROWS, KERNEL, ALL_TRAFFIC)
    backbone = compare(EXPERIMENT, DATA, ROWS, KERNEL)
    for task, pair in paired_rows(EXPERIMENT, DATA, ROWS, KERNEL, ALL_TRAFFIC):
        other = paired_comparison(*pair, 20, EXPERIMENT.seed)
        for metric in METRICS:
            cell = both[task][metric]
            first = (cell.backbone, cell.kernel, cell.delta, cell.ci95)
            assert first == tuple(dict(backbone[task][metric]).values())
            second = (cell.all, cell.kernel, cell.delta_all, cell.ci95_all)
            assert second == tuple(dict(other[metric]).values())
            assert cell.all != cell.backbone


def test_without_the_second_reference_the_first_stands_alone() -> None:
    alone = compare_with_both(EXPERIMENT, DATA, ROWS, KERNEL, None)
    backbone = compare(EXPERIMENT, DATA, ROWS, KERNEL)
    for task in TARGETS:
        for metric, cell in alone[task].items():
            assert {cell.all, cell.delta_all, cell.ci95_all} == {"undefined"}
            kept = {name: getattr(cell, name) for name in Comparison.model_fields}
            assert Comparison(**kept) == backbone[task][metric]


@pytest.mark.parametrize("reference", [None, ALL_TRAFFIC], ids=["backbone", "another"])
def test_paired_rows_hold_the_reference_in_the_place_of_the_backbone(
    reference: np.ndarray | None,
) -> None:
    shown = DATA.logits[ROWS] if reference is None else reference
    for task, pair in paired_rows(EXPERIMENT, DATA, ROWS, KERNEL, reference):
        if task == "ctr":
            np.testing.assert_allclose(pair.backbone, 1 / (1 + np.exp(-shown[:, 0])), rtol=1e-5)
            np.testing.assert_allclose(pair.kernel, 1 / (1 + np.exp(-KERNEL[:, 0])), rtol=1e-5)
