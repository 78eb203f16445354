"""The operations of ``configs.prediction.expressions`` as TensorFlow computes them."""

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def operations() -> dict[str, Callable[..., Any]]:
    """Every operation by name."""
    from configs.tensorflow_import import tf

    return {
        "add": tf.add,
        "subtract": tf.subtract,
        "multiply": tf.multiply,
        "divide": tf.divide,
        "power": tf.pow,
        "negative": tf.negative,
        "log": tf.math.log,
        "exp": tf.exp,
        "sqrt": tf.sqrt,
        "minimum": tf.minimum,
        "maximum": tf.maximum,
    }
