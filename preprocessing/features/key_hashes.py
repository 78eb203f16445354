"""The keys of memory: a 64-bit hash of the text of a key's columns, the same in a dataset, in a
batch of raw rows and in the served graph.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from configs.memory import Memory
from preprocessing.features.batch_columns import Array, BatchColumns

PREFIX = "memory/"
"""What the names of columns of hashes begin with."""

_RANGE = 2**63 - 1
_FACTOR = np.int64(-7046029254386353131)  # odd, 2^64 / the golden ratio (Knuth 1998, section 6.4)


def hash_text(text: Any) -> Any:
    """Hashes of strings, int64 of the same shape: FarmHash's fingerprint, 0 for the empty text."""
    from configs.tensorflow_import import tf

    hashed = tf.strings.to_hash_bucket_fast(text, _RANGE)
    return tf.where(tf.equal(text, ""), tf.constant(0, tf.int64), hashed)


def hash_keys(memory: Memory, hashes: Mapping[str, Any]) -> dict[str, Any]:
    """``memory/NAME`` of every key, int64 ``[N]``: 0 where a row misses one of its columns.

    Args:
      memory: names the keys.
      hashes: column -> ``hash_text`` of its values ``[N]``, or ``[1]`` where one holds for all
        rows; TensorFlow or NumPy. A key whose columns are all ``[1]`` is ``[1]``, too.
    """
    found = {}
    for name, columns in memory.keys.items():
        first, *others = (hashes[column] for column in columns)
        key, there = first, first != 0
        for other in others:
            key, there = key * _FACTOR + other, there & (other != 0)
        found[f"{PREFIX}{name}"] = key * _integer(there, key) if others else key
    return found


def keys_of_batch(memory: Memory | None, batch: pa.RecordBatch | BatchColumns) -> dict[str, Array]:
    """``memory/NAME`` of validated rows; nothing where there is no memory."""
    if memory is None:
        return {}
    columns = BatchColumns.of(batch)
    hashes = {name: columns.by_distinct_value(name, hash_text) for name in memory.columns}
    return hash_keys(memory, hashes)


def _integer(there: Any, like: Any) -> Any:
    """Booleans as numbers of another tensor's kind."""
    if isinstance(there, np.ndarray):
        return there.astype(np.int64)
    from configs.tensorflow_import import tf

    return tf.cast(there, like.dtype)
