"""A uniform sample of rows that is the same whatever the order of batches, and bounded whatever
their number: the rows with the smallest random numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.features.batch_columns import is_list
from preprocessing.hashing import UInt64s

SAMPLED = 10_000
"""Rows of a sample: a share of a half is off by 0.5% (standard error)."""

_LETTERS = 100  # of a text: a profile shows values, it does not keep them
_ELEMENTS = 64  # of a list

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class RowSample:
    """A sample of rows.

    Attributes:
      numbers: of each row, ascending, ``[N]``.
      rows: their columns, texts and lists cut.
    """

    numbers: UInt64s
    rows: pa.Table

    @classmethod
    def of(cls, columns: Mapping[str, pa.Array], inside: Rows, numbers: UInt64s) -> "RowSample":
        """A batch's rows.

        Args:
          columns: of all rows of the batch.
          inside: places of those rows that may be drawn, ``[N]``.
          numbers: a random number for every row of the batch.
        """
        places = inside[_smallest(numbers[inside])]
        taken = {name: _short(array.take(pa.array(places))) for name, array in columns.items()}
        return cls(numbers[places], pa.table(taken))

    @classmethod
    def merged(cls, samples: Iterable["RowSample"]) -> "RowSample":
        """The sample of several batches from theirs, of which there is at least one."""
        first, *others = samples
        if not others:
            return first
        numbers = np.concatenate([first.numbers, *(sample.numbers for sample in others)])
        order = _smallest(numbers)
        rows = pa.concat_tables([first.rows, *(sample.rows for sample in others)])
        return cls(numbers[order], rows.take(pa.array(order)).combine_chunks())


def _smallest(numbers: UInt64s) -> Rows:
    """Places of the smallest numbers, in their order."""
    chosen = np.arange(len(numbers))
    if len(numbers) > SAMPLED:
        chosen = np.argpartition(numbers, SAMPLED)[:SAMPLED]
    return chosen[np.argsort(numbers[chosen], kind="stable")]


def _short(array: pa.Array) -> pa.Array:
    if is_list(array):
        lists = pc.list_slice(array, 0, _ELEMENTS)
        lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, _short(lists.flatten()))
    longest = pc.max(pc.binary_length(array)).as_py() if pa.types.is_string(array.type) else 0
    if (longest or 0) > _LETTERS:
        return pc.utf8_slice_codeunits(array, 0, _LETTERS)
    return array
