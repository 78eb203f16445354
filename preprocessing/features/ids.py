"""Strings to ids as a graph that holds its vocabulary."""

from collections.abc import Sequence
from pathlib import Path

from configs.tensorflow_import import tf
from preprocessing.features.value_list import as_lines


class Ids(tf.Module):
    """Strings of any shape -> int32 ids of the same shape; the empty string is 0.

    Args:
      name: of the feature.
      buckets: ids 1..buckets are hashes of values outside the vocabulary.
      vocabulary: the values of the ids that follow, in order.
      folder: where the vocabulary is written; table initialisers read files.
    """

    def __init__(self, name: str, buckets: int, vocabulary: Sequence[str], folder: Path) -> None:
        super().__init__(name=f"ids_{name}".replace(".", "_").replace("-", "_"))
        self._oov_buckets = buckets
        self._table = None
        if vocabulary:
            path = folder / f"{name}.txt"
            path.write_bytes(as_lines(vocabulary))
            initializer = tf.lookup.TextFileInitializer(
                str(path),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
            self._table = tf.lookup.StaticHashTable(initializer, default_value=-1)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        ids = 1 + tf.strings.to_hash_bucket_fast(values, self._oov_buckets)
        if self._table is not None:
            index = self._table.lookup(values)
            ids = tf.where(index >= 0, 1 + self._oov_buckets + index, ids)
        return tf.cast(tf.where(tf.equal(values, ""), tf.zeros_like(ids), ids), tf.int32)
