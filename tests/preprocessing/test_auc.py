"""The area under the ROC curve, by hand and by scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from preprocessing.auc import roc_auc


def test_ties_count_half() -> None:
    labels, scores = np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.1, 0.3])
    assert roc_auc(labels, scores) == pytest.approx((1.5 + 1) / 4)


def test_a_pair_counts_by_its_weights() -> None:
    # Positives of weight 2 and 1 against negatives of weight 3 and 1: 2 x 4 of 12 pairs are won by
    # the first; the second ties with one of weight 1 and loses to one of weight 3.
    labels, scores = np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.6, 0.4])
    assert roc_auc(labels, scores, np.array([2.0, 1.0, 3.0, 1.0])) == pytest.approx(8.5 / 12)


def test_one_outcome_is_none() -> None:
    assert roc_auc(np.array([1, 1]), np.array([0.1, 0.2])) is None
    assert roc_auc(np.array([]), np.array([])) is None
    assert roc_auc(np.array([1, 0]), np.array([0.1, 0.2]), np.array([1.0, 0.0])) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 4)), min_size=2, max_size=30
    ).filter(lambda rows: len({label for label, _, _ in rows}) == 2)
)
def test_it_is_scikit_learns(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, weights = np.array(rows, np.float64).T
    assert roc_auc(labels, scores, weights) == pytest.approx(
        roc_auc_score(labels, scores, sample_weight=weights)
    )
