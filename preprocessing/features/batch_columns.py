"""Columns of a validated batch on their way into the transform.

Look-ups run once per distinct value: ids are a function of the value alone.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Array = npt.NDArray[np.generic]


class BatchColumns:
    """The columns of one batch. What several features and topics read is encoded once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._encoded: dict[str, pa.DictionaryArray] = {}

    def array(self, name: str) -> pa.Array:
        """A column as it is."""
        return self._batch.column(name)

    def by_distinct_value(self, name: str, function: Any) -> Array:
        """Applies an elementwise TensorFlow function of strings to a column ``[N]``, once to
        every distinct value.
        """
        if name not in self._encoded:
            self._encoded[name] = encode(self.array(name))
        return of_distinct_values(self._encoded[name], function)

    def numbers(self, name: str) -> Any:
        """A column of numbers as a float32 tensor ``[N]``; null is NaN."""
        from configs.tensorflow_import import tf

        numbers = self.array(name).to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return tf.constant(numbers)

    def moments(self, name: str) -> Any:
        """A column of timestamps as an int64 tensor ``[N]`` of seconds since 1970 UTC."""
        from configs.tensorflow_import import tf

        return tf.constant(self.array(name).to_numpy(zero_copy_only=False))


def encode(strings: pa.Array) -> pa.DictionaryArray:
    """The distinct values of nullable strings; null is read as the empty string."""
    return strings.fill_null("").dictionary_encode()


def of_distinct_values(encoded: pa.DictionaryArray, function: Any) -> Array:
    """Applies an elementwise TensorFlow function of strings once to every distinct value."""
    from configs.tensorflow_import import tf

    distinct = function(tf.constant(encoded.dictionary.to_pylist(), tf.string)).numpy()
    result: Array = distinct[encoded.indices.to_numpy()]
    return result
