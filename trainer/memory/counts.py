"""Time-decayed counts of rows and positives by key, and what they were at any refresh.

Time is cut at borders, one every ``refresh_hours``. A row's labels count from the first border at
which they are known, and a row reads what counted at the last border at or before the first moment
of its request. So no row reads a label of its own request, nor one that was not known yet; the
counts of another border are another number of half-lives old (our choice).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from configs.memory import Memory
from trainer.memory.rates import rates

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

_HOUR = 3_600


@dataclass(frozen=True)
class LabelledRows:
    """Rows of logs.

    Attributes:
      moments: seconds since 1970, int64 ``[N]``.
      requests: of the rows, int64 ``[N]``.
      keys: name -> hash of each row's key, int64 ``[N]``; 0 where it has none.
      counts: float64 ``[N, 2 T]``: of every task the row's weight in its sample space, then of
        every task the weight of its label.
    """

    moments: Int64s
    requests: Int64s
    keys: Mapping[str, Int64s]
    counts: Float64s

    def known_at(self, memory: Memory) -> Int64s:
        """The border from which each row counts."""
        return 1 + border_before(memory, self.moments + int(memory.delay_hours * _HOUR))

    def read_at(self, memory: Memory) -> Int64s:
        """The border whose counts each row reads: that of the first row of its request."""
        _, request = np.unique(self.requests, return_inverse=True)
        first = np.full(len(request), np.iinfo(np.int64).max)
        np.minimum.at(first, request, self.moments)
        return border_before(memory, first[request])

    def without_counts(self, rows: npt.NDArray[np.bool_]) -> "LabelledRows":
        """The same rows, of which some count nothing."""
        return replace(self, counts=np.where(rows[:, np.newaxis], 0.0, self.counts))

    def of(self, rows: npt.NDArray[np.bool_]) -> "LabelledRows":
        """Some of the rows."""
        keys = {name: values[rows] for name, values in self.keys.items()}
        return LabelledRows(self.moments[rows], self.requests[rows], keys, self.counts[rows])


@dataclass(frozen=True)
class KeyCounts:
    """Of the keys of one name.

    Attributes:
      hashes: int64 ``[K]``, ascending, none 0.
      sums: decayed counts, float64 ``[K, 2 T]``, columns as of ``LabelledRows.counts``.
      forgotten: share of the rows, by weight, whose keys were left out as too few or too rare.
    """

    hashes: Int64s
    sums: Float64s
    forgotten: float = 0.0


@dataclass(frozen=True)
class Counts:
    """What counted at a border.

    Attributes:
      border: its number.
      total: of all rows, float64 ``[2 T]``.
      keys: by name.
      covers: seconds since 1970 before which every row counts; None for what is known at the
        border.
    """

    border: int
    total: Float64s
    keys: Mapping[str, KeyCounts]
    covers: int | None = None


def border_before(memory: Memory, moments: Int64s) -> Int64s:
    """The number of the last border at or before moments."""
    borders: Int64s = (moments - memory.refresh_offset_hours * _HOUR) // (
        memory.refresh_hours * _HOUR
    )
    return borders


def border_moment(memory: Memory, border: int) -> int:
    """When a border is, in seconds since 1970."""
    return (border * memory.refresh_hours + memory.refresh_offset_hours) * _HOUR


def counts_at(memory: Memory, base: Counts | None, rows: LabelledRows, border: int) -> Counts:
    """What counts at a border, less the keys that are forgotten (``least_rows``, ``most_keys``).

    Args:
      memory: the definition.
      base: what counted before; None for nothing.
      rows: those that ``base`` counts, and those that are not known at the border, are left out.
      border: not before that of ``base``.
    """
    known = rows.known_at(memory)
    counting = (known <= border) & _later(known, base)
    rows, age = rows.of(counting), border - known[counting]
    decayed = rows.counts * _decay(memory, age)[:, np.newaxis]
    total = decayed.sum(axis=0)
    since = 0.0
    if base is not None:
        since = float(_decay(memory, np.array([border - base.border]))[0])
        total = total + base.total * since
    keys = {}
    for name, hashes in rows.keys.items():
        former = base.keys[name] if base else _no_counts(len(total))
        there = hashes != 0
        every = np.concatenate([former.hashes, hashes[there]])
        found, place = np.unique(every, return_inverse=True)
        values = np.concatenate([former.sums * since, decayed[there]])
        sums = _sums(place, values, len(found))
        keys[name] = _remembered(memory, KeyCounts(found, sums))
    return Counts(border, total, keys)


def rates_when_read(
    memory: Memory, base: Counts | None, rows: LabelledRows, asked: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """What rows read: the rates of their keys (``rates``) at the border of their request, float32
    ``[A, W]`` of the rows that are asked for, in their order.

    Args:
      memory: the definition.
      base: what counted at a border that none of the rows that are asked for reads before; None
        for nothing. The rows that it counts are not counted again.
      rows: in any order.
      asked: bool ``[N]``.

    Raises:
      ValueError: a row reads before ``base``.
    """
    known, read = rows.known_at(memory), rows.read_at(memory)[asked]
    columns = rows.counts.shape[1]
    start = base.border if base else int(min(known.min(initial=0), read.min(initial=0)))
    if base and len(read) and read.min() < start:
        raise ValueError(f"a row reads border {read.min()}, before that of the counts, {start}")
    sums = base.total[np.newaxis].copy() if base else np.zeros((1, columns))
    total = _Decaying(memory, np.zeros(len(known), np.int64), sums, np.full(1, start))
    tables = [
        _Decaying.of(memory, base.keys[name] if base else None, hashes, columns, start)
        for name, hashes in rows.keys.items()
    ]
    out = np.zeros((len(read), len(tables), columns // 2 + 1), np.float32)
    places = np.flatnonzero(asked)
    new_rows = np.flatnonzero(_later(known, base))
    by_known = {at: new_rows[found] for at, found in _grouped(known[new_rows]).items()}
    by_read = _grouped(read)
    for border in sorted(by_known.keys() | by_read.keys()):
        new = by_known.get(border)
        if new is not None:
            for table in (total, *tables):
                table.add(border, new, rows.counts[new])
        reading = by_read.get(border)
        if reading is not None:
            prior = total.at(border, np.zeros(1, np.int64))[0]
            for index, table in enumerate(tables):
                sums = table.at(border, table.places[places[reading]])
                out[reading, index] = rates(memory, sums, prior)
    return out.reshape(len(read), memory.width(columns // 2))


@dataclass
class _Decaying:
    """Counts of keys, each as it was when it was last added to.

    Attributes:
      memory: the definition.
      places: of each row's key in the other arrays, int64 ``[N]``; -1 where it has none.
      sums: float64 ``[K, 2 T]``.
      last: border of each key's ``sums``, int64 ``[K]``.
    """

    memory: Memory
    places: Int64s
    sums: Float64s
    last: Int64s

    @classmethod
    def of(
        cls, memory: Memory, base: KeyCounts | None, hashes: Int64s, columns: int, start: int
    ) -> "_Decaying":
        """Of all keys that rows or ``base`` have."""
        former = base or _no_counts(columns)
        found, place = np.unique(np.concatenate([former.hashes, hashes]), return_inverse=True)
        sums = np.zeros((len(found), columns))
        known, of_rows = np.split(place, [len(former.hashes)])
        sums[known] = former.sums
        return cls(memory, np.where(hashes == 0, -1, of_rows), sums, np.full(len(sums), start))

    def add(self, border: int, rows: Int64s, counts: Float64s) -> None:
        """Adds rows that count from a border on."""
        places = self.places[rows]
        there = places >= 0
        keys, place = np.unique(places[there], return_inverse=True)
        self.sums[keys] = self.at(border, keys) + _sums(place, counts[there], len(keys))
        self.last[keys] = border

    def at(self, border: int, places: Int64s) -> Float64s:
        """Counts of keys at a border not before the last at which one was added, ``[len(places), 2
        T]``; 0 where the place is -1.
        """
        decay = _decay(self.memory, border - self.last[places]) * (places >= 0)
        sums: Float64s = self.sums[places] * decay[:, np.newaxis]
        return sums


def _later(known: Int64s, base: Counts | None) -> npt.NDArray[np.bool_]:
    """Which rows, known at borders, ``base`` does not count."""
    return np.ones(len(known), bool) if base is None else known > base.border


def _sums(places: npt.NDArray[np.intp], counts: Float64s, size: int) -> Float64s:
    """Counts of rows ``[N, 2 T]`` added up by place, ``[size, 2 T]``."""
    sums = np.stack([np.bincount(places, of, size) for of in counts.T], axis=1)
    return sums.astype(np.float64, copy=False)  # NumPy counts nothing at all in whole numbers


def _decay(memory: Memory, borders: Int64s) -> Float64s:
    """What is left of a count after a number of borders."""
    decay: Float64s = np.exp2(-borders * (memory.refresh_hours / memory.half_life_hours))
    return decay


def _remembered(memory: Memory, counts: KeyCounts) -> KeyCounts:
    rows = counts.sums[:, 0]
    kept = np.flatnonzero(rows >= memory.least_rows)
    if len(kept) > memory.most_keys:
        most = np.argsort(-rows[kept], kind="stable")[: memory.most_keys]
        kept = np.sort(kept[most])
    every = rows.sum()
    forgotten = 1.0 - rows[kept].sum() / every if every else 0.0
    return KeyCounts(counts.hashes[kept], counts.sums[kept], float(max(forgotten, 0.0)))


def _grouped(borders: Int64s) -> dict[int, Int64s]:
    """Border -> the places where it stands."""
    order = np.argsort(borders, kind="stable")
    found, first = np.unique(borders[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if len(order) else {}


def _no_counts(columns: int) -> KeyCounts:
    return KeyCounts(np.empty(0, np.int64), np.empty((0, columns)))
