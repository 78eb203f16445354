import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.random_streams import Purpose, random_stream
from trainer.metrics import paired_bootstrap
from trainer.metrics.paired_bootstrap import (
    paired_comparison,
    paired_comparisons,
    paired_deltas,
    significantly_better,
)
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import METRICS, task_metrics
from trainer.metrics.user_draws import UserDraws


def simulate(users, seed, noise=(1.0, 1.0), rows=10):
    """Rows whose labels depend on the user too, and two scores of the same signal under noise:
    less noise is better.
    """
    generator = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rows) * 97 - 5
    request = np.repeat(np.arange(users * 2), rows // 2)
    signal = generator.normal(size=users * rows) + np.repeat(generator.normal(size=users), rows)
    labels = (generator.random(users * rows) < 1 / (1 + np.exp(1 - signal))).astype(np.int64)
    backbone, kernel = (
        1 / (1 + np.exp(1 - signal - level * generator.normal(size=users * rows)))
        for level in noise
    )
    return labels, backbone, kernel, request, user


def brute_force(labels, backbone, kernel, weights, groups, clusters, resamples, seed):
    """Each resample's metrics from its rows' weights, nothing precomputed; only the draws are
    the same.
    """
    names, user = np.unique(clusters, return_inverse=True)
    weights = np.ones(len(labels)) if weights is None else weights
    deltas = {name: [] for name in METRICS}
    for draw in range(resamples):
        drawn = random_stream(seed, Purpose.BOOTSTRAP, draw).integers(len(names), size=len(names))
        times = np.bincount(drawn, minlength=len(names))[user] * weights
        before, after = (
            task_metrics(labels, backbone, times, groups),
            task_metrics(labels, kernel, times, groups),
        )
        for name in METRICS:
            if before[name] is not None:
                deltas[name].append(after[name] - before[name])
    return {name: np.percentile(values, [2.5, 97.5]) for name, values in deltas.items()}


@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_equal_metrics_of_resampled_rows(weighted):
    labels, backbone, kernel, groups, clusters = simulate(60, seed=1, noise=(1.2, 0.8))
    backbone, kernel = np.round(backbone, 2), np.round(kernel, 2)  # ties
    weights = np.random.default_rng(2).random(len(labels)) if weighted else None
    found = paired_comparison(
        labels, backbone, kernel, weights, groups, clusters, resamples=40, seed=9
    )
    expected = brute_force(labels, backbone, kernel, weights, groups, clusters, 40, 9)
    before, after = (
        task_metrics(labels, backbone, weights, groups),
        task_metrics(labels, kernel, weights, groups),
    )
    for name in METRICS:
        assert found[name].backbone == before[name]
        assert found[name].kernel == after[name]
        assert found[name].delta == after[name] - before[name]
        assert found[name].ci95 == pytest.approx(tuple(expected[name]), abs=1e-10)


def test_identical_scores_have_exactly_no_difference():
    labels, backbone, _, groups, clusters = simulate(200, seed=3)
    for name, cell in paired_comparison(
        labels, backbone, backbone.copy(), None, groups, clusters, 50, 1
    ).items():
        assert (cell.delta, cell.ci95) == (0.0, (0.0, 0.0)), name


def test_a_real_difference_is_found_and_has_a_sign():
    labels, backbone, kernel, groups, clusters = simulate(1500, seed=4, noise=(1.5, 0.5))
    better = paired_comparison(labels, backbone, kernel, None, groups, clusters, 100, 1)
    worse = paired_comparison(labels, kernel, backbone, None, groups, clusters, 100, 1)
    assert significantly_better(better["auc"].ci95)
    assert not significantly_better(worse["auc"].ci95)
    assert better["log_loss"].ci95[1] < 0 < worse["log_loss"].ci95[0]
    for name in METRICS:
        low, high = better[name].ci95
        assert low <= better[name].delta <= high
        assert worse[name].ci95 == pytest.approx((-high, -low))


def test_intervals_cover_a_known_difference():
    # Both sides carry the same noise level, so the expected difference is 0: about 95% of the
    # intervals must hold it.
    covered = 0
    for seed in range(40):
        labels, backbone, kernel, groups, clusters = simulate(120, seed=100 + seed)
        low, high = paired_comparison(labels, backbone, kernel, None, groups, clusters, 100, seed)[
            "auc"
        ].ci95
        covered += low <= 0 <= high
    assert covered >= 34  # 38 expected; fewer than 34 by chance in fewer than 1 of 50 runs


def test_users_are_resampled_not_rows():
    # Every row of a user repeated: rows seem to be 25 times more, the evidence is the same.
    labels, backbone, kernel, groups, clusters = simulate(100, seed=6, noise=(1.2, 0.8))
    once = paired_comparison(labels, backbone, kernel, None, groups, clusters, 60, 5)
    many = [np.repeat(values, 25) for values in (labels, backbone, kernel, groups, clusters)]
    assert paired_comparison(*many[:3], None, *many[3:], 60, 5)["auc"].ci95 == pytest.approx(
        once["auc"].ci95
    )


def test_the_seed_decides_and_threads_do_not(monkeypatch):
    labels, backbone, kernel, groups, clusters = simulate(300, seed=7, noise=(1.2, 0.8))
    first = paired_comparison(labels, backbone, kernel, None, groups, clusters, 30, 5)
    assert first == paired_comparison(labels, backbone, kernel, None, groups, clusters, 30, 5)
    assert (
        first["auc"].ci95
        != paired_comparison(labels, backbone, kernel, None, groups, clusters, 30, 6)["auc"].ci95
    )
    monkeypatch.setattr(paired_bootstrap, "_MIN_PARALLEL_ROWS", 0)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert first == paired_comparison(labels, backbone, kernel, None, groups, clusters, 30, 5)


@pytest.mark.parametrize("labels", [[], [0, 0, 0, 0], [1, 1]])
def test_one_class_is_undefined_and_stays_json(labels):
    scores, keys = np.full(len(labels), 0.2), np.arange(len(labels))
    found = paired_comparison(labels, scores, scores, None, keys, keys, 20, 1)
    word = "undefined"
    nothing = Comparison(backbone=word, kernel=word, delta=word, ci95=word)
    assert found == dict.fromkeys(METRICS, nothing)


def test_a_request_metric_alone_can_be_undefined():
    keys = np.arange(40)
    labels, scores = keys % 2, np.linspace(0.1, 0.9, 40)
    found = paired_comparison(labels, scores, scores**2, None, keys, keys, 20, 1)
    assert found["gauc"].delta == found["gauc"].ci95 == "undefined"
    assert found["auc"].ci95 == (0.0, 0.0)


def test_too_few_users_give_no_interval():
    labels, scores = np.array([1, 0, 0, 0, 0, 0]), np.linspace(0.9, 0.1, 6)
    one_user = paired_comparison(
        labels, scores, scores[::-1], None, np.zeros(6), np.zeros(6), 50, 1
    )
    one_positive_user = paired_comparison(
        labels, scores, scores[::-1], None, np.zeros(6), np.arange(6), 50, 1
    )
    for found in (one_user, one_positive_user):
        assert found["auc"].delta == -1.0
        assert found["auc"].ci95 == "undefined"
        assert not significantly_better(found["auc"].ci95)


def test_significance_needs_a_lower_end_above_zero():
    assert significantly_better([0.001, 0.2])
    assert not significantly_better([0.0, 0.0])
    assert not significantly_better([-0.1, 0.2])
    assert not significantly_better("undefined")


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"resamples should be positive\. Received: 0"):
        paired_comparison([0, 1], [0.1, 0.2], [0.1, 0.2], None, [0, 0], [0, 1], 0, 1)
    with pytest.raises(ValueError, match="clusters should be a vector"):
        paired_comparison([0, 1], [0.1, 0.2], [0.1, 0.2], None, [0, 0], [0], 5, 1)


