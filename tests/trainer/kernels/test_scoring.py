"""Rows scored under kernels: logits, probabilities, sample spaces, the mean AUC."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.tasks import TASKS
from tests.trainer.conftest import SHAPE, random_kernel, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels import scoring
from trainer.kernels.bank import KernelBank
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import mean_auc, predicted_rows, score_rows, task_rows

ROWS = random_rows(120)


@pytest.mark.parametrize("residual", [True, False])
def test_scores_are_those_of_the_bank_whatever_the_chunk(
    residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = KernelShape(SHAPE.widths, "relu", residual, "tower")
    chosen = np.arange(5, 100, 3)
    bank = KernelBank(2, shape)
    bank.put(1, random_kernel(shape, 1))
    expected = bank(ROWS.taps[chosen], ROWS.logits[chosen], np.ones(len(chosen), np.int32)).numpy()
    for chunk in (7, 65_536):
        monkeypatch.setattr(scoring, "_CHUNK", chunk)
        np.testing.assert_allclose(
            score_rows(shape, random_kernel(shape, 1), ROWS, chosen), expected, rtol=1e-5, atol=1e-6
        )
    assert score_rows(shape, random_kernel(shape, 1), ROWS, np.empty(0, np.int64)).shape == (0, 2)


def test_probabilities_multiply() -> None:
    p = predicted_rows(TASKS, ROWS.logits)
    np.testing.assert_allclose(p["ctr"], 1 / (1 + np.exp(-ROWS.logits[:, 0])), rtol=1e-5)
    np.testing.assert_allclose(p["ctcvr"], p["ctr"] * p["cvr"], rtol=1e-5)


def test_each_task_is_judged_in_its_sample_space() -> None:
    chosen = np.arange(10, 90)
    experiment = variant()
    click, order = ROWS.labels("click")[chosen], ROWS.labels("conversion")[chosen]
    expected = {
        "ctr": (np.ones(80, bool), click),
        "cvr": (click > 0, order[click > 0]),
        "ctcvr": (np.ones(80, bool), order),
    }
    for task, (inside, labels) in expected.items():
        received = task_rows(experiment, ROWS, chosen, task)
        np.testing.assert_array_equal(received[0], inside)
        np.testing.assert_array_equal(received[1], labels)


def with_labels(click: float, conversion: float) -> BackboneOutputs:
    labels = {
        "label/click": np.full(120, click, np.float32),
        "label/conversion": np.full(120, conversion, np.float32),
    }
    return BackboneOutputs(ROWS.logits, ROWS.taps, {**ROWS.columns, **labels})


def test_mean_auc_is_over_the_tasks_where_it_is_defined() -> None:
    experiment, chosen = variant(), np.arange(120)
    p, weights = predicted_rows(TASKS, ROWS.logits), ROWS.weights
    ctr = roc_auc_score(ROWS.labels("click"), p["ctr"], sample_weight=weights)
    ctcvr = roc_auc_score(ROWS.labels("conversion"), p["ctcvr"], sample_weight=weights)
    assert mean_auc(experiment, ROWS, chosen, ROWS.logits) == pytest.approx((ctr + ctcvr) / 2)
    half = BackboneOutputs(
        ROWS.logits, ROWS.taps, {**ROWS.columns, "label/conversion": np.zeros(120, np.float32)}
    )
    assert mean_auc(experiment, half, chosen, ROWS.logits) == pytest.approx(ctr)
    assert mean_auc(experiment, with_labels(0, 0), chosen, ROWS.logits) is None
    assert mean_auc(experiment, ROWS, np.empty(0, np.int64), ROWS.logits[:0]) is None
