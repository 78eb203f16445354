import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from configs.errors import InputError
from trainer.metrics.task_metrics import (
    METRICS,
    auc,
    gauc,
    log_loss,
    normalised_entropy,
    pcoc,
    task_metrics,
    to_json,
)


@st.composite
def rows(draw):
    """Labels, scores with many ties, weights (some 0), groups."""
    size = draw(st.integers(0, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    scores = draw(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=size, max_size=size)
    )
    weights = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=size, max_size=size))
    groups = draw(st.lists(st.integers(-2, 3), min_size=size, max_size=size))
    return (
        np.array(labels, int),
        np.array(scores, float),
        np.array(weights, float),
        np.array(groups, np.int64),
    )


def pairwise_auc(labels, scores, weights):
    """The definition, pair by pair."""
    won = pairs = 0.0
    for y, p, w in zip(labels, scores, weights, strict=True):
        for other_y, other_p, other_w in zip(labels, scores, weights, strict=True):
            if y == 1 and other_y == 0:
                won += w * other_w * ((p > other_p) + 0.5 * (p == other_p))
                pairs += w * other_w
    return won / pairs if pairs else None


def simulate(size, seed=0, tied=False):
    generator = np.random.default_rng(seed)
    scores = generator.random(size)
    labels = (generator.random(size) < scores * 0.4).astype(np.int64)
    groups = generator.integers(-(2**62), 2**62, size // 8)[generator.integers(0, size // 8, size)]
    return labels, np.round(scores, 2) if tied else scores, generator.random(size) * 3, groups


def test_auc_by_hand():
    # positives 0.8, 0.4; negatives 0.6, 0.4: won 0.8>0.6, 0.8>0.4, tie 0.4=0.4 (half), lost 0.4<0.6
    assert auc([1, 1, 0, 0], [0.8, 0.4, 0.6, 0.4]) == 2.5 / 4


def test_auc_by_hand_with_weights():
    # weights: positives 2, 1; negatives 3, 1. Won 2*3 + 2*1 + 1*1/2 of (2 + 1) * (3 + 1) pairs
    assert auc([1, 1, 0, 0], [0.8, 0.4, 0.6, 0.4], [2, 1, 3, 1]) == pytest.approx(8.5 / 12)


def test_auc_of_constant_scores_is_a_half():
    assert auc([0, 1, 0, 1, 1], [0.3] * 5) == 0.5


def test_gauc_by_hand():
    labels = [1, 0, 0, 1, 0, 1, 1]
    scores = [0.9, 0.1, 0.9, 0.2, 0.3, 0.5, 0.6]
    groups = [7, 7, 7, -1, -1, 4, 4]
    # request 7: (1 + 1/2) / 2 = 0.75 over 3 rows; request -1: 0 over 2 rows; request 4 has
    # positives alone
    assert gauc(labels, scores, None, groups) == pytest.approx(3 * 0.75 / 5)


def test_gauc_weighs_requests_by_their_rows_weight():
    # request 0: AUC 1, weight 3; request 1: AUC 0, weight 1
    assert gauc(
        [1, 0, 1, 0], [0.9, 0.1, 0.1, 0.9], [1, 2, 0.5, 0.5], [0, 0, 1, 1]
    ) == pytest.approx(0.75)


def test_log_loss_normalised_entropy_and_pcoc_by_hand():
    labels, scores = [1, 0, 0, 0], [0.5, 0.25, 0.25, 0.5]
    loss = -(2 * np.log(0.5) + 2 * np.log(0.75)) / 4
    assert log_loss(labels, scores) == pytest.approx(loss)
    assert normalised_entropy(labels, scores) == pytest.approx(
        loss / -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    )
    assert pcoc(labels, scores) == pytest.approx(1.5)


def test_predicting_the_base_rate_has_normalised_entropy_one():
    labels, _, weights, _ = simulate(500)
    rate = (labels * weights).sum() / weights.sum()
    assert normalised_entropy(labels, np.full(500, rate), weights) == pytest.approx(1.0)
    assert pcoc(labels, np.full(500, rate), weights) == pytest.approx(1.0)


def test_log_loss_is_clipped():
    assert log_loss([1, 0], [0.0, 0.0]) == pytest.approx(-np.log(1e-7) / 2)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metrics_equal_scikit_learn(tied, dtype):
    labels, scores, weights, groups = simulate(1200, tied=tied)
    scores = scores.astype(dtype)
    for w in (None, weights):
        found = task_metrics(labels, scores, w, groups)
        assert found["auc"] == pytest.approx(
            reference.roc_auc_score(labels, scores, sample_weight=w), abs=1e-12
        )
        exact = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
        assert found["log_loss"] == pytest.approx(
            reference.log_loss(labels, exact, sample_weight=w), rel=1e-9
        )
        total = won = 0.0
        for group in np.unique(groups):
            inside = groups == group
            if len(set(labels[inside])) == 2:
                part = None if w is None else w[inside]
                size = inside.sum() if w is None else part.sum()
                won += size * reference.roc_auc_score(
                    labels[inside], scores[inside], sample_weight=part
                )
                total += size
        assert found["gauc"] == pytest.approx(won / total, abs=1e-10)


@given(rows())
@settings(max_examples=100, deadline=None)
def test_metrics_hold_to_their_definitions(data):
    labels, scores, weights, groups = data
    found = task_metrics(labels, scores, weights, groups)
    expected = pairwise_auc(labels, scores, weights)
    assert (found["auc"] is None) == (expected is None)
    assert all(value is None or np.isfinite(value) for value in found.values())
    if expected is None:
        assert set(found.values()) == {None}
        return
    assert found["auc"] == pytest.approx(expected, abs=1e-12)
    assert auc(labels, 0.5 * scores + 0.1, weights) == pytest.approx(expected, abs=1e-12), (
        "only the order counts"
    )
    assert auc(1 - labels, scores, weights) == pytest.approx(1 - expected, abs=1e-12)
    one_request = gauc(labels, scores, weights, np.zeros(len(labels), np.int64))
    assert one_request == pytest.approx(expected, abs=1e-12)


@given(rows())
@settings(max_examples=60, deadline=None)
def test_a_weight_counts_like_copies_of_the_row(data):
    labels, scores, _, groups = data
    copies = (groups + 2) % 3
    repeated = [np.repeat(values, copies) for values in (labels, scores, groups)]
    weighted, copied = (
        task_metrics(labels, scores, copies, groups),
        task_metrics(repeated[0], repeated[1], None, repeated[2]),
    )
    assert weighted == {
        name: value if value is None else pytest.approx(value, abs=1e-12)
        for name, value in copied.items()
    }


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1, 1]])
def test_an_empty_or_one_class_slice_is_undefined(labels):
    scores, groups = np.full(len(labels), 0.3), np.zeros(len(labels), np.int64)
    assert task_metrics(labels, scores, None, groups) == dict.fromkeys(METRICS)


