"""Describes the columns of a sample: what they hold, and of whom they are properties."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.values import LIST_SEPARATOR
from preprocessing.logs.readers import RawColumn
from preprocessing.logs.schema import Kind
from preprocessing.suggestion.sample import Part, read_as

Form = Literal["nothing", "list", "moment", "number", "text"]

_MOST_BROKEN = 0.005
"""Share of values that may break a rule while the column is still read that way (our choice)."""

_FEWEST_GROUPS = 5.0
"""Groups that are expected to vary below which a sample says nothing (our choice)."""

_LISTS = 0.05
"""Share of texts with a separator from which a column of text is one of lists (our choice)."""


@dataclass(frozen=True)
class SampledColumn:
    """A column of a sample.

    Attributes:
      name: of the column.
      form: what it holds: lists of text, moments, numbers (whole or not), or text; ``nothing``
        where it is empty.
      codes: int64 ``[N]``, each row's value as text (of a list, all of it); -1 where missing.
      texts: the values, by code.
      numbers: float64 ``[N]``, NaN where missing; empty where the form is not ``number``.
      members: of lists: their distinct members; else empty.
      longest: of lists: the members of the longest one.
      fractions: of lists: whether their members are numbers, and not all of them whole.
      alike: of lists: whether all that are not empty are of one length, of two or more.
      everywhere: whether all files have it.
    """

    name: str
    form: Form
    codes: npt.NDArray[np.int64]
    texts: list[str]
    numbers: npt.NDArray[np.float64]
    members: frozenset[str] = frozenset()
    longest: int = 0
    fractions: bool = False
    alike: bool = False
    everywhere: bool = True

    @property
    def distinct(self) -> int:
        """Number of values."""
        return len(self.texts)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows of each value."""
        return np.bincount(self.codes[self.codes >= 0], minlength=self.distinct)

    @property
    def missing(self) -> float:
        """Share of rows without a value."""
        return float((self.codes < 0).mean())

    @property
    def whole(self) -> bool:
        """Whether all its numbers are whole."""
        known = self.numbers[~np.isnan(self.numbers)]
        return bool(known.size and (known == np.floor(known)).all())

    @property
    def binary(self) -> bool:
        """Whether it holds 0 and 1, both of them, and no other value; it may be missing."""
        return self.form == "number" and set(self.filled.tolist()) == {0.0, 1.0}

    @cached_property
    def filled(self) -> npt.NDArray[np.float64]:
        """Its numbers, 0 where missing: a label that is missing where nothing can happen."""
        return np.nan_to_num(self.numbers)

    def varies_within(self, groups: "SampledColumn") -> float:
        """How much it varies inside groups of rows: the number of groups that have several values,
        as a share of the number that would if values had nothing to do with groups. About 0 of a
        group's property, about 1 of what the group says nothing of, however rare its values. 1
        where the sample cannot tell.
        """
        if groups.name not in self._within:
            self._within[groups.name] = self._variation(groups)
        return self._within[groups.name]

    @cached_property
    def _within(self) -> dict[str, float]:
        """Of the groups that were asked for: each costs a sort of the sample."""
        return {}

    def _variation(self, groups: "SampledColumn") -> float:
        known = groups.codes >= 0
        rows = np.bincount(groups.codes[known], minlength=groups.distinct)
        each = self.distinct + 1
        pairs = np.unique(groups.codes[known] * each + self.codes[known] + 1)
        values = np.bincount(pairs // each, minlength=groups.distinct)
        shares = np.bincount(self.codes[known] + 1) / max(int(known.sum()), 1)
        sizes, times = np.unique(rows[rows > 1], return_counts=True)
        alike = np.array([(shares**size).sum() for size in sizes])
        expected = float((times * (1.0 - alike)).sum())
        return float((values > 1).sum()) / expected if expected >= _FEWEST_GROUPS else 1.0


Columns = Mapping[str, SampledColumn]


def describe(parts: list[Part]) -> dict[str, SampledColumn]:
    """Every column that a file of the sample has, by name."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return {name: _column(name, parts) for name in names}


def _column(name: str, parts: list[Part]) -> SampledColumn:
    everywhere = all(name in part.columns for part in parts)
    if _is_list(name, parts):
        lists = _read(name, parts, "strings")[0].to_pylist()
        texts = pa.array([LIST_SEPARATOR.join(value) if value else None for value in lists])
        codes, values = _encoded(texts)
        numbers, no_numbers = _read(name, parts, "numbers")
        found = numbers.flatten().drop_null().to_numpy(zero_copy_only=False)
        lengths = {len(value) for value in numbers.to_pylist() if value}
        return SampledColumn(
            name,
            "list",
            codes,
            values,
            np.empty(0),
            frozenset(member for value in lists for member in value or ()),
            max((len(value) for value in lists if value), default=0),
            no_numbers <= _MOST_BROKEN and bool((found != np.floor(found)).any()),
            len(lengths) == 1 and lengths != {1},
            everywhere,
        )
    texts, _ = _read(name, parts, "string")
    codes, values = _encoded(texts)
    if not values:
        return SampledColumn(name, "nothing", codes, values, np.empty(0), everywhere=everywhere)
    numbers, no_numbers = _read(name, parts, "number")
    if no_numbers <= _MOST_BROKEN:
        found = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return SampledColumn(name, "number", codes, values, found, everywhere=everywhere)
    _, no_moments = _read(name, parts, "timestamp")
    form: Form = "moment" if no_moments <= _MOST_BROKEN else "text"
    return SampledColumn(name, form, codes, values, np.empty(0), everywhere=everywhere)


def _is_list(name: str, parts: list[Part]) -> bool:
    """Whether a column's own type says so, or its text does."""
    separated = texts = 0
    for part in parts:
        column = part.columns.get(name)
        if isinstance(column, list):
            if any(isinstance(value, list) for value in column):
                return True
            continue
        if column is None:
            continue
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            return True
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            known = [_text(value) for value in column.drop_null().to_pylist()]
            texts += len(known)
            separated += sum(LIST_SEPARATOR in value or value[:1] == "[" for value in known)
    return texts > 0 and separated > _LISTS * texts


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _read(name: str, parts: list[Part], kind: Kind) -> tuple[pa.Array, float]:
    """A column as ``kind``, and the share of its values that are none."""
    pieces, broken, known = [], 0, 0
    for part in parts:
        column: RawColumn = part.columns.get(name, pa.nulls(part.rows))
        read = read_as(column, kind, part.source)
        bad = np.zeros(part.rows, bool)
        for _, mask in read.problems:
            bad |= mask
        pieces.append(read.values)
        broken += int(bad.sum())
        known += int(bad.sum()) + len(read.values) - read.values.null_count
    return pa.concat_arrays(pieces), broken / known if known else 1.0


def _encoded(texts: pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    encoded = texts.cast(pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()
