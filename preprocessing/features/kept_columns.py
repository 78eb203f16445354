"""Raw columns that datasets keep, so that a topic may be younger than the dataset it cuts, and so
that memory has its keys.

Kept are the columns that the config's topics and memory read (but for the row's moment, which
every dataset holds), those that ``data.topic_columns`` names, and, of themselves, columns of text
that features read, where they have few distinct values: nobody cuts traffic by what a row has for
itself.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from preprocessing import filesystem
from preprocessing.features.batch_columns import Array, BatchColumns, encode, is_list
from preprocessing.features.value_counts import ValueCounts
from preprocessing.logs.schema import Column, raw_columns

DICTIONARIES = "dictionaries"
"""The folder of a dataset that holds them."""

MOST_VALUES = 1_000  # distinct ones, of a column that is kept of itself; our choice
MOST_MEMBERS = 64  # different ones of a row's list: one long list must not widen every row

Int32s = npt.NDArray[np.int32]


def dictionary_path(column: str) -> str:
    """The file of a column's dictionary, in a dataset."""
    return f"{DICTIONARIES}/{column}.json"


def asked_columns(experiment: Experiment) -> tuple[Column, ...]:
    """The columns that a topic or memory reads, or the config names, but for the row's moment."""
    topics = (topic.column for topic in experiment.topics.values())
    remembered = experiment.memory.columns if experiment.memory else ()
    columns = raw_columns(experiment)
    names = dict.fromkeys((*topics, *remembered, *experiment.data.topic_columns))
    return tuple(columns[name] for name in names if columns[name].kind != "timestamp")


def _small_columns(experiment: Experiment) -> tuple[Column, ...]:
    """The columns that are kept where they have few values."""
    asked = {column.name for column in asked_columns(experiment)}
    return tuple(
        column
        for column in raw_columns(experiment).values()
        if column.served and column.kind == "string" and column.name not in asked
    )


@dataclass
class ColumnValues:
    """The values of a column of text, or of lists of it.

    Attributes:
      most: with more distinct values than these the column is not kept; None for no limit.
      counts: rows by value; None once there were more.
      longest: most different values of a row's list.
      cut: rows whose lists have more than are kept.
    """

    most: int | None
    counts: ValueCounts | None = field(default_factory=ValueCounts)
    longest: int = 0
    cut: int = 0

    def add(self, column: pa.Array) -> None:
        """Adds a batch's rows."""
        if self.counts is None:
            return
        if is_list(column):
            values, members = _members(column)
            self.longest = max(self.longest, int(members.max(initial=0)))
            self.cut += int(np.count_nonzero(members > MOST_MEMBERS))
            self.counts.add(values)
        else:
            self.counts.add(column)
        self._limit()

    def merge(self, other: "ColumnValues") -> None:
        """Adds another's rows."""
        self.longest, self.cut = max(self.longest, other.longest), self.cut + other.cut
        if self.counts is None or other.counts is None:
            self.counts = None
        else:
            self.counts.merge(other.counts)
            self._limit()

    def _limit(self) -> None:
        if self.most is not None and self.counts and self.counts.distinct() > self.most:
            self.counts = None


@dataclass
class KeptValues:
    """Mergeable statistics of validated rows of all splits: what dictionaries are made of. The
    same bits come out whatever the order of batches.

    Attributes:
      by_column: the values of every column that may be kept and has a dictionary.
    """

    by_column: dict[str, ColumnValues]

    @classmethod
    def empty(cls, experiment: Experiment) -> "KeptValues":
        """Of no rows."""
        asked = [column for column in asked_columns(experiment) if column.kind != "number"]
        small = _small_columns(experiment)
        return cls(
            {column.name: ColumnValues(None) for column in asked}
            | {column.name: ColumnValues(MOST_VALUES) for column in small}
        )

    def add(self, batch: pa.RecordBatch) -> "KeptValues":
        """Adds validated rows, in place."""
        for name, values in self.by_column.items():
            values.add(batch.column(name))
        return self

    def compact(self) -> "KeptValues":
        """Merges what waits to be merged, so that little travels to another worker."""
        for values in self.by_column.values():
            if values.counts:
                values.counts.table()
        return self

    def merge(self, other: "KeptValues") -> "KeptValues":
        """Adds another's rows, in place."""
        for name, values in self.by_column.items():
            values.merge(other.by_column[name])
        return self

    def dictionaries(self) -> dict[str, tuple[str, ...]]:
        """Column -> its values, most frequent first, ties by value; of those that are kept."""
        return {
            name: values.counts.values()
            for name, values in self.by_column.items()
            if values.counts is not None
        }


