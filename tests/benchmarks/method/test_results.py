"""Results: draws are paired, differences, shares and intervals are those worked out by hand."""

from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow
from benchmarks.method.draws import Draws
from benchmarks.method.outcome import AUTO
from benchmarks.method.results import Results, estimate
from configs import Experiment, InputError
from configs.random_streams import Purpose, random_stream
from trainer.metrics.task_metrics import auc, gauc, log_loss

USERS = np.array([3, 3, 1, 1, 2, 2, 2, 5], np.int64)
LABELS = np.array([1, 0, 0, 1, 0, 1, 0, 1], np.float32)
SCORES = np.array([0.9, 0.2, 0.4, 0.3, 0.1, 0.8, 0.8, 0.6], np.float32)
ONES = np.ones(8, np.float32)


def test_a_draw_is_the_auc_with_every_user_counted_as_often_as_drawn() -> None:
    value, drawn = Draws(USERS, ONES, resamples=20, seed=4).auc(LABELS, SCORES, np.arange(8))
    assert value == auc(LABELS, SCORES)
    for draw, found in enumerate(drawn):
        counts = np.bincount(
            random_stream(4, Purpose.BOOTSTRAP, draw).integers(4, size=4), minlength=4
        )
        times = counts[np.unique(USERS, return_inverse=True)[1]]
        expected = auc(LABELS, SCORES, times)
        assert found == pytest.approx(value if expected is None else expected, abs=1e-6)


def test_draws_of_a_slice_are_those_of_the_split() -> None:
    """The same users are drawn in a domain as in all rows, so differences of domains are paired."""
    draws, rows = Draws(USERS, ONES, resamples=10), np.array([0, 1, 4, 5, 6])
    _, drawn = draws.auc(LABELS[rows], SCORES[rows], rows)
    outside = np.ones(8)
    outside[[2, 3, 7]] = 0
    _, masked = Draws(USERS, outside.astype(np.float32), resamples=10).auc(
        LABELS, SCORES, np.arange(8)
    )
    np.testing.assert_allclose(drawn, masked, atol=1e-6)


def test_a_draw_of_log_loss_counts_every_user_as_often_as_drawn() -> None:
    rows, weights = np.array([0, 1, 3, 4, 5, 7]), np.arange(1, 9, dtype=np.float32)
    draws = Draws(USERS, weights, resamples=20, seed=4)
    value, drawn = draws.log_loss(LABELS[rows], SCORES[rows], rows)
    assert value == log_loss(LABELS[rows], SCORES[rows], weights[rows])
    losses = -np.log(np.where(LABELS == 1, SCORES, 1 - SCORES))[rows]
    for draw, found in enumerate(drawn):
        counts = np.bincount(
            random_stream(4, Purpose.BOOTSTRAP, draw).integers(4, size=4), minlength=4
        )
        times = weights[rows] * counts[np.unique(USERS, return_inverse=True)[1]][rows]
        expected = losses @ times / times.sum() if times.any() else value
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_draw_of_gauc_counts_every_user_as_often_as_drawn() -> None:
    rows, weights = np.array([0, 1, 2, 3, 4, 5, 7]), np.arange(1, 9, dtype=np.float32)
    requests = np.array([7, 7, 8, 8, 9, 9, 4])[::-1].copy()  # of rows; one has a single row
    draws = Draws(USERS, weights, resamples=20, seed=4)
    y, p, users = LABELS[rows][::-1].copy(), SCORES[rows][::-1].copy(), USERS[rows][::-1]
    value, drawn = draws.gauc(y, p, rows[::-1].copy(), requests)
    assert value == pytest.approx(gauc(y, p, weights[rows][::-1], requests))
    for draw, found in enumerate(drawn):
        counts = np.bincount(
            random_stream(4, Purpose.BOOTSTRAP, draw).integers(4, size=4), minlength=4
        )
        times = weights[rows][::-1] * counts[np.searchsorted(np.unique(USERS), users)]
        expected = gauc(y, p, times, requests)
        assert found == pytest.approx(value if expected is None else expected, abs=1e-6)


def test_one_class_is_no_figure() -> None:
    draws, zeros = Draws(USERS, ONES, resamples=3), np.zeros(8, np.float32)
    assert draws.auc(zeros, SCORES, np.arange(8)) == (None, [])
    assert draws.log_loss(zeros, SCORES, np.arange(8)) == (None, [])
    assert draws.gauc(zeros, SCORES, np.arange(8), USERS) == (None, [])


def test_an_estimate_is_the_mean_over_seeds_with_the_spread_of_users() -> None:
    found = estimate([(0.01, np.array([0.01, 0.03])), (0.03, np.array([0.03, 0.05]))], scale=100.0)
    half = 1.96 * float(np.std([2.0, 4.0], ddof=1))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert found.seeds == pytest.approx((1.0, 3.0))


def test_above_zero_is_so_with_the_interval_and_under_every_seed() -> None:
    sure, draws = np.array([0.02, 0.021]), np.array([0.02, 0.05])
    assert estimate([(0.02, sure), (0.01, sure)], 1.0).above_zero
    assert not estimate([(0.05, sure), (-0.01, sure)], 1.0).above_zero
    assert not estimate([(0.02, draws)], 1.0).above_zero


