"""Finds the end of the newest whole day in logs: what ``as_of`` is where nobody says it."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from configs import InputError

if TYPE_CHECKING:
    from configs.schema import Data

_NEARLY = timedelta(hours=1)
"""A day is whole where its last row is no further from its end (our choice: nights are quiet)."""


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
        found = newest_whole_day(where, data)
        print(
            f"as of {found.isoformat()}, where the newest whole day of {where} ends",
            file=sys.stderr,
        )
        return found

    return find


def newest_whole_day(logs: str, data: "Data") -> datetime:
    """The moment at which the newest whole day of logs ends, UTC. Of the logs only the column of
    moments is read, of text files all.

    Args:
      logs: glob, folder or file, on any Beam filesystem.
      data: names the column, and says when days begin.

    Raises:
      InputError: no file matches, one cannot be read, or no row has a moment.
    """
    # Arrow and Beam: not for a command that is refused at once
    import pyarrow.compute as pc

    from configs.windows.relative import Days
    from preprocessing.logs.files import find_sources, plan
    from preprocessing.logs.readers import read_piece
    from preprocessing.logs.schema import Column, LogTable
    from preprocessing.validation.coercion import carrier_of, coerce

    table = LogTable(
        {data.timestamp: Column(data.timestamp, "timestamp", required=True)},
        null_values=data.null_values,
    )
    newest: int | None = None
    for piece in plan(find_sources(logs), table).pieces:
        carrier = carrier_of(piece.source.format, data.null_values)
        for batch in read_piece(piece, table):
            moments, _ = coerce(batch.columns[data.timestamp], "timestamp", carrier)
            last = pc.max(moments).as_py()
            newest = last if newest is None else max(newest, last or newest)
    if newest is None:
        raise InputError(f"{logs}: no row has a moment in '{data.timestamp}'; expected some")
    days, moment = Days(data.time_zone, data.day_starts), datetime.fromtimestamp(newest, UTC)
    end = days.start(moment, 1)
    return end if end - moment <= _NEARLY else days.start(moment)
