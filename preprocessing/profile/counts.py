"""What the second pass counts for the profile, batch by batch: mergeable, bounded in size whatever
the rows, and the same bits whatever the order of batches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from configs.features.settings import ReadAs
from preprocessing.features.batch_columns import BatchColumns, encode
from preprocessing.features.numbers import NumberReader
from preprocessing.hashing import draws
from preprocessing.profile.number_sums import NumberSums
from preprocessing.profile.row_sample import Rows, RowSample

LENGTH = "length/"
"""Before a feature's name: the column of a sample with the lengths of its lists."""

JOINED = " x "
"""Between the values of a row's several columns."""

Columns = Mapping[str, npt.NDArray[np.generic]]
Mask = npt.NDArray[np.bool_]
Form = ReadAs | Literal["ids"]


@dataclass(frozen=True)
class FeatureCounts:
    """A feature in rows of a split.

    Attributes:
      missing: rows without a value.
      values: values that the transform has read, of lists one by one.
      unknown: those of them that have no id of their own; None without a vocabulary.
      numbers: of numbers, or of the lengths of lists; None for text.
      only: of text, the one value that all rows with a value have; None where there is none.
      varies: whether rows have different values of text.
    """

    missing: int
    values: int
    unknown: int | None = None
    numbers: NumberSums | None = None
    only: str | None = None
    varies: bool = False

    def __add__(self, other: "FeatureCounts") -> "FeatureCounts":
        differ = None not in (self.only, other.only) and self.only != other.only
        varies = self.varies or other.varies or differ
        return FeatureCounts(
            self.missing + other.missing,
            self.values + other.values,
            None if self.unknown is None else self.unknown + (other.unknown or 0),
            self.numbers + other.numbers if self.numbers and other.numbers else None,
            None if varies else self.only if other.only is None else other.only,
            varies,
        )


@dataclass(frozen=True)
class SplitCounts:
    """Rows of a split: how many, every feature, and a sample of them."""

    rows: int
    features: dict[str, FeatureCounts]
    sample: RowSample


ProfileCounts = dict[str, SplitCounts]
"""Split -> its rows, of the splits that have any."""


def merge_counts(parts: Iterable[ProfileCounts]) -> ProfileCounts:
    """The counts of several batches."""
    every = list(parts)
    merged: ProfileCounts = {}
    for split in sorted({split for part in every for split in part}):
        found = [part[split] for part in every if split in part]
        merged[split] = SplitCounts(
            sum(one.rows for one in found),
            {
                name: reduce(FeatureCounts.__add__, (one.features[name] for one in found))
                for name in found[0].features
            },
            RowSample.merged(one.sample for one in found),
        )
    return merged


def count_batch(
    experiment: Experiment,
    rows: BatchColumns,
    columns: Columns,
    splits: Mapping[str, Rows],
    seed: str,
) -> ProfileCounts:
    """Counts a batch.

    Args:
      experiment: names the features.
      rows: validated, ``[N]``.
      columns: of the record format, of the same rows.
      splits: split -> places of its rows.
      seed: of the batch.
    """
    readers = {name: _Reader(experiment, name, rows, columns) for name in experiment.features}
    sampled = {
        name: array for reader in readers.values() for name, array in reader.sampled().items()
    }
    numbers = draws(len(rows), f"profile/{seed}")
    return {
        split: SplitCounts(
            len(inside),
            {name: reader.count(inside) for name, reader in readers.items()},
            RowSample.of(sampled, inside, numbers),
        )
        for split, inside in splits.items()
        if len(inside)
    }


def form_of(experiment: Experiment, name: str) -> Form:
    """How a feature's values are described: as they are read, or by its ids where it is made of
    columns that are read in several ways.
    """
    settings = experiment.features[name]
    ways = set(settings.reads(name, experiment.features).values())
    return "ids" if settings.joins_columns and ways != {settings.read_as} else settings.read_as