class KeptColumns:
    """What a dataset keeps of its rows' raw columns.

    Args:
      experiment: names the columns.
      dictionaries: of the columns that have one.
      longest: of the columns of lists, the most different values of a row.
    """

    def __init__(
        self,
        experiment: Experiment,
        dictionaries: Mapping[str, Iterable[str]],
        longest: Mapping[str, int],
    ) -> None:
        columns = raw_columns(experiment)
        self._numbers = [c.name for c in asked_columns(experiment) if c.kind == "number"]
        self._values = {name: pa.array(list(v), pa.string()) for name, v in dictionaries.items()}
        self._lists = {
            name: (min(max(longest[name], 1), MOST_MEMBERS), _ranks(values, experiment, name))
            for name, values in self._values.items()
            if columns[name].kind == "strings"
        }

    @classmethod
    def load(cls, experiment: Experiment, folder: str, longest: Mapping[str, int]) -> "KeptColumns":
        """With the dictionaries of a dataset's folder; ``longest`` names their columns."""
        files = {name: filesystem.join(folder, dictionary_path(name)) for name in longest}
        dictionaries = {name: json.loads(filesystem.read(path)) for name, path in files.items()}
        return cls(experiment, dictionaries, longest)

    def of_batch(self, batch: pa.RecordBatch | BatchColumns) -> dict[str, Array]:
        """``raw/COLUMN`` of validated rows, as ``dataset.record_format`` describes them."""
        columns = BatchColumns.of(batch)
        kept: dict[str, Array] = {
            f"raw/{name}": columns.numbers(name).numpy() for name in self._numbers
        }
        for name, values in self._values.items():
            encoded = columns.encoded(name)
            found = pc.index_in(encoded.dictionary, value_set=values)
            of_distinct = 1 + found.fill_null(-1).to_numpy(zero_copy_only=False)
            codes = of_distinct.astype(np.int32)[encoded.indices.to_numpy()]
            if name in self._lists:
                codes = _dense(columns.array(name), codes, *self._lists[name])
            kept[f"raw/{name}"] = codes
        return kept


def _dense(lists: pa.Array, codes: Int32s, length: int, order: tuple[Int32s, Int32s]) -> Int32s:
    """Each row's different codes, cut or padded; ``order`` as ``_ranks`` has it."""
    code_of_rank, rank_of_code = order
    rows, ranks = _distinct(_parents(lists), rank_of_code[codes], len(code_of_rank))
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < length
    dense = np.zeros((len(lists), length), np.int32)
    dense[rows[kept], place[kept]] = code_of_rank[ranks[kept]]
    return dense


def _ranks(values: pa.Array, experiment: Experiment, column: str) -> tuple[Int32s, Int32s]:
    """The order in which a list's values are kept, those that topics ask for first: rank -> code,
    and code -> rank. 0 is missing in both.
    """
    asked = [
        pc.index_in(pa.array(topic.names), value_set=values).drop_null().to_numpy() + 1
        for topic in experiment.topics.values()
        if topic.column == column
    ]
    codes = np.concatenate([[0], *asked, np.arange(1, len(values) + 1)])
    _, places = np.unique(codes, return_index=True)
    code_of_rank = codes[np.sort(places)].astype(np.int32)
    return code_of_rank, np.argsort(code_of_rank).astype(np.int32)


def _parents(lists: pa.Array) -> npt.NDArray[np.int64]:
    """The row of every element."""
    rows: npt.NDArray[np.int64] = lists.value_parent_indices().to_numpy()
    return rows


def _distinct(
    rows: npt.NDArray[Any], codes: npt.NDArray[Any], size: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Every pair of a row and a code above 0 once, in their order; ``size`` is above all codes."""
    there = codes > 0
    return np.divmod(np.unique(rows[there] * np.int64(size) + codes[there]), size)


def _members(lists: pa.Array) -> tuple[pa.Array, npt.NDArray[Any]]:
    """The values of lists, and how many different ones each row has."""
    elements = lists.flatten()
    encoded = encode(elements)
    filled = np.array(pc.not_equal(encoded.dictionary, ""), bool)
    codes = np.where(filled, np.arange(1, len(filled) + 1), 0)[encoded.indices.to_numpy()]
    rows, _ = _distinct(_parents(lists), codes, len(filled) + 1)
    return elements, np.bincount(rows, minlength=len(lists))
