"""Finds columns that are a copy of a label: a model that reads one learns nothing else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SPELLINGS = {"1": ("1", "1.0", "true"), "0": ("0", "0.0", "false")}
"""Texts that mean the same, whatever the case of their letters."""

_MOST = 2  # values of a label, so of a copy

_PRESENT = "a value"
_WAYS = ("as it is", "presence")

Pair = tuple[str, str, str]
"""Column, label, and in which of ``_WAYS`` the column is read."""


@dataclass
class LabelCopies:
    """Columns of two values, of which one stands on the rows with a label and the other on the
    rest: equal to it, inverted, or spelt ``Y`` and ``N``. A missing value is a value, too. And
    columns of any values that are missing on all rows of one class, and on no row of the other.

    Attributes:
      values: each value of a column so far, as text, and the label's value on all of its rows; of
        pairs that may still be copies.
    """

    values: dict[Pair, dict[str | None, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Iterable[str], labels: Iterable[str]) -> "LabelCopies":
        """Of no rows: every column may be a copy of every label."""
        return cls({pair: {} for pair in product(columns, labels, _WAYS)})

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        for column, way in {(column, way) for column, _, way in self.values}:
            values = batch.column(column)
            shown = _spelt(values) if way == _WAYS[0] else _presence(values)
            encoded = shown.dictionary_encode("encode")
            texts = encoded.dictionary.to_pylist()
            for pair in [pair for pair in self.values if (pair[0], pair[2]) == (column, way)]:
                if len(texts) > _MOST:
                    del self.values[pair]
                else:
                    labels = batch.column(pair[1]).to_numpy(zero_copy_only=False)
                    self._meet(pair, _told(texts, encoded.indices.to_numpy(), labels))

    def merge(self, other: "LabelCopies") -> None:
        """Adds another's rows."""
        for pair in list(self.values):
            self._meet(pair, other.values.get(pair))

    def found(self) -> Iterator[tuple[str, str, str, str]]:
        """Column, label, and the column's value where the label is 1 and where it is 0, of every
        copy.
        """
        said = set[tuple[str, str]]()
        for (column, label, _), told in sorted(self.values.items()):  # as it is, then presence
            if (column, label) not in said and sorted(told.values()) == [0.0, 1.0]:
                said.add((column, label))
                one, zero = (
                    next(text for text, value in told.items() if value == wanted)
                    for wanted in (1.0, 0.0)
                )
                yield column, label, one or "nothing", zero or "nothing"

    def _meet(self, pair: Pair, told: dict[str | None, float] | None) -> None:
        """Adds what other rows tell of a pair; None that it is no copy."""
        known = self.values[pair]
        both = known | (told or {})
        agree = told is not None and all(known.get(text, told[text]) == told[text] for text in told)
        if agree and len(both) <= _MOST:
            self.values[pair] = both
        else:
            del self.values[pair]


def _presence(values: pa.Array) -> pa.Array:
    return pc.if_else(values.is_valid(), _PRESENT, pa.scalar(None, pa.string()))


def _told(
    texts: list[str | None], codes: np.ndarray[tuple[int], np.dtype[np.int32]], labels: pa.Array
) -> dict[str | None, float] | None:
    """Value -> the label on all of its rows; None where a value has rows of both classes."""
    told = {}
    for code, text in enumerate(texts):
        classes = np.unique(labels[codes == code])
        if len(classes) != 1:
            return None
        told[text] = float(classes[0])
    return told


def _spelt(values: pa.Array) -> pa.Array:
    """As text of one spelling."""
    if not pa.types.is_string(values.type):
        values = values.cast(pa.string())
    values = pc.utf8_lower(values)
    for meaning, spellings in _SPELLINGS.items():
        values = pc.if_else(pc.is_in(values, value_set=pa.array(spellings)), meaning, values)
    return values
