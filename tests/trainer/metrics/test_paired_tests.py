"""Is a kernel better, and how sure is that? The paired test over users."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import brunnermunzel, kstest

from configs import InputError
from tests.trainer.metrics.test_paired_bootstrap import simulate
from trainer.metrics.paired_bootstrap import paired_deltas
from trainer.metrics.paired_tests import PairedTest, paired_test
from trainer.metrics.task_metrics import METRICS, task_metrics
from trainer.metrics.user_draws import UserDraws

METRIC_NAMES = ("auc", "gauc")


def rows(users: int, seed: int, noise: tuple[float, float] = (1.1, 0.9)) -> list[Any]:
    """Arguments of ``paired_test`` but the metric: unequal weights, ties."""
    labels, reference, kernel, groups, clusters = simulate(users, seed, noise)
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, len(labels))
    return [labels, np.round(reference, 2), np.round(kernel, 2), weights, groups, clusters]


def found(arguments: list[Any], metric: Any = "auc") -> PairedTest:
    test = paired_test(*arguments, metric)
    assert test is not None
    return test


def alike(test: PairedTest) -> Any:
    """What another computation of the same test must give."""
    return pytest.approx(test.model_dump(), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_the_difference_is_that_of_the_metrics(metric: str) -> None:
    labels, reference, kernel, weights, groups, clusters = rows(60, seed=1)
    after, before = (
        task_metrics(labels, scores, weights, groups)[metric] for scores in (kernel, reference)
    )
    assert after is not None
    assert before is not None
    test = found([labels, reference, kernel, weights, groups, clusters], metric)
    assert test.delta == pytest.approx(after - before)


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_the_standard_error_is_the_bootstrap_s(seed: int, metric: str) -> None:
    arguments = rows(300, seed)
    labels, reference, *others = arguments
    draws = UserDraws(arguments[-1], 400)
    deltas = np.squeeze(paired_deltas(labels, [reference], *others, draws))
    deltas = deltas[:, METRICS.index(metric)]
    # 400 resamples know a standard error to 3.5%, so three of these and a little for bias.
    assert found(arguments, metric).standard_error == pytest.approx(deltas.std(), rel=0.13)


def test_one_row_a_user_against_a_constant_is_the_test_of_brunner_and_munzel() -> None:
    generator = np.random.default_rng(5)
    labels = (generator.random(90) < 0.2).astype(int)
    scores = np.round(generator.normal(size=90) + 0.6 * labels, 1)
    keys = np.arange(90)
    test = found([labels, np.zeros(90), scores, None, keys, keys])
    expected = brunnermunzel(scores[labels == 0], scores[labels == 1], alternative="less")
    assert test.better == pytest.approx(expected.pvalue)
    assert test.delta / test.standard_error == pytest.approx(abs(expected.statistic))


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_p_values_are_uniform_where_neither_side_is_better(metric: str) -> None:
    values = [found(rows(40, seed, (1.0, 1.0)), metric).better for seed in range(600)]
    assert kstest(values, "uniform").pvalue > 0.01
    # 30 and 6 expected; more than 45 or 14 by chance in fewer than 1 of 200 trials
    assert sum(value <= 0.05 for value in values) <= 45
    assert sum(value <= 0.01 for value in values) <= 14


def test_few_positives_make_no_p_value_small_too_often() -> None:
    # Some eight positives, and a few users who have most of them.
    values = []
    for seed in range(1000):
        generator = np.random.default_rng(seed)
        user = np.sort(generator.integers(0, 30, 60) ** 2 // 30)
        labels = (generator.random(60) < 0.13).astype(int)
        taste = generator.normal(size=30)[user]
        sides = (taste + generator.normal(size=30)[user] + generator.normal(size=(2, 60))).tolist()
        test = paired_test(labels, *sides, None, user, user)
        values.append(1.0 if test is None else test.better)
    assert sum(value <= 0.05 for value in values) <= 70  # 50 expected
    assert sum(value <= 0.005 for value in values) <= 12  # 5 expected


def test_evidence_goes_beyond_what_resamples_can_show() -> None:
    test = found(rows(1500, seed=4, noise=(1.5, 0.5)))
    assert 0.0 < test.better < 1e-9
    assert test.worse == pytest.approx(1.0)


@pytest.mark.parametrize("metric", METRIC_NAMES)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_what_must_not_matter_does_not(metric: str, seed: int) -> None:
    arguments = rows(25, seed)
    labels, reference, kernel, weights, groups, clusters = arguments
    test = found(arguments, metric)
    generator = np.random.default_rng(seed)

    order = generator.permutation(len(labels))
    assert found([values[order] for values in arguments], metric).model_dump() == alike(test)

    scaled = [labels, reference, kernel, 7.0 * weights, groups, clusters]
    assert found(scaled, metric).model_dump() == alike(test)

    renamed = [labels, reference, kernel, weights, 3 * groups + 1, -clusters]
    assert found(renamed, metric).model_dump() == alike(test)

    rising = [labels, np.exp(reference), np.sqrt(kernel), weights, groups, clusters]
    assert found(rising, metric).model_dump() == alike(test)

    twice = generator.integers(1, 4, len(labels))  # a row as several that share its weight
    split = [np.repeat(values, twice) for values in arguments]
    split[3] = split[3] / np.repeat(twice, twice)
    assert found(split, metric).model_dump() == alike(test)

    nothing = [
        np.append(values, extra)
        for values, extra in zip(arguments, (1, 0.1, 0.9, 0.0, 0, 0), strict=True)
    ]
    assert found(nothing, metric).model_dump() == alike(test)

    swapped = found([labels, kernel, reference, weights, groups, clusters], metric)
    assert swapped.delta == pytest.approx(-test.delta)
    assert (swapped.better, swapped.worse) == pytest.approx((test.worse, test.better))


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_users_count_not_rows(metric: str) -> None:
    arguments = rows(60, seed=6)
    many = [np.repeat(values, 25) for values in arguments]
    assert found(many, metric).model_dump() == alike(found(arguments, metric))


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_scores_that_rank_alike_prove_nothing(metric: str) -> None:
    labels, reference, _, weights, groups, clusters = rows(30, seed=3)
    test = found([labels, reference, reference * 0.5 + 0.2, weights, groups, clusters], metric)
    assert test == PairedTest(delta=0.0, standard_error=0.0, better=1.0, worse=1.0)


@pytest.mark.parametrize("metric", METRIC_NAMES)
@pytest.mark.parametrize(
    ("labels", "users"),
    [
        ([], []),
        ([0, 0, 0, 0], [0, 1, 2, 3]),
        ([1, 1, 1], [0, 1, 2]),
        ([1, 0, 1, 0], [5, 5, 5, 5]),  # one user
        ([1, 0, 1, 0], [5, 5, 5, 6]),  # one user has all positives
        ([1, 0, 0, 1], [5, 6, 6, 7]),  # and one all negatives
        ([1, 0, 1, 0], [1, 1, 2, 2]),  # the order is turned round for every user
    ],
)
def test_what_is_not_known_is_none(labels: list[int], users: list[int], metric: Any) -> None:
    scores = np.linspace(0.1, 0.9, len(labels)) * (np.array(labels) + 0.1)
    assert paired_test(labels, scores, -scores, None, users, users, metric) is None


def test_weight_zero_is_no_row() -> None:
    keys = np.arange(4)
    weights = [1.0, 1.0, 0.0, 0.0]
    assert paired_test([0, 0, 1, 1], keys / 4, keys / 5, weights, keys, keys) is None


def test_a_gauc_needs_a_request_with_both_classes() -> None:
    keys = np.arange(40)
    scores = np.random.default_rng(1).random((2, 40))
    assert paired_test(keys % 2, *scores, None, keys, keys, "gauc") is None
    assert paired_test(keys % 2, *scores, None, keys, keys, "auc") is not None


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="clusters should be a vector"):
        paired_test([0, 1], [0.1, 0.2], [0.1, 0.2], None, [0, 0], [0])
    with pytest.raises(ValueError, match="labels should be 0 or 1"):
        paired_test([0, 2], [0.1, 0.2], [0.1, 0.2], None, [0, 0], [0, 1])
    with pytest.raises(InputError, match="1 of 2 scores are NaN"):
        paired_test([0, 1], [0.1, 0.2], [0.1, np.nan], None, [0, 0], [0, 1])


@pytest.mark.parametrize("metric", METRIC_NAMES)
@given(seed=st.integers(0, 10_000), users=st.integers(1, 12), weighted=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_slice_gives_a_test_in_json_or_none(
    metric: Any, seed: int, users: int, weighted: bool
) -> None:
    generator = np.random.default_rng(seed)
    size = int(generator.integers(0, 60))
    test = paired_test(
        (generator.random(size) < 0.15).astype(int),
        *np.round(generator.random((2, size)), 1),
        generator.integers(0, 3, size) if weighted else None,
        generator.integers(0, 9, size),
        generator.integers(0, users, size),
        metric,
    )
    if test is not None:
        json.dumps(test.model_dump(mode="json"), allow_nan=False)
        assert PairedTest.model_validate(test.model_dump(mode="json")) == test
        assert test.standard_error >= 0.0
        assert 0.0 <= min(test.better, test.worse) <= max(test.better, test.worse) <= 1.0
        assert test.better + test.worse == pytest.approx(2.0 if not test.standard_error else 1.0)


@pytest.mark.parametrize("metric", METRIC_NAMES)
def test_drift_is_part_of_the_error(metric: Any) -> None:
    arguments = rows(200, 6)
    plain, drifting, far = (paired_test(*arguments, metric, drift) for drift in (0.0, 0.01, 1e6))
    assert plain and drifting and far
    assert drifting.delta == plain.delta
    assert drifting.standard_error == pytest.approx(np.hypot(plain.standard_error, 0.01))
    assert abs(drifting.better - 0.5) < abs(plain.better - 0.5)
    assert drifting.better + drifting.worse == pytest.approx(1.0)
    assert far.better == pytest.approx(0.5, abs=1e-4)