def test_an_interval_covers_about_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(2_000):
        users = (
            rng.normal()
        )  # the sample of users, the same for every seed; its draws scatter around it
        found = estimate([(users, users + rng.normal(size=40))], 1.0)
        held += found.low <= 0.0 <= found.high
    assert 0.93 < held / 2_000 < 0.97


def outcome_of(active: list[str] | None, rows: int = 5, **aucs: float) -> dict[str, Any]:
    """A finished cell's outcome with these AUC by slice, in two draws."""
    cell = {
        name: {
            "rows": rows,
            **{task: {"auc": value, "draws": [value, value + 0.01]} for task in ("ctr", "ctcvr")},
        }
        for name, value in aucs.items()
    }
    return {
        "active": active,
        "parameters": 1,
        "rows": 2,
        "seconds": 3.0,
        "notes": {},
        "splits": {"test": cell},
    }


def test_gains_average_domains_and_leave_out_what_is_not_active(experiment: Experiment) -> None:
    zero, own = (
        outcome_of(None, a=0.6, b=0.7, auto=0.6),
        outcome_of(["a"], a=0.62, b=0.66, auto=0.65),
    )
    results = Results(
        {("zero", 1): zero, ("own", 1): own}, experiment.domains, experiment.tasks.ranking
    )
    plain = results.gain("own", "zero", "test", ["a", "b"], "ctr")
    served = results.gain("own", "zero", "test", ["a", "b"], "ctr", activated=True)
    assert plain and served
    assert plain.value == pytest.approx(-1.0)
    assert served.value == pytest.approx(1.0)
    assert served.low == pytest.approx(served.high)  # both sides move by the same in every draw
    own["splits"]["test"]["b|served"] = outcome_of(None, x=0.73)["splits"]["test"]["x"]
    by_another = results.gain("own", "zero", "test", ["a", "b"], "ctr", activated=True)
    assert by_another and by_another.value == pytest.approx((2.0 + 3.0) / 2)
    routed = results.gain("own", "zero", "test", [AUTO], "ctr", activated=True)
    assert routed and routed.value == pytest.approx(5.0)
    assert results.gain("own", "zero", "test", ["missing"], "ctr") is None
    share = results.ratio("own", "own", "zero", "test", ["a"], "ctr")
    assert share and (share.value, share.low, share.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_gain_in_log_loss_is_what_it_goes_down_by_and_older_cells_have_none(
    experiment: Experiment,
) -> None:
    zero, own = outcome_of(None, a=0.6), outcome_of(None, a=0.62)
    older = {("zero", 1): zero, ("own", 1): own}
    asked = ("own", "zero", "test", ["a"], "ctr")
    assert (
        Results(older, experiment.domains, experiment.tasks.ranking).gain(*asked, metric="log_loss")
        is None
    )
    for outcome, loss in ((zero, 0.5), (own, 0.496)):
        outcome["splits"]["test"]["a"]["ctr"] |= {
            "log_loss": loss,
            "log_loss_draws": [loss, loss - 0.1],
        }
    gain = Results(older, experiment.domains, experiment.tasks.ranking).gain(
        *asked, metric="log_loss"
    )
    assert gain and (gain.value, gain.low, gain.high) == pytest.approx((4.0, 4.0, 4.0))
    share = Results(older, experiment.domains, experiment.tasks.ranking).ratio(
        "own", "own", "zero", "test", ["a"], "ctr", metric="log_loss"
    )
    assert share and share.value == pytest.approx(1.0)


def test_a_share_is_of_the_mean_gains_and_has_the_spread_of_what_is_not_shared(
    experiment: Experiment,
) -> None:
    """Two worlds: the method closes half of the gap in both, and the gap itself, which differs,
    does not widen the interval.
    """
    outcomes = {
        (name, seed): outcome_of(None, auto=0.6 + part * gap)
        for seed, gap in ((1, 0.1), (2, 0.3))
        for name, part in (("zero", 0.0), ("half", 0.5), ("best", 1.0))
    }
    share = Results(outcomes, experiment.domains, experiment.tasks.ranking).ratio(
        "half", "best", "zero", "test", [AUTO], "ctr"
    )
    assert share and (share.value, share.low, share.high) == pytest.approx((0.5, 0.5, 0.5))
    outcomes["half", 2] = outcome_of(None, auto=0.6 + 0.2)
    share = Results(outcomes, experiment.domains, experiment.tasks.ranking).ratio(
        "half", "best", "zero", "test", [AUTO], "ctr"
    )
    by_seed = (0.625 + (0.05 - 0.625 * 0.1) / 0.2, 0.625 + (0.2 - 0.625 * 0.3) / 0.2)
    assert share and share.value == pytest.approx(0.625) and share.seeds == pytest.approx(by_seed)
    assert (
        Results(outcomes, experiment.domains, experiment.tasks.ranking).ratio(
            "half", "zero", "zero", "test", [AUTO], "ctr"
        )
        is None
    )


def test_figures_of_other_rows_are_not_compared(experiment: Experiment) -> None:
    results = Results(
        {("zero", 1): outcome_of(None, a=0.6), ("own", 1): outcome_of(None, rows=6, a=0.7)},
        experiment.domains,
        experiment.tasks.ranking,
    )
    with pytest.raises(InputError, match="'own' and 'zero', seed 1: 6 and 5 rows of 'a'"):
        results.gain("own", "zero", "test", ["a"], "ctr")
