"""The rules by which the impression log of the study ``globo`` is made, held against a folder of
its files: what can be seen of each in the rows themselves.

The log is a part of all clicks, so a rule is seen only where rows tell of it, and each says on how
many it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.datasets.globo import DRAWS, FIRST, HISTORY, SCHEMA, SEED, draw_beside
from benchmarks.datasets.globo_clicks import Ints, blocks
from benchmarks.figures.report import Sections, table
from configs.errors import InputError
from configs.progress import tracked

_HOUR = 3_600_000_000  # microseconds
_HOURS = 1 << 24
_ROUNDED = 0.01
"""Hours by which two ages of an article may disagree: they are rounded to thousandths, and as
float32 from 256 hours on to 0.00003.
"""

_OVERLAPPING = 0.001
"""Share of clicks that two sessions of a reader at once may give to the wrong one: rows do not name
sessions, which are told apart by their counts.
"""

_NUMBERS = (
    "request_id",
    "session_position",
    "user_clicks",
    "item_age_hours",
    "item_clicks_last_hour",
    "click",
    "conversion",
)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """A rule and what the rows say of it.

    Attributes:
      text: the rule.
      seen: on how many rows, requests or clicks (as ``of`` says) it can be seen.
      of: what is counted.
      broken: how many of these break it.
      allowed: share of them that may, where rows cannot tell everything.
    """

    text: str
    seen: int
    of: str
    broken: int
    allowed: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether no more break it than may."""
        return self.broken <= self.allowed * self.seen


@dataclass(frozen=True)
class Checked:
    """What a log says of its rules.

    Attributes:
      rules: each rule.
      beside: share of the requests that have 0, 1, ... rows beside the click, ``[DRAWS + 1]``.
      drawn: the same of articles that are drawn anew from the clicks of the log's own hours. It
        has a part of the clicks that its articles were drawn from: the two are near, not equal.
    """

    rules: Sequence[Rule]
    beside: Sequence[float]
    drawn: Sequence[float]

    def report(self) -> Sections:
        """The tables for ``--report``."""
        rules = [(rule.text, rule.seen, rule.of, rule.broken) for rule in self.rules]
        sizes = [
            (str(number), f"{beside:.2%}", f"{drawn:.2%}")
            for number, (beside, drawn) in enumerate(zip(self.beside, self.drawn, strict=True))
        ]
        return {"rules": [table("rules", RULES, rules)], "sizes": [table("sizes", SIZES, sizes)]}


RULES = ["rule", "seen on", "what", "broken"]
SIZES = ["rows beside a click", "requests", "drawn anew"]


def check_log(folder: Path) -> Checked:
    """Reads all days and holds the rules against them.

    Raises:
      InputError: there are no such files, or one cannot be read or lacks a column.
    """
    log = _Log.read(folder)
    return Checked(list(_rules(log)), *_sizes(log))


