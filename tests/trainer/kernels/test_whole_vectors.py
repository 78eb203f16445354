"""A number's result is the same bits wherever it stands, and is that of the function."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.kernels.forward import learned_bias, plain_bias
from trainer.kernels.whole_vectors import in_whole_vectors

NUMBERS = np.random.default_rng(1).uniform(0.1, 3.0, (40, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "function", [tf.math.log, tf.math.reciprocal, tf.nn.softplus, lambda n: 0.9**n]
)
def test_a_number_is_the_same_bits_whatever_stands_beside_it(function: object) -> None:
    def both(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = tf.constant(values)
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = in_whole_vectors(function, given)  # type: ignore[arg-type]
        return found.numpy(), tape.gradient(found, given).numpy()

    values, gradients = both(NUMBERS)
    assert values.shape == NUMBERS.shape
    np.testing.assert_allclose(values, function(NUMBERS), rtol=1e-5)  # type: ignore[operator]
    for first, count in ((0, 1), (1, 2), (7, 5), (20, 17)):
        part = slice(first, first + count)
        some, of_some = both(NUMBERS[part])
        np.testing.assert_array_equal(some, values[part])
        np.testing.assert_array_equal(of_some, gradients[part])


def test_a_single_number_stays_one() -> None:
    assert in_whole_vectors(tf.math.log, tf.constant(1.0)).shape == ()


def test_a_bias_that_learns_is_added_as_any_and_its_gradient_is_the_sum_of_the_rows() -> None:
    """Ten kernels of two tasks, 64 rows of 5: each bias's gradient is the sum of its rows'
    weights, the same bits for a kernel by itself.
    """
    random = np.random.default_rng(2)
    product = tf.constant(random.standard_normal((10, 2, 64, 5)).astype(np.float32))
    weights = tf.constant(random.standard_normal((10, 2, 64, 5)).astype(np.float32))
    bias = tf.constant(random.standard_normal((10, 2, 5)).astype(np.float32))

    def gradient(first: int, last: int) -> np.ndarray:
        given = bias[first:last]
        with tf.GradientTape() as tape:
            tape.watch(given)
            out = tf.reduce_sum(weights[first:last] * learned_bias(product[first:last], given))
        found: np.ndarray = tape.gradient(out, given).numpy()
        return found

    np.testing.assert_array_equal(learned_bias(product, bias), plain_bias(product, bias))
    every = gradient(0, 10)
    np.testing.assert_allclose(every, weights.numpy().sum(axis=2), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradient(3, 4), every[3:4])
