"""Drawn users, and the interval of what was found under the draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from trainer.metrics.user_draws import DrawnAuc, UserDraws, draw_users, percentile_interval


@given(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_a_draw_has_as_many_users_as_there_are(users, seed, draw):
    times = draw_users(users, seed, draw)
    assert times.shape == (users,)
    assert times.sum() == users
    assert (times == draw_users(users, seed, draw)).all()


def test_the_draws_of_a_split_are_by_its_distinct_users():
    draws = UserDraws([7, 3, 7, 9], resamples=5, seed=2)
    assert draws.users.tolist() == [3, 7, 9]
    assert draws.places([9, 3, 9]).tolist() == [2, 0, 2]
    assert [times.tolist() for times in draws.times] == [
        draw_users(3, 2, draw).tolist() for draw in range(5)
    ]


def test_an_interval_leaves_out_few_undefined_resamples_and_refuses_many():
    values = np.arange(101.0)
    assert percentile_interval(values) == (2.5, 97.5)
    values[[0, 100]] = np.nan  # 1 to 99 are left
    assert percentile_interval(values) == pytest.approx((1 + 0.025 * 98, 1 + 0.975 * 98))
    values[:6] = np.nan
    assert percentile_interval(values) == "undefined"


@pytest.mark.parametrize("weighted", [False, True])
def test_the_auc_of_a_draw_weighs_each_row_by_its_user(weighted):
    generator = np.random.default_rng(4)
    labels, scores = generator.integers(0, 2, 60).astype(float), generator.integers(0, 9, 60) / 9
    user = generator.integers(0, 8, 60)
    weights = generator.random(60) if weighted else np.ones(60)
    auc = DrawnAuc(labels, scores, weights, user)
    buffer = np.zeros(auc.negatives + 1)
    for draw in range(10):
        times = draw_users(8, 1, draw).astype(float)
        expected = roc_auc_score(labels, scores, sample_weight=weights * times[user])
        assert auc(times) == pytest.approx(expected)
        assert auc(times, buffer) == pytest.approx(expected)


def test_a_draw_of_one_class_is_nan():
    auc = DrawnAuc(np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.ones(2), np.array([0, 1]))
    assert auc(np.array([1.0, 1.0])) == 1.0
    assert np.isnan(auc(np.array([2.0, 0.0])))
    assert np.isnan(auc(np.array([0.0, 2.0])))
