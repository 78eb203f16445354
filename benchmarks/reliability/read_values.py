"""Random values in logs of every format, in rows of a client, in ``tf.Example`` and over HTTP.

Values are those that tests hold every reader to (``tests.raw_values``). Bars: a value is read as
``configs.values`` says, in every carrier, or refused in one line, a row of a log with its reason
(``other_readings``), and never with a traceback (``tracebacks``). What is read gets one score: the
raw row, the row that preprocessing made of it, the same in NumPy's types, as an example, over HTTP
and by the trainer's own path (``other_scores``).
"""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.reliability.small_job import CONFIG, WITH_CONFIG
from configs import Experiment, load_experiment
from configs.values import (
    READERS,
    UnreadableValueError,
    numbers_of_field,
    text_of_field,
    texts_of_field,
)
from preprocessing.beam.progress import say
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import read_piece
from preprocessing.logs.schema import Column, raw_columns
from preprocessing.validation.row_checks import (
    CheckedBatch,
    label_without,
    rejected_rows,
    validate,
)
from tests.raw_values import FRACTIONS, HUGE, MOMENTS, TEXTS, WHOLE

Row = dict[str, Any]
_NAMED = st.sampled_from(
    ["4.5", "1742299200", 7.5, 7, 7.0, "7", "7.0", True, "True", "true", math.nan, math.inf, "NaN",
     "Infinity", "010", "12:30", "20240102", "yes", "no", "NULL", "\\N", 0, 2, -1, "Y", "N",
     1_742_299_200_000, 1_742_299_200, "1742299200000", 9_007_199_254_740_993, None, ""]
)  # fmt: skip
"""What people have put into logs and requests."""
_ALIKE = (
    TEXTS, WHOLE, WHOLE | HUGE, FRACTIONS, WHOLE | FRACTIONS | st.just(math.nan), st.booleans()
)  # fmt: skip
_ANY = st.one_of(_NAMED, _NAMED, *_ALIKE)
_LISTS = st.one_of(*(st.lists(st.none() | values, max_size=9) for values in (*_ALIKE, _ANY)))
_DATES = MOMENTS.map(lambda moment: moment.date()) | MOMENTS
_ROWS = 8
"""Of a log."""
ODD_COLUMNS = {
    "string": "device",
    "strings": "history",
    "number": "rating",
    "timestamp": "timestamp",
    "label": "conversion",
    "weight": "weight",
}
"""For each kind of column, the one that holds other values than sound ones."""


def logs() -> st.SearchStrategy[tuple[str, list[Any]]]:
    """A kind of column, and its values: of one type, or of any."""
    columns = st.one_of(
        *(st.lists(st.none() | values, min_size=_ROWS, max_size=_ROWS) for values in _ALIKE),
        *(st.lists(values, min_size=_ROWS, max_size=_ROWS) for values in (_NAMED, _ANY, _LISTS)),
        st.lists(st.none() | _DATES, min_size=_ROWS, max_size=_ROWS),
    )
    return st.tuples(st.sampled_from(sorted(ODD_COLUMNS)), columns)