@given(st.integers(0, 10_000), st.integers(2, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_slice_gives_ordered_finite_intervals_or_the_word(seed, users, weighted):
    generator = np.random.default_rng(seed)
    size = int(generator.integers(1, 60))
    labels = (generator.random(size) < 0.15).astype(int)
    scores = np.round(generator.random((2, size)), 1)
    weights = generator.integers(0, 3, size) if weighted else None
    found = paired_comparison(
        labels,
        *scores,
        weights,
        generator.integers(0, 9, size),
        generator.integers(0, users, size),
        25,
        seed,
    )
    for cell in found.values():
        json.dumps(cell.model_dump(mode="json"), allow_nan=False)
        if cell.ci95 != "undefined":
            assert cell.delta != "undefined"
            assert cell.ci95[0] <= cell.ci95[1]


def test_a_reference_is_compared_as_if_it_stood_alone():
    labels, backbone, kernel, groups, clusters = simulate(40, seed=6, noise=(1.2, 0.8))
    references = [backbone, backbone**2, kernel.copy(), backbone.copy()]
    rest = (kernel, None, groups, clusters, 30, 5)
    found = paired_comparisons(labels, references, *rest)
    alone = [paired_comparison(labels, reference, *rest) for reference in references]
    assert found == alone
    assert found[0] == found[3] != found[1]
    for cell in found[2].values():
        assert (cell.delta, cell.ci95) == (0.0, (0.0, 0.0))


def test_deltas_to_a_reference_are_as_if_it_stood_alone():
    labels, backbone, kernel, groups, clusters = simulate(40, seed=7, noise=(1.2, 0.8))
    references, draws = [backbone, kernel, backbone**2], UserDraws(clusters, 10, 5)
    rest = (kernel, None, groups, clusters, draws)
    found = paired_deltas(labels, references, *rest)
    assert found.shape == (3, 10, len(METRICS))
    for reference, deltas in zip(references, found, strict=True):
        np.testing.assert_array_equal(deltas, paired_deltas(labels, [reference], *rest)[0])
    assert not found[1].any()


def test_deltas_of_all_rows_are_those_behind_the_interval():
    labels, backbone, kernel, groups, clusters = simulate(60, seed=1, noise=(1.2, 0.8))
    found = paired_comparison(labels, backbone, kernel, None, groups, clusters, 40, 9)
    draws = UserDraws(clusters, 40, 9)
    (deltas,) = paired_deltas(labels, [backbone], kernel, None, groups, clusters, draws)
    for column, name in enumerate(METRICS):
        assert tuple(np.percentile(deltas[:, column], [2.5, 97.5])) == found[name].ci95


def test_deltas_of_a_slice_count_users_as_often_as_the_split_draws_them():
    labels, backbone, kernel, groups, clusters = simulate(30, seed=2, noise=(1.2, 0.8))
    inside = np.random.default_rng(3).random(len(labels)) < 0.4
    draws = UserDraws(clusters, 12, 5)
    (deltas,) = paired_deltas(
        labels[inside],
        [backbone[inside]],
        kernel[inside],
        None,
        groups[inside],
        clusters[inside],
        draws,
    )
    for times, delta in zip(draws.times, deltas, strict=True):
        weights = dict(zip(np.unique(clusters), times, strict=True))
        drawn = np.array([weights[user] for user in clusters[inside]], np.float64)
        before, after = (
            task_metrics(labels[inside], scores[inside], drawn, groups[inside])
            for scores in (backbone, kernel)
        )
        assert delta.tolist() == pytest.approx([after[name] - before[name] for name in METRICS])


def test_a_draw_that_leaves_one_class_is_nan():
    labels, scores, keys = np.array([1, 0, 0]), np.array([0.9, 0.5, 0.1]), np.arange(3)
    draws = UserDraws(keys, 30, 1)
    (deltas,) = paired_deltas(labels, [scores], scores, None, keys, keys, draws)
    defined = (draws.times[:, 0] > 0) & (draws.times[:, 1:].sum(axis=1) > 0)
    assert 0 < defined.sum() < 30
    np.testing.assert_array_equal(np.isnan(deltas[:, 0]), ~defined)
