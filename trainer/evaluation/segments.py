"""Cuts the rows of a split by the values of raw columns: the segments of an evaluation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import InputError
from trainer.data.raw_columns import RawColumns
from trainer.kernels.kernel import Rows

MOST_VALUES = 20
"""Segments of a column of text, beside the two below; our choice: what one can look over."""

OTHER, MISSING = "other", "missing"
"""The segments of all other values together, and of rows without one."""


class Segments:
    """The segments of a dataset.

    Args:
      raw: its raw columns.
      columns: by which rows are cut (``evaluation.segments``).

    Raises:
      InputError: the dataset does not hold a column, or holds lists in it.
    """

    def __init__(self, raw: RawColumns, columns: Iterable[str]) -> None:
        self._raw = raw
        self.columns = tuple(columns)
        for column in self.columns:
            form = raw.form(column)
            if form is None:
                what = "column in data.topic_columns"
                raise InputError(raw.missing("evaluation.segments", column, what))
            if form == "strings":
                raise InputError(
                    f"{raw.folder}: evaluation.segments: column '{column}' holds lists; expected"
                    " one of text or of numbers"
                )

    def of(self, rows: Mapping[str, npt.NDArray[Any]]) -> dict[str, dict[str, Rows]]:
        """Column -> segment -> indices of its rows, in order; every row is in one segment of a
        column, and every segment has rows.

        Args:
          rows: columns of the split, with ``raw/COLUMN``.
        """
        return {column: self._cut(column, rows[f"raw/{column}"]) for column in self.columns}

    def _cut(self, column: str, values: npt.NDArray[Any]) -> dict[str, Rows]:
        if self._raw.form(column) == "number":
            return quartiles(values)
        return most_frequent(values, self._raw.dictionary(column))


def most_frequent(
    codes: npt.NDArray[np.integer[Any]], dictionary: Sequence[str]
) -> dict[str, Rows]:
    """Rows by value: the ``MOST_VALUES`` most frequent ones among these rows, most frequent first
    and ties by text, then ``other`` and ``missing``, where there are any.

    A value that is called like one of the last two stands in double quotes, and so does one that
    begins with a double quote.

    Args:
      codes: ``[N]``, 0 for missing, ``i + 1`` for value ``i``.
      dictionary: the values.
    """
    counts = np.bincount(codes, minlength=len(dictionary) + 1)
    present = np.flatnonzero(counts[1:]).tolist()
    present.sort(key=lambda value: (-counts[value + 1], dictionary[value]))
    names = [_written(dictionary[value]) for value in present[:MOST_VALUES]]
    names += [OTHER, MISSING]
    place_of = np.full(len(counts), len(names) - 2)
    place_of[0] = len(names) - 1
    place_of[np.array(present[:MOST_VALUES], int) + 1] = np.arange(len(names) - 2)
    return _by_place(place_of[codes], names)


def quartiles(numbers: npt.NDArray[np.floating[Any]]) -> dict[str, Rows]:
    """Rows by number, in quarters as equal as ties allow, each named by its least and its greatest
    number, ascending; then ``missing``, where there are any.

    Args:
      numbers: ``[N]``, NaN for missing.
    """
    known = np.flatnonzero(~np.isnan(numbers))
    place = np.full(len(numbers), -1)
    if known.size:
        of_known = numbers[known]
        borders = np.quantile(of_known, (0.25, 0.5, 0.75), method="inverted_cdf")
        place[known] = np.searchsorted(np.unique(borders), of_known)  # up to and with the border
    names = []
    for quarter in range(4):
        inside = numbers[place == quarter]
        ends = [inside.min(), inside.max()] if inside.size else []
        names.append(" to ".join(dict.fromkeys(_number(end) for end in ends)))
    return _by_place(place % 5, [*names, MISSING])


def _by_place(place: npt.NDArray[np.integer[Any]], names: Sequence[str]) -> dict[str, Rows]:
    found = {name: np.flatnonzero(place == number) for number, name in enumerate(names)}
    return {name: rows for name, rows in found.items() if rows.size}


def _written(value: str) -> str:
    return f'"{value}"' if value in (OTHER, MISSING) or value.startswith('"') else value


def _number(value: np.floating[Any]) -> str:
    """The shortest text that reads back as the same number."""
    return np.format_float_positional(value, trim="-")
