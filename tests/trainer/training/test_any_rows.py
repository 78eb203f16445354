"""One trace, whatever the lengths of what a function is called with."""

import numpy as np
import tensorflow as tf

from trainer.training.any_rows import for_any_rows


def test_a_function_is_traced_once_for_any_lengths() -> None:
    function = tf.function(lambda columns, scale: tf.reduce_sum(columns["x"]) * tf.size(scale))
    for rows, others in ((4, 1), (3, 1), (3, 2), (1, 5), (0, 1)):
        columns, scale = {"x": np.ones((rows, 2), np.int32)}, np.zeros(others, np.float32)
        traced = for_any_rows(function, columns, scale)
        result = traced({"x": tf.constant(columns["x"])}, tf.constant(scale))
        assert int(result) == 2 * rows * others
    assert function.experimental_get_tracing_count() == 1


def test_what_is_not_the_first_dimension_is_known_in_the_trace() -> None:
    shapes: list[list[int | None]] = []
    function = tf.function(lambda x: shapes.append(x.shape.as_list()) or x)
    for_any_rows(function, np.ones((4, 2, 3), np.float32))
    assert shapes == [[None, 2, 3]]
