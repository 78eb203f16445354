"""The impression log of the study ``globo``, made from the clicks that Globo.com publishes.

A clicked article is a row with ``click = 1``. Articles that other users clicked in the same hour
stand beside it with ``click = 0``: they are drawn as often as they were clicked, and are no logged
impressions, so the rate of clicks says nothing by itself. All clicks of all users count for what a
row says of an article; the rows are those of a part of the users.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.datasets.globo_clicks import CONTEXT, Clicks, Ints, blocks, read_clicks
from configs.errors import InputError
from configs.files import replaced_folder, write_unsynced
from configs.progress import tracked
from configs.random_streams import Purpose, random_stream

FIRST = datetime(2017, 10, 1, 3, tzinfo=UTC)
"""When the first day begins: midnight in Brasilia."""

DAYS = 16
USERS = 0.32
"""Share of the users whose clicks become rows."""

SEED = 17
DRAWS = 4
"""Clicks of the hour that are drawn for a request; an article that comes twice is one row."""

HISTORY = 20
"""How many of a user's last articles a row has at most."""

SUMMARY = "_globo.json"  # the underscore keeps it from being read as a log
_HOUR = 3_600_000  # milliseconds
_STREAM = "globo"

SCHEMA = pa.schema(
    {
        "request_id": pa.int64(),
        "timestamp": pa.timestamp("us"),
        "user_id": pa.string(),
        "item_id": pa.string(),
        **dict.fromkeys(CONTEXT, pa.string()),
        "session_position": pa.int16(),
        "user_clicks": pa.int32(),
        "item_age_hours": pa.float32(),
        "item_clicks_last_hour": pa.int32(),
        "history": pa.list_(pa.string()),
        "click": pa.int8(),
        "conversion": pa.int8(),
    }
)
"""Columns of a day's file."""


def make_logs(source: Path, output: Path, seed: int = SEED, users: float = USERS) -> dict[str, Any]:
    """Makes ``impressions-YYYY-MM-DD.parquet`` of each day and ``_globo.json``, all or nothing.

    Rows of a request come in any order. The same files, seed and share give the same
    bytes. The rules are those of the log that the figures of ``docs/results.md`` are of; its draws
    of users and articles are others.

    Args:
      source: the unpacked public files.
      output: folder of the logs; what this command made there before is replaced.
      seed: of the users and articles that are drawn, 0 or more.
      users: share of the users whose clicks become rows, above 0, up to 1.

    Returns:
      What ``_globo.json`` holds: ``seed``, ``users_share``, ``files`` read, ``clicks`` in them,
      ``uneven_sessions`` (see ``Clicks``), ``outside`` (clicks of the chosen users before the first
      day or after the last), ``first_clicks`` (those left out because nobody had clicked the
      article before), ``rows``, ``requests``, ``users``, and rows by day under ``days``.

    Raises:
      InputError: the source is not as ``read_clicks`` expects it, has no click in the days, or the
        output cannot be written.
    """
    with replaced_folder(output, SUMMARY) as folder:
        clicks = read_clicks(source)
        facts = _Facts.of(clicks)
        numbers = np.unique(clicks.user)
        chosen = numbers[
            random_stream(seed, Purpose.BENCHMARK_USERS, _STREAM).random(len(numbers)) < users
        ]
        start = int(FIRST.timestamp() * 1000)
        day = (clicks.moment - start) // (24 * _HOUR)
        of_chosen = np.isin(clicks.user, chosen)
        within = of_chosen & (day >= 0) & (day < DAYS)
        seen = facts.age > 0
        requests = np.flatnonzero(within & seen)
        if not len(requests):
            raise InputError(
                f"{source}: no click of the {len(chosen):,} chosen users from {FIRST:%Y-%m-%d} to"
                f" {FIRST + timedelta(days=DAYS):%Y-%m-%d} on an article that was clicked before"
            )
        others = draw_beside(
            facts.hour,
            clicks.user,
            facts.article,
            clicks.moment,
            facts.first,
            requests,
            seed,
        )
        rows: dict[str, int] = {}
        for number in tracked("write", range(DAYS), "days"):
            of_day = np.flatnonzero(day[requests] == number)
            date = f"{FIRST + timedelta(days=number):%Y-%m-%d}"
            stream = random_stream(seed, Purpose.BENCHMARK_ROWS, _STREAM, date)
            table = _table(clicks, facts, requests, others, of_day, stream)
            rows[date] = len(table)
            pq.write_table(table, folder / f"impressions-{date}.parquet", compression="zstd")
        summary = {
            "seed": seed,
            "users_share": users,
            "files": clicks.files,
            "clicks": len(clicks.moment),
            "uneven_sessions": clicks.uneven_sessions,
            "outside": int((of_chosen & ~within).sum()),
            "first_clicks": int((within & ~seen).sum()),
            "rows": sum(rows.values()),
            "requests": len(requests),
            "users": len(np.unique(clicks.user[requests])),
            "days": rows,
        }
        write_unsynced(folder / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    return summary


@dataclass(frozen=True)
class _Facts:
    """What was known at each click, of all clicks, ``[N]``.

    Attributes:
      hour: clock hour, since 1970.
      article: place of the click's article among all articles.
      first: of each of these, the moment of its first click.
      age: milliseconds since the article's first click.
      user_clicks: the user's clicks before this one.
      position: of the click in its session, from 1.
      later: clicks of the session after this one.
      by_user: places of all clicks, user by user, each in order.
      place: of each click in ``by_user``.
    """

    hour: Ints
    article: Ints
    first: Ints
    age: Ints
    user_clicks: Ints
    position: Ints
    later: Ints
    by_user: Ints
    place: Ints
    _hourly: tuple[Ints, Ints]

    @classmethod
    def of(cls, clicks: Clicks) -> "_Facts":
        count = len(clicks.moment)
        hour = clicks.moment // _HOUR
        _, first_place, article = np.unique(clicks.article, return_index=True, return_inverse=True)
        first = clicks.moment[first_place]
        by_user, user_clicks = _ranks(clicks.user)
        _, before_in_session = _ranks(clicks.session)
        place = np.empty(count, np.int64)
        place[by_user] = np.arange(count)
        return cls(
            hour,
            article,
            first,
            clicks.moment - first[article],
            user_clicks,
            before_in_session + 1,
            np.bincount(clicks.session)[clicks.session] - before_in_session - 1,
            by_user,
            place,
            np.unique(article * _HOURS + hour, return_counts=True),
        )

    def clicks_in(self, article: Ints, hour: Ints) -> Ints:
        """How often an article was clicked in a clock hour, ``[rows]``."""
        keys, counts = self._hourly
        wanted = article * _HOURS + hour
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[found] == wanted, counts[found], 0)