def _sizes(log: "_Log") -> tuple[list[float], list[float]]:
    """``Checked.beside`` and ``Checked.drawn``."""
    found = log.columns
    click = np.flatnonzero(found["click"] == 1)
    first = np.full(len(log.items), np.inf)
    np.minimum.at(first, found["item"], found["moment"] - found["item_age_hours"] * _HOUR)
    user, item, moment = (found[name][click] for name in ("user", "item", "moment"))
    every = np.arange(len(click))
    drawn = draw_beside(moment // _HOUR, user, item, moment, first, every, SEED)
    beside = np.bincount(found["request_id"][found["click"] == 0], minlength=len(click))
    shares = (
        np.bincount(np.minimum(counts, DRAWS), minlength=DRAWS + 1) / len(click)
        for counts in (beside[found["request_id"][click]], (drawn >= 0).sum(axis=1))
    )
    return next(shares).tolist(), next(shares).tolist()


@dataclass(frozen=True)
class _Log:
    """All rows; texts are codes, ``[N]`` each."""

    columns: dict[str, npt.NDArray[Any]]
    of_file: Bools
    history: pa.ListArray
    items: pa.Array

    @classmethod
    def read(cls, folder: Path) -> "_Log":
        paths = sorted(folder.glob("impressions-*.parquet"))
        if not paths:
            raise InputError(f"{folder}: holds no impressions-*.parquet")
        tables, within = [], []
        for path in tracked("read", paths, "days"):
            try:
                begins = date.fromisoformat(path.stem.removeprefix("impressions-"))
                table = pq.read_table(path, columns=SCHEMA.names)
                table = table.cast(SCHEMA)
            except (pa.ArrowException, ValueError, OSError) as error:
                raise InputError(f"{path}: {error}; expected the columns {SCHEMA.names}") from None
            moment = table["timestamp"].cast(pa.int64()).to_numpy()
            start = int(FIRST.timestamp()) + (begins - FIRST.date()) // timedelta(days=1) * 86_400
            within.append((moment // 1_000_000 - start) // 86_400 == 0)
            tables.append(table)
        rows = pa.concat_tables(tables).combine_chunks()
        items = rows["item_id"].combine_chunks().dictionary_encode()
        users = rows["user_id"].combine_chunks().dictionary_encode()
        columns = {name: rows[name].to_numpy() for name in _NUMBERS}
        columns["moment"] = rows["timestamp"].cast(pa.int64()).to_numpy()
        columns["user"] = users.indices.to_numpy().astype(np.int64)
        columns["item"] = items.indices.to_numpy().astype(np.int64)
        history = rows["history"].combine_chunks()
        history = history.chunk(0) if isinstance(history, pa.ChunkedArray) else history
        return cls(columns, np.concatenate(within), history, items.dictionary)


def _rules(log: _Log) -> Iterator[Rule]:
    found = log.columns
    request, moment, item = found["request_id"], found["moment"], found["item"]
    clicked = found["click"] == 1
    rows = len(request)
    yield Rule(
        "a file holds the rows of its day, from 03:00 UTC", rows, "rows", _count(~log.of_file)
    )
    yield Rule(
        "rows are in order of request and moment",
        rows - 1,
        "rows",
        _count((np.diff(request) < 0) | (np.diff(moment) < 0)),
    )
    starts = np.array([start for _, start, _ in blocks(request)])
    requests = len(starts)
    clicks = np.add.reduceat(clicked, starts)
    yield Rule("a request has one click", requests, "requests", _count(clicks != 1))
    sizes = np.diff(np.append(starts, rows))
    yield Rule(f"and at most {DRAWS} other rows", requests, "requests", _count(sizes > DRAWS + 1))
    pairs = np.unique(request * len(log.items) + item)
    yield Rule("no article stands in a request twice", rows, "rows", rows - len(pairs))
    same = np.repeat(starts, sizes)
    for_all = np.zeros(rows, bool)
    for name in ("moment", "user", "session_position", "user_clicks"):
        for_all |= found[name] != found[name][same]
    yield Rule("its rows are of one user and moment", rows, "rows", _count(for_all))
    yield Rule(
        "what converts was clicked",
        _count(found["conversion"] == 1),
        "rows",
        _count((found["conversion"] == 1) & ~clicked),
    )
    yield Rule(
        "an article was clicked before it is shown",
        rows,
        "rows",
        _count(found["item_age_hours"] < 0),
    )
    born = moment / _HOUR - found["item_age_hours"]
    first = np.full(len(log.items), np.inf)
    np.minimum.at(first, item, born)
    yield Rule(
        "its age counts from one moment in all rows",
        rows,
        "rows",
        _count(born - first[item] > _ROUNDED),
    )
    key = item * _HOURS + moment // _HOUR
    order = np.argsort(key, kind="stable")
    hourly, counts = key[order], found["item_clicks_last_hour"][order]
    again = np.flatnonzero(np.diff(hourly) == 0) + 1
    yield Rule(
        "the last hour's clicks are one number in an hour",
        len(again),
        "rows",
        _count(counts[again] != counts[again - 1]),
    )
    keys, at = np.unique(hourly, return_index=True)
    counts = counts[at]
    own_keys, own_counts = np.unique(key[clicked], return_counts=True)
    after = _positions(keys, own_keys + 1)
    known = after >= 0
    yield Rule(
        "and no fewer than the log's own clicks then",
        _count(known),
        "hours",
        _count(own_counts[known] > counts[after[known]]),
    )
    after = _positions(keys, key[~clicked] + 1)
    known = after >= 0
    yield Rule(
        "rows without a click: others clicked in the hour",
        _count(known),
        "rows",
        _count(counts[after[known]] == 0),
    )
    yield from _readers(log, np.flatnonzero(clicked))


def _readers(log: _Log, click: npt.NDArray[np.intp]) -> Iterator[Rule]:
    """What is seen along the clicks of each user."""
    found = log.columns
    user, before = found["user"][click], found["user_clicks"][click]
    order = np.lexsort((before, user))
    click, user, before = click[order], user[order], before[order]
    item, moment = found["item"][click], found["moment"][click]
    position = found["session_position"][click]
    same = user[1:] == user[:-1]
    yield Rule(
        "a user's clicks are counted one by one",
        _count(same),
        "clicks",
        _count(same & ((before[1:] == before[:-1]) | (moment[1:] < moment[:-1]))),
    )
    lengths = pc.list_value_length(log.history).to_numpy()[click]
    yield Rule(
        f"a history has all clicks before, at most {HISTORY}",
        len(click),
        "clicks",
        _count(lengths != np.minimum(before, HISTORY)),
    )
    offsets = log.history.offsets.to_numpy()
    names = pc.index_in(log.history.values, log.items).fill_null(-1).to_numpy()
    next_one = np.flatnonzero(same & (before[1:] == before[:-1] + 1))
    newest = names[offsets[click[next_one + 1]]]
    yield Rule(
        "its newest article is that of the click before",
        len(next_one),
        "clicks",
        _count(newest != item[next_one]),
    )
    goes_on = same & (np.diff(before) == np.diff(position))
    session = np.cumsum(np.concatenate([[True], ~goes_on]))
    last = np.zeros(session[-1] + 1, np.int64)
    np.maximum.at(last, session, position)
    later, converted = last[session] - position, found["conversion"][click] == 1
    yield Rule(
        "two more articles in the session: it converts",
        _count(later >= 2),
        "clicks",
        _count((later >= 2) & ~converted),
        _OVERLAPPING,
    )


def _positions(keys: Ints, wanted: Ints) -> npt.NDArray[np.intp]:
    """Place of each wanted key among ordered ones, ``[wanted]``; -1 where it is not there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _count(those: Bools) -> int:
    return int(np.count_nonzero(those))
