"""KL(w || N(0, I)) in both readings, against arithmetic by hand and against arithmetic without
TensorFlow.
"""

from collections.abc import Callable
from math import exp, log
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from trainer.kernels.kl_regularizers import (
    VARIANCE_FLOOR,
    kl_to_standard_normal,
    moments_kl,
    parent_kl,
    variational_kl,
    variational_parent_kl,
)

Doubles = npt.NDArray[np.float64]
SHAPE = (3, 2, 4, 5)  # K, tasks, fan in, fan out


def random_weight(seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).normal(0.4, 1.3, SHAPE)


def kl(mean: float, variance: float) -> float:
    return 0.5 * (mean**2 + variance - 1 - log(variance))


@pytest.mark.parametrize(
    ("mean", "variance", "expected"),
    [
        (0.0, 1.0, 0.0),  # N(0, 1) itself
        (1.0, 1.0, 0.5),  # 1/2 (1 + 1 - 1 - 0)
        (0.0, exp(1), 0.3591409),  # 1/2 (0 + 2.7182818 - 1 - 1)
        (2.0, 0.25, 2.3181472),  # 1/2 (4 + 0.25 - 1 + 1.3862944)
        (-2.0, 0.25, 2.3181472),
    ],
)
def test_kl_by_hand(mean: float, variance: float, expected: float) -> None:
    np.testing.assert_allclose(
        kl_to_standard_normal(tf.constant(mean), tf.constant(variance)),
        expected,
        rtol=1e-6,
        atol=1e-7,
    )


def test_moments_by_hand() -> None:
    # Entries 1, 3, 1, 3: mean 2, variance 1, with the floor 1.001, whose logarithm is 0.0009995.
    # Task 0: 4 entries * 1/2 (4 + 1.001 - 1 - 0.0009995) = 2 * 4.0000005 = 8.000001 Task 1, entries
    # 0, 2, 0, 2: mean 1:  4 * 1/2 (1 + 1.001 - 1 - 0.0009995) = 2 * 1.0000005 = 2.000001
    weight = tf.constant([[[[1.0, 3.0], [1.0, 3.0]], [[0.0, 2.0], [0.0, 2.0]]]])
    assert VARIANCE_FLOOR == 0.001
    np.testing.assert_allclose(moments_kl(weight), [10.000002], rtol=1e-6)


def test_variational_by_hand() -> None:
    # Means 1 and 0, sigmas 2 and 1: 1/2 (1 + 4 - 1 - ln 4) + 0 = 1/2 (4 - 1.3862944) = 1.3068528
    mean, sigma = tf.constant([[[[1.0, 0.0]]]]), tf.constant([[[[2.0, 1.0]]]])
    np.testing.assert_allclose(variational_kl(mean, sigma), [1.3068528], rtol=1e-6)


def moments_without_tensorflow(weight: Doubles) -> Doubles:
    return np.array(
        [
            sum(task.size * kl(task.mean(), task.var() + VARIANCE_FLOOR) for task in kernel)
            for kernel in weight
        ]
    )


def variational_without_tensorflow(mean: Doubles, sigma: Doubles) -> Doubles:
    return np.array(
        [sum(map(kl, m.ravel(), s.ravel() ** 2)) for m, s in zip(mean, sigma, strict=True)]
    )


def test_moments_against_arithmetic_without_tensorflow() -> None:
    np.testing.assert_allclose(
        moments_kl(tf.constant(random_weight())),
        moments_without_tensorflow(random_weight()),
        rtol=1e-10,
    )


def test_variational_against_arithmetic_without_tensorflow() -> None:
    mean, sigma = random_weight(), np.exp(random_weight(1) / 2)
    np.testing.assert_allclose(
        variational_kl(tf.constant(mean), tf.constant(sigma)),
        variational_without_tensorflow(mean, sigma),
        rtol=1e-10,
    )


def assert_gradient_by_differences(
    function: Callable[[Any], Any], reference: Callable[[Doubles], Doubles], point: Doubles
) -> None:
    variable = tf.Variable(point)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(variable))
    gradient = tape.gradient(total, variable).numpy()
    step = 1e-6
    for index in [(0, 0, 0, 0), (1, 1, 2, 3), (2, 0, 3, 4)]:
        up, down = point.copy(), point.copy()
        up[index] += step
        down[index] -= step
        np.testing.assert_allclose(
            gradient[index], (reference(up).sum() - reference(down).sum()) / (2 * step), rtol=1e-6
        )


def test_gradient_of_moments() -> None:
    assert_gradient_by_differences(moments_kl, moments_without_tensorflow, random_weight())


def test_gradients_of_variational() -> None:
    mean, sigma = random_weight(), np.exp(random_weight(1) / 2)
    assert_gradient_by_differences(
        lambda m: variational_kl(m, tf.constant(sigma)),
        lambda m: variational_without_tensorflow(m, sigma),
        mean,
    )
    assert_gradient_by_differences(
        lambda s: variational_kl(tf.constant(mean), s),
        lambda s: variational_without_tensorflow(mean, s),
        sigma,
    )


def test_a_new_kernels_zero_layer_has_a_finite_value_and_gradient() -> None:
    variable = tf.Variable(tf.zeros([2, 2, 3, 1]))
    with tf.GradientTape() as tape:
        value = moments_kl(variable)
    # 3 entries, 2 tasks: 6 * 1/2 (0.001 - 1 + 6.9077553) = 17.7262658
    np.testing.assert_allclose(value, [17.7262658] * 2, rtol=1e-6)
    assert np.isfinite(tape.gradient(value, variable)).all()


def test_a_deterministic_kernel_pays_for_its_distance_from_its_parent() -> None:
    """1/2 (w - w_parent)^2 / s^2: distances 1 and 2 in one kernel at s = 0.5 are (1 + 4) / 2 /
    0.25 = 10; 0.5 in the other is 0.5.
    """
    parent = np.ones((2, 2, 1, 2), np.float32)
    weight = parent + np.array([1.0, -2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5], np.float32).reshape(
        parent.shape
    )
    np.testing.assert_allclose(
        parent_kl(tf.constant(weight), tf.constant(parent), 0.5), [10.0, 0.5], rtol=1e-6
    )


def test_variational_kl_to_a_parent_is_that_of_two_gaussians() -> None:
    generator = np.random.default_rng(0)
    mean, parent = (generator.standard_normal((2, 2, 3, 4)).astype(np.float32) for _ in range(2))
    sigma = generator.uniform(0.05, 0.5, mean.shape).astype(np.float32)
    expected = (
        np.log(0.2 / sigma)
        + (sigma.astype(np.float64) ** 2 + (mean - parent) ** 2) / (2 * 0.2**2)
        - 0.5
    )
    np.testing.assert_allclose(
        variational_parent_kl(mean, sigma, parent, 0.2), expected.sum(axis=(1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(
        variational_parent_kl(parent, np.full_like(sigma, 0.2), parent, 0.2), [0.0, 0.0], atol=1e-4
    )
