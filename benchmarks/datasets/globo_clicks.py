"""The clicks of the Globo.com (G1) news portal as they are published: "News Portal User
Interactions by Globo.com", version 2 (de Souza Pereira Moreira, Jannach and da Cunha, arXiv
1904.10367).

One CSV file for each hour, ``clicks_hour_000.csv`` and so on, with a row for each page view; files
go by the hour in which sessions start, so that a session is whole in one file and the clicks of two
files overlap in time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from configs.errors import InputError, first_names
from configs.progress import tracked

Ints = npt.NDArray[np.int64]

CONTEXT = {
    "environment": "click_environment",
    "device": "click_deviceGroup",
    "os": "click_os",
    "country": "click_country",
    "region": "click_region",
    "referrer": "click_referrer_type",
}
"""Column of the logs -> column of the files."""

_USER, _SESSION, _SIZE = "user_id", "session_id", "session_size"
_ARTICLE, _MOMENT = "click_article_id", "click_timestamp"
_READ = (_USER, _SESSION, _SIZE, _ARTICLE, _MOMENT, *CONTEXT.values())
_NAME = re.compile(r"clicks_hour_(\d+)\.csv")
_EARLIEST = 1_000_000_000_000
"""Milliseconds since 1970: September 2001. Seconds in place of milliseconds lie far below."""


@dataclass(frozen=True)
class Clicks:
    """All clicks, ordered by moment; those of one moment as the files have them.

    Attributes:
      moment: milliseconds since 1970, UTC, ``[N]``.
      user, session, article: numbers of the source, ``[N]``.
      context: column of the logs -> the source's code of each click, ``[N]``.
      files: how many were read.
      uneven_sessions: sessions that have another number of clicks than their ``session_size``.
    """

    moment: Ints
    user: Ints
    session: Ints
    article: Ints
    context: dict[str, Ints]
    files: int
    uneven_sessions: int


def read_clicks(source: Path) -> Clicks:
    """Reads every hour's file, one at a time.

    Args:
      source: the unpacked folder, with the files in it or in folders below.

    Raises:
      InputError: there is no such folder; it has no such files, an hour twice or not all of them;
        a file lacks a column or holds what is no whole number; a moment is not in milliseconds; a
        session is of two users.
    """
    paths = _files(source)
    parts = list(tracked("read", map(_columns, paths), "files"))
    found = {name: np.concatenate([part[name] for part in parts]) for name in _READ}
    order = np.argsort(found[_MOMENT], kind="stable")
    found = {name: values[order] for name, values in found.items()}
    _, first, session, count = np.unique(
        found[_SESSION], return_index=True, return_inverse=True, return_counts=True
    )
    if len(wrong := np.flatnonzero(found[_USER] != found[_USER][first[session]])):
        raise InputError(
            f"{source}: session {found[_SESSION][wrong[0]]} has clicks of users"
            f" {found[_USER][first[session[wrong[0]]]]} and {found[_USER][wrong[0]]}; expected one"
            " user a session; unpack the source again"
        )
    return Clicks(
        found[_MOMENT],
        found[_USER],
        session.astype(np.int64),
        found[_ARTICLE],
        {name: found[column] for name, column in CONTEXT.items()},
        len(paths),
        int((count != found[_SIZE][first]).sum()),
    )


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected the unpacked clicks_hour_*.csv")
    hours: dict[int, Path] = {}
    for path in sorted(source.rglob("clicks_hour_*.csv")):
        if not (named := _NAME.fullmatch(path.name)):
            continue
        if (hour := int(named[1])) in hours:
            raise InputError(f"{path}: the same hour as {hours[hour]}; expected every hour once")
        hours[hour] = path
    if not hours:
        archives = [path.name for path in sorted(source.rglob("clicks*.zip"))]
        hint = f"; unpack {archives[0]} first" if archives else ""
        raise InputError(f"{source}: holds no clicks_hour_*.csv{hint}")
    if missing := [f"clicks_hour_{hour:03}.csv" for hour in range(max(hours)) if hour not in hours]:
        raise InputError(
            f"{source}: not there: {first_names(missing)}; expected every hour up to"
            f" {hours[max(hours)].name}, since all clicks count; unpack the source again"
        )
    return [hours[hour] for hour in sorted(hours)]


def _columns(path: Path) -> dict[str, Ints]:
    """The columns that are read of one file. Raises ``InputError``, which names it."""
    options = pacsv.ConvertOptions(
        include_columns=list(_READ), column_types=dict.fromkeys(_READ, pa.int64())
    )
    try:
        table = pacsv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InputError(
            f"{path}: {error}; expected the columns {', '.join(_READ)} of whole numbers"
        ) from None
    for name in _READ:
        if table[name].null_count:
            raise InputError(f"{path}: {table[name].null_count} empty values of {name}")
    found = {name: table[name].to_numpy() for name in _READ}
    early = np.flatnonzero(found[_MOMENT] < _EARLIEST)
    if len(early):
        raise InputError(
            f"{path}: row {early[0] + 1}: {_MOMENT} is {found[_MOMENT][early[0]]}; expected"
            " milliseconds since 1970"
        )
    return found


def blocks(values: Ints) -> Iterator[tuple[int, int, int]]:
    """``(value, start, end)`` of each run of equal values in ``values``, ``[N]``."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    for start, end in zip(starts, np.append(starts[1:], len(values)), strict=True):
        yield int(values[start]), int(start), int(end)
