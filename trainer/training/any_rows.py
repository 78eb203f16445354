"""A training step that is traced once, however many rows its batches hold."""

from typing import Any

from configs.tensorflow_import import tf


def for_any_rows(function: Any, *example: Any) -> Any:
    """A ``tf.function`` as it is traced for these arguments with any first dimension.

    Left to itself TensorFlow traces anew for a batch of another length, and again where one more
    dimension turns out to vary. The trace is made once and found again afterwards.

    Args:
      function: a ``tf.function``.
      example: what it will be called with: tensors or arrays with at least one dimension, in dicts
        or tuples.

    Returns:
      A function of the same arguments.
    """
    signature = tf.nest.map_structure(
        lambda values: tf.TensorSpec([None, *values.shape[1:]], values.dtype), example
    )
    return function.get_concrete_function(*signature)