def draws(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """So many values, drawn from a seed."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(value: Any) -> None:
        found.append(value)

    draw()
    return found


@dataclass
class Readings:
    """Reads rows in every carrier, and counts what is read otherwise.

    Attributes:
      folder: for the logs.
      experiment: how they are read.
      found: what went wrong.
    """

    folder: Path
    experiment: Experiment
    found: Counter[str]

    @classmethod
    def of(cls, folder: Path) -> "Readings":
        """Of the small job's experiment, with a weight."""
        settings_ = [*WITH_CONFIG[3::2], "data.weight=weight"]
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, load_experiment(CONFIG, settings_), Counter())

    def read(self, base: Row, kind: str, values: list[Any]) -> list[Row]:
        """Reads a log in every format that can hold it. Returns the rows, as they were in JSON
        lines, of which every format made the same.
        """
        name = ODD_COLUMNS[kind]
        rows = [
            base | {"impression_id": f"i{row}", name: value} for row, value in enumerate(values)
        ]
        carriers: list[tuple[str, Callable[[Path, list[Row]], None], list[Row]]] = []
        if not any(isinstance(value, date) for value in values):
            carriers.append(("jsonl", _write_json, rows))
        carriers.append(("csv", _write_csv, rows))
        if (array := _one_type(values)) is not None:
            carriers.append(
                ("parquet", lambda path, rows: _write_parquet(path, rows, name, array), rows)
            )
        sound = rows
        for suffix, write, given_rows in carriers:
            path = self.folder / f"log.{suffix}"
            try:
                write(path, given_rows)
                expected = [self._expected(row, suffix) for row in given_rows]
                received = dict(self._received(path))
            except Exception as error:  # what no command may end with
                self._wrong("tracebacks", f"{suffix}, {name}: {type(error).__name__}: {error}")
                continue
            self.found["read_values"] += len(given_rows)
            for number, (row, right) in enumerate(zip(given_rows, expected, strict=True)):
                if not _same(received.get(number), right):
                    self._wrong(
                        "other_readings",
                        f"{suffix}, {name}: {row[name]!r}: expected {right}, received"
                        f" {received.get(number)}",
                    )
        return sound

    def expected(self, row: Row) -> Row | str:
        """What JSON lines make of a row: its canonical values, or the rule it breaks."""
        return self._expected(row, "jsonl")

    def _expected(self, row: Row, suffix: str) -> Row | str:
        columns = raw_columns(self.experiment)
        nulls = () if suffix == "parquet" else self.experiment.data.null_values
        read: Row = {}
        broken: dict[str, str] = {}
        for name, column in columns.items():
            try:
                read[name] = _value(row[name], column, suffix, nulls)
            except UnreadableValueError as error:
                read[name] = None
                broken[name] = error.rule
        for earlier, later in self.experiment.tasks.steps:
            if read[later] is None and read[earlier] == 0 and later not in broken:
                read[later] = 0.0
        for name, column in columns.items():
            if name in broken:
                return f"{name}: {broken[name]}"
            if column.required and read[name] is None:
                return f"{name}: missing"
        for earlier, later in self.experiment.tasks.steps:
            if read[later] == 1 and read[earlier] == 0:
                return label_without(earlier, later)
        return read

    def _received(self, path: Path) -> Iterator[tuple[int, Row | str]]:
        """Row number -> what preprocessing makes of it."""
        found = find_sources(str(path), self.experiment.evaluation.truth)
        for piece in plan(found, self.experiment).pieces:
            for raw in read_piece(piece, self.experiment):
                checked = validate(raw, self.experiment)
                yield from self._judged(checked)

    def _judged(self, checked: CheckedBatch) -> Iterator[tuple[int, Row | str]]:
        for place, row in zip(checked.index.tolist(), checked.rows.to_pylist(), strict=True):
            yield int(checked.raw.rows[place]), row
        shown = list(rejected_rows(checked))
        for rejection, told in zip(checked.rejections, shown, strict=True):
            json.dumps(told._asdict(), allow_nan=False)
            if not told.reason.startswith(rejection.rule) or "\n" in told.reason:
                self._wrong("other_readings", f"{rejection.rule}: rejected as {told.reason!r}")
            yield rejection.row, rejection.rule

    def _wrong(self, name: str, said: str) -> None:
        self.found[name] += 1
        say(f"{name}: {said[:400]}")


def _value(value: Any, column: Column, suffix: str, nulls: tuple[str, ...]) -> Any:
    if suffix != "csv":
        return READERS[column.kind](_without(value, nulls))
    if column.kind in ("strings", "numbers"):
        read = texts_of_field if column.kind == "strings" else numbers_of_field
        return read(_field(_without(value, nulls)))
    field = _without(_field(value), nulls)
    return text_of_field(field) if column.kind == "string" else READERS[column.kind](field)


def _without(value: Any, nulls: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_without(element, nulls) for element in value]
    return None if isinstance(value, str) and value in nulls else value


def _field(value: Any) -> str:
    """As CSV has a value."""
    if isinstance(value, list):
        return json.dumps(value)
    return "" if value is None else str(value)


def _write_csv(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(rows[0])
    writer.writerows([_field(value) for value in row.values()] for row in rows)
    path.write_bytes(text.getvalue().encode())


def _write_json(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_parquet(path: Path, rows: list[Row], name: str, values: pa.Array) -> None:
    table = pa.Table.from_pylist([{key: row[key] for key in row if key != name} for row in rows])
    pq.write_table(table.append_column(name, values), path)


def _one_type(values: list[Any]) -> pa.Array | None:
    """As a column of Parquet, whose values are of one type; None where they are not."""
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    types = {type(part) for part in flat} - {type(None)}
    shapes = {isinstance(value, list) for value in values if value is not None}
    if len(types) > 1 or len(shapes) > 1:
        return None
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return None


def _same(received: object, right: object) -> bool:
    if not isinstance(received, Mapping) or not isinstance(right, Mapping):
        return received == right
    return all(received[name] == value for name, value in right.items())


def good_row(folder: Path) -> Row:
    """A sound row of the small job's logs, with a weight, that nobody clicked."""
    table = pq.read_table(sorted(folder.glob("*.parquet"))[0])
    row: Row = next(row for row in table.to_pylist() if not row["click"] and row["history"])
    return row | {"weight": 1.0, "timestamp": int(row["timestamp"].timestamp())}


def sound_rows(folder: Path, columns: Sequence[Column]) -> list[Row]:
    """Some sound rows of the small job's logs in canonical form, with nothing missing."""
    base = good_row(folder)
    return [
        {column.name: READERS[column.kind](base[column.name]) for column in columns}
        | {"shop_id": f"s{number}"}
        for number in range(3)
    ]
