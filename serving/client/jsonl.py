"""Logged rows from JSON lines, alone or cut into requests, and answers as JSON lines."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

from configs.errors import InputError
from configs.files import json_objects

STDIN = "-"

LoggedRow = tuple[str, dict[str, object]]
"""Where a row came from (``FILE:LINE``), and the row."""


def logged_rows(requests: str) -> Iterator[LoggedRow]:
    """Every row of a file of JSON lines, ``-`` being stdin; blank lines are skipped. Raises
    ``InputError``, for a file without a row too.
    """
    row = None
    with _open(requests) as lines:
        for row in json_objects(lines, "stdin" if requests == STDIN else requests):
            yield row
    if row is None:
        raise InputError(f"--requests {requests}: no rows; expected a JSON object in each line")


def slates(
    rows: Iterator[LoggedRow], size: int, key: str | None = None
) -> Iterator[list[LoggedRow]]:
    """Rows that were, or will be, one request: neighbours with the same value of ``key``, or else
    every ``size`` rows (the last: what is left). Raises ``InputError`` for a row without the key.
    """
    if key is None:
        while slate := list(islice(rows, size)):
            yield slate
        return

    def value(row: LoggedRow) -> object:
        if key not in row[1]:
            raise InputError(
                f"{row[0]}: no {key!r}, which shall say what request the row belongs to"
            )
        return row[1][key]

    for _, slate_rows in groupby(rows, value):
        yield list(slate_rows)


def json_line(answer: dict[str, Any]) -> str:
    """A line of strict JSON, which has no NaN and no infinity: null stands for them."""
    try:
        return json.dumps(answer, allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError:
        return json.dumps(_finite(answer), ensure_ascii=False) + "\n"


def _open(requests: str) -> AbstractContextManager[IO[bytes]]:
    if requests == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(requests).open("rb")
    except OSError as error:
        raise InputError(f"--requests {requests}: {error.strerror}") from None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_finite(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
