"""Finds the end of the newest whole day in logs: what ``as_of`` is where nobody says it. A stray
row of the future, such as of a client whose clock is wrong, makes no day.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from configs import InputError

if TYPE_CHECKING:
    from configs.schema import Data

_NEARLY = timedelta(hours=1)
"""A day is whole where its last row is no further from its end (our choice: nights are quiet)."""
_LEAST = 0.1
"""A day is there where it has at least this share of the rows of the median day (our choice: the
quietest of Globo's 16 days has 0.47 of the median of the days before it). The median is that by
rows: half of all rows are of days that are no larger, so that many strays make none either."""
_PIECE = 900
"""Seconds by which rows are counted; every time zone's days begin at a multiple of them."""


def as_of_logs(logs: str | None) -> "Callable[[Data], datetime]":
    """What a command on logs asks where a config's windows count from ``as_of`` and it is not
    given (``configs.load.FindAsOf``).

    Args:
      logs: glob, folder or file, as ``--input`` has it; ``data.input`` where None.
    """

    def find(data: "Data") -> datetime:
        where = data.input if logs is None else logs
        if not where:
            raise InputError("no logs: expected --input or the config's data.input")
        found, passed_over, doubt = newest_whole_day(where, data)
        for day, why in passed_over.items():
            print(f"note: day {day} of {where} is passed over: {why}", file=sys.stderr)
        if doubt:
            print(f"warning: {where}: {doubt}", file=sys.stderr)
        print(
            f"as of {found.isoformat()}, where the newest whole day of {where} ends",
            file=sys.stderr,
        )
        return found

    return find


def newest_whole_day(logs: str, data: "Data") -> tuple[datetime, dict[str, str], str | None]:
    """The moment at which the newest whole day of logs ends, UTC; the days after it, the newest
    first, each with why it was passed over; and why that day may not be whole, None where nothing
    says so. Of the logs only the column of moments is read, of text files all.

    A day before one that is there is over, and counts as whole whatever its last hour has: nights
    are quiet.

    Args:
      logs: glob, folder or file, on any Beam filesystem.
      data: names the column, and says when days begin.

    Raises:
      InputError: no file matches, one cannot be read, or no row has a moment.
    """
    from configs.windows.relative import Days

    days = Days(data.time_zone, data.day_starts)
    rows: dict[datetime, int] = {}
    last: dict[datetime, datetime] = {}
    for newest, count in sorted(_pieces(logs, data).values()):
        moment = datetime.fromtimestamp(newest, UTC)
        day = days.start(moment)
        rows[day] = rows.get(day, 0) + count
        last[day] = moment
    if not rows:
        raise InputError(f"{logs}: no row has a moment in '{data.timestamp}'; expected some")
    usual, passed_over = _median(list(rows.values())), dict[str, str]()
    begun: datetime | None = None  # the day that is there and not over
    for day in sorted(rows, reverse=True):
        name, end = days.name(last[day]), days.start(last[day], 1)
        ends = f"its last row is of {last[day].isoformat()}, and it ends at {end}"
        if rows[day] < _LEAST * usual:
            passed_over[name] = (
                f"it has {rows[day]:,} rows, and the median day has {usual:,}; a day is there with"
                f" {_LEAST:.0%} of them"
            )
        elif end - last[day] <= _NEARLY or begun:
            if begun and end < begun and days.name(end) not in passed_over:
                passed_over[days.name(end)] = "it has no row"
            cut = end - last[day] > _NEARLY
            return end, passed_over, f"day {name} may be cut short: {ends}" if cut else None
        else:
            passed_over[name], begun = ends, day
    return begun or min(rows), passed_over, None  # nothing but the day that is not over


def _pieces(logs: str, data: "Data") -> dict[int, tuple[int, int]]:
    """Piece of time -> its newest moment, seconds since 1970, and its rows."""
    # Arrow and Beam: not for a command that is refused at once
    import pyarrow.compute as pc

    from preprocessing.logs.files import find_sources, plan
    from preprocessing.logs.readers import read_piece
    from preprocessing.logs.schema import Column, LogTable
    from preprocessing.validation.coercion import carrier_of, coerce

    table = LogTable(
        {data.timestamp: Column(data.timestamp, "timestamp", required=True)},
        null_values=data.null_values,
    )
    found: dict[int, tuple[int, int]] = {}
    for piece in plan(find_sources(logs), table).pieces:
        carrier = carrier_of(piece.source.format, data.null_values)
        for batch in read_piece(piece, table):
            moments, _ = coerce(batch.columns[data.timestamp], "timestamp", carrier)
            values = pc.drop_null(moments).to_numpy(zero_copy_only=False)
            places, at, counts = np.unique(
                values // _PIECE, return_inverse=True, return_counts=True
            )
            newest = np.full(len(places), np.iinfo(np.int64).min)
            np.maximum.at(newest, at, values)
            for place, moment, count in zip(
                places.tolist(), newest.tolist(), counts.tolist(), strict=True
            ):
                former, rows = found.get(place, (moment, 0))
                found[place] = max(former, moment), rows + count
    return found


def _median(rows: list[int]) -> int:
    """Rows of the day in which the middle one of all rows is, days in the order of their rows."""
    middle, seen = sum(rows) / 2, 0
    for count in sorted(rows):
        seen += count
        if seen >= middle:
            return count
    return 0
