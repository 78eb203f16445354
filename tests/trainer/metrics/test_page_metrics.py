"""How a score orders requests: by hand, against scikit-learn, and what ties are worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from trainer.metrics.page_metrics import PAGE_METRICS, Pages, compare_pages, page_values
from trainer.metrics.user_draws import UserDraws


def pages(gains: list[float], requests: list[int], top: int = 2, bound: float = 0.5) -> Pages:
    values, names = np.array(gains, float), np.array(requests)
    return Pages(values, values > bound, names, names, top)


def test_by_hand() -> None:
    """Best order 3 2 1; the score gives 1 3 2; the second request has nothing to gain."""
    found = page_values(pages([3.0, 0.0, 1.0, 0.0, 0.0], [7, 7, 7, 9, 9]), [0.5, 0.9, 0.1, 1, 2])
    best = 3 + 1 / np.log2(3)
    assert found["ndcg"][0] == pytest.approx((3 / np.log2(3)) / best)
    assert found["mrr"][0] == 0.5
    assert found["recall"][0] == 0.5
    assert found["gauc"][0] == 0.5 * 0.0 + 0.0
    for metric in PAGE_METRICS:
        assert np.isnan(found[metric][1])


@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_one_request_is_what_scikit_learn_says(rows: int, top: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    gains, scores = (
        random.integers(0, 3, rows).astype(float),
        random.permutation(rows).astype(float),
    )
    found = page_values(pages(gains.tolist(), [1] * rows, top), scores)
    if not gains.any():
        assert np.isnan(found["ndcg"][0])
        return
    assert found["ndcg"][0] == pytest.approx(ndcg_score([gains], [scores], k=top))
    positive = gains > 0.5
    order = np.argsort(-scores)
    assert found["mrr"][0] == 1 / (1 + np.flatnonzero(positive[order])[0])
    assert found["recall"][0] == positive[order[:top]].sum() / positive.sum()
    if not positive.all():
        assert found["gauc"][0] == pytest.approx(roc_auc_score(positive, scores))


def test_rows_of_one_score_do_not_stand_as_they_were_shown() -> None:
    """A log's first row is the one that is clicked; a score that knows nothing must not know it."""
    requests, rows = 2_000, 10
    gains = np.tile(np.eye(rows)[0], requests)
    names = np.repeat(np.arange(requests), rows)
    found = page_values(Pages(gains, gains > 0.5, names, names, 1), np.zeros(gains.size))
    assert found["recall"].mean() == pytest.approx(0.1, abs=0.03)


def test_sides_are_compared_on_the_same_requests() -> None:
    requests = np.repeat(np.arange(40), 5)
    random = np.random.default_rng(1)
    gains = (random.random(200) < 0.3).astype(float)
    shown = Pages(gains, gains > 0.5, requests, requests % 8, 2)
    draws = UserDraws(requests % 8, 50, 1)
    scores = {"backbone": random.random(200), "kernel": gains}
    found = compare_pages(shown, scores, draws)
    with_gain = len({r for r in range(40) if gains[requests == r].any()})
    for metric in ("ndcg", "mrr", "recall"):
        cell = found[metric]
        assert cell.requests == with_gain
        assert cell.kernel == pytest.approx(1.0, abs=0.5 if metric == "recall" else 1e-9)
        assert cell.delta == pytest.approx(float(cell.kernel) - float(cell.backbone))
        assert float(cell.ci95[0]) <= float(cell.delta) <= float(cell.ci95[1])
    same = compare_pages(shown, {"backbone": gains, "kernel": gains}, draws)
    assert {same[metric].ci95 for metric in PAGE_METRICS} == {(0.0, 0.0)}


def test_nothing_to_gain_is_undefined() -> None:
    shown = pages([0.0, 0.0], [1, 1])
    found = compare_pages(
        shown, {"backbone": [1.0, 2.0], "kernel": [1.0, 2.0]}, UserDraws([1, 1], 5)
    )
    for cell in found.values():
        assert (cell.kernel, cell.delta, cell.ci95, cell.requests) == (*["undefined"] * 3, 0)