_HOURS = 1 << 24
"""More than there are hours since 1970."""


def _ranks(groups: Ints) -> tuple[Ints, Ints]:
    """Places ordered by group, and how many of its group come before each, ``[N]``."""
    order = np.argsort(groups, kind="stable")
    _, start, count = np.unique(groups[order], return_index=True, return_counts=True)
    rank = np.empty(len(groups), np.int64)
    rank[order] = np.arange(len(groups)) - np.repeat(start, count)
    return order, rank


def draw_beside(
    hour: Ints,
    user: Ints,
    article: Ints,
    moment: Ints,
    first: npt.NDArray[Any],
    requests: Ints,
    seed: int,
) -> Ints:
    """The articles that stand beside each clicked one.

    Of the clicks in the hour as many as ``DRAWS`` are drawn, with repetition; those of the user's
    own, those of the clicked article, of an article that was not seen before, and repetitions give
    none.

    Args:
      hour: of every click, in order of moments, ``[N]``.
      user: of every click, ``[N]``.
      article: of every click, a number from 0, ``[N]``.
      moment: of every click, ``[N]``.
      first: of each article, the moment of its first click.
      requests: places of the clicks for which articles are drawn, ascending, ``[requests]``.
      seed: of the draws.

    Returns:
      Articles, ``[requests, DRAWS]``; -1 stands for none.
    """
    drawn = np.full((len(requests), DRAWS), -1, np.int64)
    bounds = {number: (start, end) for number, start, end in blocks(hour)}
    for number, start, end in blocks(hour[requests]):
        stream = random_stream(seed, Purpose.BENCHMARK_ROWS, _STREAM, number)
        own = requests[start:end, None]
        picked = stream.integers(*bounds[number], size=(end - start, DRAWS))
        others = article[picked]
        fits = (
            (user[picked] != user[own]) & (others != article[own]) & (first[others] < moment[own])
        )
        others = np.sort(np.where(fits, others, -1), axis=1)
        others[:, 1:][others[:, 1:] == others[:, :-1]] = -1
        drawn[start:end] = others
    return drawn


def _table(
    clicks: Clicks,
    facts: _Facts,
    requests: Ints,
    others: Ints,
    of_day: Ints,
    stream: np.random.Generator,
) -> pa.Table:
    """A day's rows; ``of_day`` are the places of its requests. The stream puts the rows of a
    request in order, so that where a row stands says nothing of its label.
    """
    article = np.column_stack([facts.article[requests[of_day]], others[of_day]])
    request = np.repeat(of_day, DRAWS + 1)
    clicked = np.tile(np.arange(DRAWS + 1) == 0, len(of_day))
    there = article.ravel() >= 0
    article, request, clicked = article.ravel()[there], request[there], clicked[there]
    names = _named("a", clicks.article, facts)
    order = np.lexsort((stream.random(len(request)), request))
    article, request, clicked = article[order], request[order], clicked[order]
    click = requests[request]
    converted = clicked & (facts.later[click] >= 2)
    columns: Mapping[str, pa.Array | npt.NDArray[Any]] = {
        "request_id": request,
        "timestamp": pa.array(clicks.moment[click] * 1000, pa.timestamp("us")),
        "user_id": _texts("u", clicks.user[click]),
        "item_id": names.take(pa.array(article)),
        **{name: _texts("", values[click]) for name, values in clicks.context.items()},
        "session_position": facts.position[click],
        "user_clicks": facts.user_clicks[click],
        "item_age_hours": np.round((clicks.moment[click] - facts.first[article]) / _HOUR, 3),
        "item_clicks_last_hour": facts.clicks_in(article, facts.hour[click] - 1),
        "history": _histories(facts, click, names),
        "click": clicked,
        "conversion": converted,
    }
    return pa.table(
        [pa.array(columns[field.name]).cast(field.type) for field in SCHEMA], schema=SCHEMA
    )


def _histories(facts: _Facts, click: Ints, names: pa.Array) -> pa.Array:
    """The user's last articles before each click, newest first."""
    count = np.minimum(facts.user_clicks[click], HISTORY)
    offsets = np.concatenate([[0], np.cumsum(count)])
    back = np.arange(offsets[-1]) - np.repeat(offsets[:-1], count) + 1
    earlier = facts.by_user[np.repeat(facts.place[click], count) - back]
    values = names.take(pa.array(facts.article[earlier]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _named(prefix: str, numbers: Ints, facts: _Facts) -> pa.Array:
    """The names of all articles, by their place."""
    of_place = np.empty(len(facts.first), np.int64)
    of_place[facts.article] = numbers
    return _texts(prefix, of_place)


def _texts(prefix: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(
        pa.scalar(prefix), pc.cast(pa.array(numbers), pa.string()), ""
    )