class _Reader:
    """A feature of a batch."""

    def __init__(
        self, experiment: Experiment, name: str, rows: BatchColumns, columns: Columns
    ) -> None:
        settings = experiment.features[name]
        self._name, self._form, self._rows = name, form_of(experiment, name), rows
        reads = settings.reads(name, experiment.features).items()
        self._columns = [column for column, way in reads if way == settings.read_as]
        self._expression = settings.expressed
        owner = experiment.features[settings.shares_ids_of or name]
        self._unknown_ids = 0 if owner.hashed_ids else owner.oov_ids
        ids = columns.get(f"feature/{name}") if self._form == "ids" or self._unknown_ids else None
        self._ids = None if ids is None else ids.astype(np.int32, copy=False)
        self._numbers = self._read_numbers()
        self._missing = self._find_missing()

    def count(self, inside: Rows) -> FeatureCounts:
        """The rows at these places."""
        missing = self._missing[inside]
        values, unknown = len(inside) - int(np.count_nonzero(missing)), None
        if self._ids is not None and self._unknown_ids:
            ids = self._ids[inside]
            values = int(np.count_nonzero(ids))
            unknown = int(np.count_nonzero((ids > 0) & (ids <= self._unknown_ids)))
        numbers = None
        if self._numbers is not None:
            present = self._numbers[inside]
            numbers = NumberSums.of(present if self._form == "strings" else present[~missing])
        only, varies = self._only(inside[~missing])
        found = int(np.count_nonzero(missing))
        return FeatureCounts(found, values, unknown, numbers, only, varies)

    def sampled(self) -> dict[str, pa.Array]:
        """What a sample keeps of it, by column; null where missing."""
        if self._form == "timestamp":
            return {}
        if self._form == "strings":
            lists = self._rows.array(self._columns[0])
            return {self._name: lists, f"{LENGTH}{self._name}": pa.array(self._numbers)}
        if self._numbers is not None:
            return {self._name: pa.array(self._numbers, mask=self._missing)}
        texts = self._texts()
        joined = pc.binary_join_element_wise(*texts, JOINED) if len(texts) > 1 else texts[0]
        nothing = pa.scalar(None, joined.type)
        return {self._name: pc.if_else(pa.array(self._missing), nothing, joined)}

    def _texts(self) -> list[pa.Array]:
        """What text rows have: columns, or ids."""
        if self._form != "ids":
            return [self._rows.array(column) for column in self._columns]
        return [pa.array(self._ids).cast(pa.string())]

    def _read_numbers(self) -> npt.NDArray[np.float64] | None:
        """Numbers, NaN where missing, of lists of numbers each row's mean; or the lengths of
        lists.
        """
        if self._form not in ("number", "numbers", "strings"):
            return None
        if self._expression is not None:
            reader = NumberReader(tuple(self._columns), self._expression)
            found, missing = reader.of_tensors(
                [self._rows.numbers(name) for name in reader.columns]
            )
            return np.where(missing.numpy(), np.nan, found.numpy())
        array = self._rows.array(self._columns[0])
        if self._form == "numbers":
            return _means(array)
        if self._form == "strings":
            array = array.value_lengths().fill_null(0)
        return array.to_numpy(zero_copy_only=False).astype(np.float64)  # type: ignore[no-any-return]

    def _find_missing(self) -> Mask:
        if self._numbers is not None:
            lists = self._form == "strings"
            return self._numbers == 0 if lists else ~np.isfinite(self._numbers)
        missing = np.zeros(len(self._rows), np.bool_)
        if self._form == "timestamp":
            return missing
        if self._form == "ids" and self._ids is not None:
            absent: Mask = self._ids == 0
            return absent
        for column in self._columns:
            encoded = self._rows.encoded(column)
            missing |= encoded.indices.to_numpy() == pc.index(encoded.dictionary, "").as_py()
        return missing

    def _only(self, present: Rows) -> tuple[str | None, bool]:
        """The one text of these rows, and whether there are others."""
        if self._form not in ("string", "ids") or not len(present):
            return None, False
        values = []
        for texts in self._texts():
            encoded = encode(texts)
            codes = encoded.indices.to_numpy()[present]
            if (codes != codes[0]).any():
                return None, True
            values.append(encoded.dictionary[int(codes[0])].as_py())
        return JOINED.join(values), False


def _means(lists: pa.Array) -> npt.NDArray[np.float64]:
    """The mean of each row's numbers, NaN where it has none."""
    numbers = lists.flatten()
    known = numbers.is_valid().to_numpy(zero_copy_only=False)
    rows = lists.value_parent_indices().to_numpy()[known]
    values = numbers.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
    count = np.bincount(rows, minlength=len(lists))
    total = np.bincount(rows, values, len(lists))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
