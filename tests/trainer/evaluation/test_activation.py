"""Is a kernel better? The comparison, and the rule by which a kernel is activated."""

from typing import Any

import numpy as np
import pytest

from tests.trainer.conftest import auc_figures, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.evaluation.activation import passes_activation_rule
from trainer.evaluation.comparison import compare
from trainer.losses import TASK_NAMES
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import METRICS

BETTER, UNCLEAR, WORSE, UNDEFINED = [0.001, 0.02], [-0.01, 0.01], [-0.02, -0.001], "undefined"
ROWS = random_rows(120)


@pytest.mark.parametrize(
    ("ctr", "ctcvr", "expected"),
    [
        (BETTER, BETTER, True),
        (BETTER, UNCLEAR, True),
        (UNCLEAR, BETTER, True),
        (BETTER, UNDEFINED, True),
        (UNDEFINED, BETTER, True),
        (UNCLEAR, UNCLEAR, False),
        (BETTER, WORSE, False),
        (WORSE, BETTER, False),
        (UNDEFINED, UNDEFINED, False),
        (UNDEFINED, WORSE, False),
        ([0.0, 0.02], UNCLEAR, False),  # above zero, not from zero on
        ([0.001, 0.02], [-0.02, 0.0], True),  # below zero, not up to zero
    ],
)
def test_a_kernel_helps_where_one_interval_is_above_zero_and_none_below(
    ctr: Any, ctcvr: Any, expected: bool
) -> None:
    figures = {
        task: {name: Comparison(**cell) for name, cell in metrics.items()}
        for task, metrics in auc_figures(ctr, ctcvr).items()
    }
    assert passes_activation_rule(figures) is expected


def with_labels(click: float, conversion: float) -> BackboneOutputs:
    labels = {
        "label/click": np.full(120, click, np.float32),
        "label/conversion": np.full(120, conversion, np.float32),
    }
    return BackboneOutputs(ROWS.logits, ROWS.taps, {**ROWS.columns, **labels})


def test_a_kernel_against_itself_is_no_gain() -> None:
    figures = compare(variant(), ROWS, np.arange(120), ROWS.logits)
    for task in TASK_NAMES:
        for metric in METRICS:
            assert figures[task][metric].delta == 0.0
            assert figures[task][metric].ci95 == (0.0, 0.0)
    assert not passes_activation_rule(figures)


def test_a_kernel_that_knows_the_labels_helps() -> None:
    knowing = ROWS.logits + 4 * np.stack([ROWS.labels("click"), ROWS.labels("conversion")], 1)
    figures = compare(variant(), ROWS, np.arange(120), knowing)
    assert passes_activation_rule(figures)
    assert figures["ctr"]["auc"].delta == pytest.approx(
        figures["ctr"]["auc"].kernel - figures["ctr"]["auc"].backbone
    )
    assert not passes_activation_rule(
        compare(
            variant(),
            BackboneOutputs(knowing, ROWS.taps, ROWS.columns),
            np.arange(120),
            ROWS.logits,
        )
    )


def test_one_class_is_undefined() -> None:
    figures = compare(variant(), with_labels(0, 0), np.arange(120), ROWS.logits)
    cells = [cell for task in figures.values() for cell in task.values()]
    assert {value for cell in cells for value in cell.model_dump().values()} == {"undefined"}
