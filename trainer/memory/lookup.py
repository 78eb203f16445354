"""What is served of memory: the rates of every key at the last refresh, found by its hash."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.memory import Memory
from configs.tensorflow_import import tf
from preprocessing.features.key_hashes import PREFIX
from trainer.memory.counts import Counts
from trainer.memory.rates import rates

_LAST = np.iinfo(np.int64).max
"""A hash that no key has, the last of every table, so that none is empty."""


def rates_of_rows(
    memory: Memory, counts: Counts, keys: Mapping[str, npt.NDArray[Any]]
) -> npt.NDArray[np.float32]:
    """What rows are served with, float32 ``[N, w]``: the rates of their keys as they are in
    ``counts``, 0 for a key that is not there.

    Args:
      memory: the definition.
      counts: at the last refresh.
      keys: ``memory/NAME`` of the rows, int64 ``[N]`` each.
    """
    found = []
    for name, (hashes, values) in _tables(memory, counts).items():
        wanted = keys[f"{PREFIX}{name}"]
        place = np.searchsorted(hashes, wanted)
        found.append(np.where((hashes[place] == wanted)[:, np.newaxis], values[place], 0))
    return np.concatenate(found, axis=1)


class MemoryTables:
    """The same in a graph, in variables whose length is the number of keys, so that a refresh
    changes nothing else of an exported version.

    Args:
      memory: the definition.
      counts: at the last refresh.
    """

    def __init__(self, memory: Memory, counts: Counts) -> None:
        self._tables = {
            name: (
                tf.Variable(hashes, trainable=False, shape=[None]),
                tf.Variable(values, trainable=False, shape=[None, values.shape[1]]),
            )
            for name, (hashes, values) in _tables(memory, counts).items()
        }

    def variables(self) -> dict[str, tf.Variable]:
        """By name."""
        return {
            f"memory_{name}_{part}": variable
            for name, pair in self._tables.items()
            for part, variable in zip(("hashes", "rates"), pair, strict=True)
        }

    def rates(self, keys: Mapping[str, tf.Tensor], rows: tf.Tensor | None = None) -> tf.Tensor:
        """``rates_of_rows`` of keys ``memory/NAME``, int64 ``[N]`` each.

        Args:
          keys: of rows; one of static shape ``[1]`` is that of all rows, and looked up once.
          rows: N, where there is such a key.
        """
        found = []
        for name, (hashes, values) in self._tables.items():
            # A search takes rows of sorted values. To leave the axis where it is takes fewer
            # operations, and in small models their number is what costs.
            wanted = tf.expand_dims(keys[f"{PREFIX}{name}"], 0)
            known = hashes.read_value()
            place = tf.raw_ops.LowerBound(sorted_inputs=tf.expand_dims(known, 0), values=wanted)
            there = tf.expand_dims(tf.equal(tf.gather(known, place), wanted), 2)
            read = tf.where(there, tf.gather(values, place), 0.0)
            if rows is not None and wanted.shape[1] == 1:
                read = tf.broadcast_to(read, [1, rows, values.shape[1]])
            found.append(read)
        return tf.squeeze(tf.concat(found, axis=2), 0)


def _tables(
    memory: Memory, counts: Counts
) -> dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Name -> hashes in ascending order, ``_LAST`` at the end, and the rates of each."""
    tables = {}
    for name in memory.keys:
        held = counts.keys[name]
        values = rates(memory, held.sums, counts.total)
        tables[name] = (
            np.append(held.hashes, _LAST),
            np.concatenate([values, np.zeros((1, values.shape[1]), np.float32)]),
        )
    return tables
