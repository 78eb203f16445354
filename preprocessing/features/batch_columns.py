"""Columns of a validated batch on their way into the transform.

Look-ups run once per distinct value: ids are a function of the value alone.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.features.settings import ReadAs

Array = npt.NDArray[np.generic]


class BatchColumns:
    """The columns of one batch. What several features and topics read is encoded once."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._encoded: dict[str, pa.DictionaryArray] = {}

    @classmethod
    def of(cls, batch: "pa.RecordBatch | BatchColumns") -> "BatchColumns":
        """The columns of a batch; itself where it is them already."""
        return batch if isinstance(batch, cls) else cls(batch)

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def array(self, name: str) -> pa.Array:
        """A column as it is."""
        return self._batch.column(name)

    def encoded(self, name: str) -> pa.DictionaryArray:
        """The distinct values of a column of text ``[N]``, or of all lists of one."""
        if name not in self._encoded:
            column = self.array(name)
            self._encoded[name] = encode(column.flatten() if is_list(column) else column)
        return self._encoded[name]

    def by_distinct_value(self, name: str, function: Any) -> Array:
        """Applies an elementwise TensorFlow function of strings to a column ``[N]`` (of lists: to
        the values of all of them, one after the other), once to every distinct value.
        """
        return of_distinct_values(self.encoded(name), function)

    def numbers(self, name: str) -> Any:
        """A column of numbers as a float32 tensor ``[N]``; null is NaN."""
        from configs.tensorflow_import import tf

        numbers = self.array(name).to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return tf.constant(numbers)

    def number_lists(self, name: str, most: int) -> Any:
        """A column of lists of numbers as a float32 tensor ``[N, L]``, cut to ``most`` and padded
        to the longest; null is NaN, and so is the padding.
        """
        from configs.tensorflow_import import tf

        lists = pc.list_slice(self.array(name), 0, most)
        numbers = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return tf.constant(dense(lists, numbers, np.nan))

    def tensor(self, name: str, kind: ReadAs) -> Any:
        """A column of one value a row as the transform's graph takes it, ``[N]``."""
        return {"string": self.text, "number": self.numbers, "timestamp": self.moments}[kind](name)

    def text(self, name: str) -> Any:
        """A column of text as a tensor ``[N]``; every distinct value becomes a string once."""
        from configs.tensorflow_import import tf

        return tf.constant(self.by_distinct_value(name, tf.identity))

    def moments(self, name: str) -> Any:
        """A column of timestamps as an int64 tensor ``[N]`` of seconds since 1970 UTC."""
        from configs.tensorflow_import import tf

        return tf.constant(self.array(name).to_numpy(zero_copy_only=False))


def cut_or_pad(values: Any, length: int, padding: float = 0) -> Any:
    """A tensor ``[N, L]`` -> ``[N, length]``."""
    from configs.tensorflow_import import tf

    values = values[:, :length]
    short = [[0, 0], [0, length - tf.shape(values)[1]]]
    values = tf.pad(values, short, constant_values=tf.cast(padding, values.dtype))
    return tf.ensure_shape(values, [None, length])


def dense(lists: pa.Array, flat: Array, padding: float = 0) -> Array:
    """The elements of lists -> ``[N, longest]``, padded as a client pads a request."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    found = np.full((len(lists), int(lengths.max(initial=0))), padding, flat.dtype)
    row = np.repeat(np.arange(len(lists)), lengths)
    found[row, np.arange(len(flat)) - np.repeat(starts, lengths)] = flat
    return found


def is_list(column: pa.Array) -> bool:
    """Whether a column holds lists."""
    return bool(pa.types.is_list(column.type))


def encode(strings: pa.Array) -> pa.DictionaryArray:
    """The distinct values of nullable strings; null is read as the empty string."""
    return strings.fill_null("").dictionary_encode()


def of_distinct_values(encoded: pa.DictionaryArray, function: Any) -> Array:
    """Applies an elementwise TensorFlow function of strings once to every distinct value."""
    from configs.tensorflow_import import tf

    distinct = function(tf.constant(encoded.dictionary.to_pylist(), tf.string)).numpy()
    result: Array = distinct[encoded.indices.to_numpy()]
    return result
