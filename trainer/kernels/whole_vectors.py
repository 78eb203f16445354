"""Functions of single numbers whose result does not depend on where each stands in its tensor.

TensorFlow computes logarithms, reciprocals, powers and the like for several numbers at a time, and
the last few of a tensor, which fill no whole vector, in another way that may differ in the last
bit. What a kernel learns must not depend on how many others are in the tensor.
"""

from collections.abc import Callable
from typing import Any

from configs.tensorflow_import import tf

_VECTOR = 64
"""Numbers: a multiple of those that any processor takes at a time."""


def in_whole_vectors(function: Callable[[Any], Any], values: tf.Tensor) -> tf.Tensor:
    """A function of every number of a tensor, computed in whole vectors alone.

    Args:
      function: elementwise; it is also given some ones.
      values: of any shape; they are filled up with ones.

    Returns:
      Of the same shape; what is of one number is the same bits whatever the others are, and so is
      the gradient.
    """
    flat = tf.reshape(values, [-1])
    entries = tf.size(flat)
    filled = tf.pad(flat, [[0, -entries % _VECTOR]], constant_values=1.0)
    return tf.reshape(function(filled)[:entries], tf.shape(values))