def test_a_class_without_weight_does_not_count():
    assert task_metrics([1, 0, 0], [0.1, 0.2, 0.3], [0, 1, 1], [0, 0, 0]) == dict.fromkeys(METRICS)


def test_gauc_alone_is_undefined_where_no_request_has_both_classes():
    found = task_metrics([1, 1, 0], [0.1, 0.2, 0.3], None, [1, 1, 2])
    assert found["gauc"] is None
    assert found["auc"] == 0.0


def test_undefined_is_a_word_in_json():
    assert to_json(None) == "undefined"
    assert to_json(0.5) == 0.5


def test_bad_rows_are_refused():
    with pytest.raises(InputError, match="2 of 3 scores are NaN or infinite"):
        auc([0, 1, 1], [0.1, np.nan, np.inf])
    with pytest.raises(ValueError, match=r"labels should be 0 or 1\. Received: 2"):
        auc([0, 2], [0.1, 0.2])
    with pytest.raises(
        ValueError, match=r"weights should be finite and not negative\. Received: -1"
    ):
        auc([0, 1], [0.1, 0.2], [1, -1])
    with pytest.raises(ValueError, match="vectors of one length"):
        auc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="groups should be a vector"):
        gauc([0, 1], [0.1, 0.2], None, [1])


def test_half_a_million_rows_are_quick():
    labels, scores, weights, groups = simulate(500_000)
    start = time.perf_counter()
    gauc(labels, scores, weights, groups)
    assert time.perf_counter() - start < 3.0  # 0.2 s on an idle core; the slack is for busy ones
