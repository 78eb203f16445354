"""Positives that count several times: what is learned stays calibrated, the rest as it was."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs.prediction.tasks import Target, Tasks
from trainer.losses import learned_scores, loss_by_group, row_cross_entropy, row_loss

RATES = st.floats(0.005, 0.995)
WEIGHTS = st.floats(0.1, 200.0)


def target(weight: float) -> Target:
    return Target("click", "click", None, (0,), 1.0, positive_weight=weight)


def tasks(weight: float) -> Tasks:
    after = {"label": "order", "after": "click", "positive_weight": weight}
    return Tasks.model_validate(
        {
            "click": {"label": "click", "positive_weight": weight},
            "order": {**after, "entire": {"name": "order_all"}},
        }
    )


def slope(weight: float, label: float, logit: float) -> tuple[float, float]:
    """Loss of a row, and its derivative by the logit."""
    variable = tf.Variable([logit], dtype=tf.float32)
    with tf.GradientTape() as tape:
        log_p = tf.math.log_sigmoid(variable)
        loss = row_loss(target(weight), tf.constant([label], tf.float32), log_p)
    return float(loss[0]), float(tape.gradient(loss, variable)[0])


@given(RATES, WEIGHTS)
def test_the_least_mean_loss_is_at_the_base_rate(rate: float, weight: float) -> None:
    logit = float(np.log(rate / (1 - rate)))
    up, down = slope(weight, 1.0, logit)[1], slope(weight, 0.0, logit)[1]
    assert up < 0 < down
    assert rate * up + (1 - rate) * down == pytest.approx(0.0, abs=1e-4 * rate * -up)
    soft = slope(weight, rate, logit)[1]  # a teacher's probability as the label
    assert soft == pytest.approx(0.0, abs=1e-4 * rate * -up)


@given(st.floats(-12.0, 12.0), WEIGHTS)
def test_values(logit: float, weight: float) -> None:
    shifted = np.float64(logit) + np.log(weight)
    positive, negative = slope(weight, 1.0, logit)[0], slope(weight, 0.0, logit)[0]
    assert positive == pytest.approx(weight * np.logaddexp(0, -shifted), rel=1e-4)
    assert negative == pytest.approx(np.logaddexp(0, shifted), rel=1e-4)


@pytest.mark.parametrize("logit", [-1e4, -100.0, 0.0, 40.0, 100.0, 1e4])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_extremes_are_finite(logit: float, label: float) -> None:
    assert np.isfinite(slope(5.0, label, logit)).all()


def test_a_weight_of_one_is_the_plain_loss_bit_by_bit() -> None:
    log_p = tf.math.log_sigmoid(tf.random.stateless_normal([500], (1, 2)) * 8.0)
    labels = tf.constant(np.arange(500) % 2, tf.float32)
    np.testing.assert_array_equal(
        row_loss(target(1.0), labels, log_p), row_cross_entropy(labels, log_p)
    )


def fitted(weight: float, row_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean prediction and share of clicks of three groups of rows, each with a logit of its own,
    after gradient descent.
    """
    groups = np.repeat(np.arange(3), 400)
    clicks = (np.arange(1200) % 400 < np.array([8, 60, 200])[groups]).astype(np.float32)
    columns = {
        "label/click": tf.constant(clicks),
        "label/order": tf.zeros([1200]),
        "row/weight": tf.constant(np.where(clicks > 0, *row_weights), tf.float32),
    }
    members, logits = tf.one_hot(groups, 3), tf.Variable(tf.zeros([3]))
    with_weight = tasks(weight)
    for _ in range(400):
        with tf.GradientTape() as tape:
            towers = tf.stack([tf.linalg.matvec(members, logits), tf.fill([1200], -3.0)], axis=1)
            scores = learned_scores(with_weight, towers)
            scores["order_all"] = tf.stop_gradient(scores["order_all"])
            of_groups = loss_by_group(with_weight, scores, columns, tf.constant(groups), 3)
            loss = tf.reduce_sum(of_groups)
        logits.assign_sub(2.0 * tape.gradient(loss, logits))
    return tf.sigmoid(logits).numpy(), clicks.reshape(3, 400).mean(axis=1)


def test_a_fit_is_calibrated_in_every_group() -> None:
    mean, rates = fitted(5.0, np.array([1.0, 1.0]))
    np.testing.assert_allclose(mean, rates, rtol=1e-2)
    # The same weight without the shift, as rows that count five times:
    mean, _ = fitted(1.0, np.array([5.0, 1.0]))
    np.testing.assert_allclose(mean, 5 * rates / (1 + 4 * rates), rtol=1e-2)


def test_products_and_other_tasks_are_as_they_were() -> None:
    heavy, plain = tasks(5.0).targets, tasks(1.0).targets
    assert [of.positive_weight for of in heavy.values()] == [5.0, 5.0, 1.0]
    assert heavy["order_all"] == plain["order_all"]
    assert tasks(5.0).same_as(tasks(1.0))  # another loss of the same number
