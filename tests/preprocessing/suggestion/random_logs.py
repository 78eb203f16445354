"""Small logs of any columns, whose names say something of them, or nothing, or what is not so."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.suggestion.roles import Given

NAMES = (
    *(
        "time",
        "timestamp",
        "event_date",
        "created_at",
        "ts",
        "when",
        "last_seen",
        "time_",
        "f_time",
    ),
    *("user", "user_id", "member", "user_time", "viewer", "x", "x1", "y", "id"),
    *("request_id", "session", "session_time", "search", "query", "page", "domain", "period"),
    *("item", "item_id", "product", "order_id", "shop_time", "price", "discount", "class", "tags"),
    *("position", "rank", "weight", "weight_kg", "score", "history", "scene", "device"),
    *("click", "clicked", "is_click", "purchase", "label", "like", "rating", "view_time"),
    "number_of_views",
)
START = 1_700_000_000
Values = list[Any]


def random_log(random: np.random.Generator, folder: Path) -> tuple[Path, Given]:
    """Writes a log in a format by chance.

    Returns:
      Its path, and what a user says of it: what he must, or nothing.
    """
    rows = int(random.integers(40, 400))
    names = random.permutation(NAMES)[: random.integers(4, 14)].tolist()
    columns = {name: _column(random, name, rows) for name in names}
    given = Given()
    if random.random() < 0.8:  # most logs have what a config needs, by any name
        moment, user, click = random.choice(names, 3, replace=False).tolist()
        columns[moment] = _moments(random, rows)
        columns[user] = [f"u{number}" for number in random.integers(12, size=rows)]
        columns[click] = _clicks(random, rows, 0.4)
        if random.random() < 0.6:
            given = Given((click,), moment, user)
    form = ["csv", "jsonl", "parquet"][random.integers(3)]
    path = folder / f"log.{form}"
    table = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row, default=_text) + "\n" for row in table))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_text(value) for value in row.values()] for row in table)
    return path, given


def _column(random: np.random.Generator, name: str, rows: int) -> Values:
    few, many = int(random.choice([1, 2, 5])), int(random.choice([40, 300]))
    makers: tuple[Callable[[], Values], ...] = (
        lambda: _moments(random, rows),
        lambda: _clicks(random, rows, float(random.choice([0.02, 0.3, 0.9]))),
        lambda: random.integers(few, size=rows).tolist(),
        lambda: random.integers(many, size=rows).tolist(),
        lambda: random.normal(0, 5, rows).round(2).tolist(),
        lambda: random.exponential(20, rows).round(3).tolist(),
        lambda: [f"v{number}" for number in random.integers(few, size=rows)],
        lambda: [f"v{number}" for number in random.integers(many, size=rows)],
        lambda: [f"{name}{number}" for number in range(rows)],
        lambda: [_members(random, int(random.integers(4))) for _ in range(rows)],
        lambda: random.normal(size=(rows, 3)).round(3).tolist(),
        lambda: [None] * rows,
        lambda: random.choice(["Y", "N"], rows).tolist(),
        lambda: (random.random(rows) < 0.5).tolist(),
    )
    values = makers[random.integers(len(makers))]()
    if random.random() < 0.2:
        share = random.random()
        return [None if random.random() < share else value for value in values]
    return values


def _members(random: np.random.Generator, count: int) -> list[str]:
    return [f"t{number}" for number in random.integers(9, size=count)]


def _moments(random: np.random.Generator, rows: int) -> Values:
    seconds = START + np.sort(random.integers(0, int(random.choice([3_600, 20 * 86_400])), rows))
    kind = random.integers(3)
    if kind == 0:
        return seconds.tolist()
    moments = [datetime.fromtimestamp(second, UTC) for second in seconds.tolist()]
    return moments if kind == 1 else [moment.isoformat() for moment in moments]


def _clicks(random: np.random.Generator, rows: int, share: float) -> Values:
    return (random.random(rows) < share).astype(int).tolist()


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else value.isoformat() if isinstance(value, datetime) else value
