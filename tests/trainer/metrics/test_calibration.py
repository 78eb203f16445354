"""Reliability curves and the order of amounts, against reckonings by hand and what must hold."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.metrics.calibration import BINS, calibration, order_agreement
from trainer.metrics.task_metrics import Floats, auc

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, rows: int = 200) -> tuple[Floats, Floats, Floats]:
    """Labels, predictions of which many are equal, and weights of which some are 0."""
    random = np.random.default_rng(seed)
    predictions = random.integers(0, random.integers(1, 200), rows) / 200
    weights = random.integers(0, 4, rows).astype(np.float64)
    return (random.random(rows) < predictions).astype(np.float64), predictions, weights


@given(SEEDS)
def test_bins_hold_every_row_that_counts_once_and_in_order(seed: int) -> None:
    labels, predictions, weights = drawn(seed)
    bins = calibration(labels, predictions, weights, labels > 0).bins
    counted = weights > 0
    assert sum(of.rows for of in bins) == counted.sum()
    assert sum(of.positives for of in bins) == labels[counted].sum()
    assert len(bins) <= min(BINS, len(set(predictions[counted])))
    predicted = [of.predicted for of in bins]
    assert predicted == sorted(set(predicted))


@given(SEEDS)
def test_neither_order_nor_weight_in_another_unit_changes_a_curve(seed: int) -> None:
    labels, predictions, weights = drawn(seed)
    found = calibration(labels, predictions, weights, labels > 0)
    order = np.random.default_rng(seed).permutation(len(labels))
    other = calibration(labels[order], predictions[order], 8 * weights[order], labels[order] > 0)
    assert other.ece == pytest.approx(found.ece, abs=1e-12)
    for one, two in zip(found.bins, other.bins, strict=True):
        assert two.model_dump() == pytest.approx(one.model_dump())


def test_bins_are_of_equal_weight_where_no_predictions_are_equal() -> None:
    predictions = np.random.default_rng(0).permutation(1_000) / 1_000
    bins = calibration(predictions, predictions, np.ones(1_000), predictions > 0.5).bins
    assert [of.rows for of in bins] == BINS * [100]
    assert [of.predicted for of in bins] == pytest.approx(np.arange(0.0495, 1.0, 0.1))
    heavy = np.where(predictions < 0.5, 9.0, 1.0)
    bins = calibration(predictions, predictions, heavy, predictions > 0.5).bins
    assert len([of for of in bins if of.predicted < 0.5]) == 9


def test_the_error_is_the_mean_distance_by_hand() -> None:
    labels, predictions = np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.2, 0.2, 0.9, 0.9])
    found = calibration(labels, predictions, np.array([1.0, 3.0, 4.0, 4.0]), labels > 0)
    assert [(of.predicted, of.observed, of.rows, of.positives) for of in found.bins] == [
        (pytest.approx(0.2), 0.75, 2, 1),
        (pytest.approx(0.9), 1.0, 2, 2),
    ]
    assert found.ece == pytest.approx((4 * 0.55 + 8 * 0.1) / 12)


@given(SEEDS)
def test_what_is_predicted_exactly_has_no_error(seed: int) -> None:
    amounts = np.random.default_rng(seed).exponential(20.0, 100)
    assert calibration(amounts, amounts, np.ones(100), amounts > 20).ece == 0.0


def test_no_rows_have_no_curve() -> None:
    for rows in (0, 3):
        nothing = calibration(np.ones(rows), np.ones(rows), np.zeros(rows), np.ones(rows, bool))
        assert (nothing.ece, nothing.bins) == ("undefined", ())


AMOUNTS = arrays(np.float64, st.integers(2, 12), elements=st.integers(0, 5).map(float))


@given(AMOUNTS, SEEDS)
def test_the_order_of_amounts_is_the_share_of_pairs_by_hand(amounts: Floats, seed: int) -> None:
    predictions = np.random.default_rng(seed).integers(0, 4, len(amounts)).astype(np.float64)
    pairs = [
        (amounts[i] - amounts[j]) * (predictions[i] - predictions[j])
        for i, j in combinations(range(len(amounts)), 2)
        if amounts[i] != amounts[j]
    ]
    found = order_agreement(amounts, predictions)
    if not pairs:
        assert found is None
    else:
        assert found == pytest.approx(np.mean([0.5 * (1 + np.sign(pair)) for pair in pairs]))


@given(SEEDS)
def test_of_amounts_of_two_sizes_the_order_is_the_auc(seed: int) -> None:
    labels, predictions, _ = drawn(seed)
    assert order_agreement(7.0 * labels, predictions) == (
        pytest.approx(expected) if (expected := auc(labels, predictions)) is not None else None
    )


def test_the_order_of_a_monotone_prediction_is_whole() -> None:
    amounts = np.random.default_rng(3).exponential(20.0, 5_000)
    assert order_agreement(amounts, np.sqrt(amounts)) == pytest.approx(1.0)
    assert order_agreement(amounts, -amounts) == pytest.approx(0.0)
