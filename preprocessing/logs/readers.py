"""Reads pieces of log files as batches of rows, as they came: Parquet, CSV and JSON lines."""

import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.json as pajson

from configs import Experiment
from preprocessing.logs.broken_row import BrokenRow
from preprocessing.logs.csv_rows import read_csv
from preprocessing.logs.files import (
    UNREADABLE,
    Piece,
    Source,
    file_key,
    open_parquet,
    open_text,
    unreadable_error,
)
from preprocessing.logs.schema import ARROW_TYPES, Column, Kind, LogTable

NO_OBJECT = "json: expected one JSON object a line"

_NOTHING = {type(None)}
_ARE_NUMBERS = {int, float, type(None)}
_LISTS = ("strings", "numbers")

RawColumn: TypeAlias = pa.Array | list[object]
"""A column as it came; a list of Python values where JSON mixes types."""


@dataclass(frozen=True)
class RawBatch:
    """Rows of one file as they came.

    Attributes:
      source: the file.
      number: of the batch in the file.
      rows: number of each row in the file, from 0; a CSV header and blank CSV lines do not count,
        every JSON line does.
      columns: the columns that are read, each of as many values as ``rows``.
      broken: rows that are not among ``rows``.
      names: JSON only: all names that rows of the batch had.
    """

    source: Source
    number: int
    rows: npt.NDArray[np.int64]
    columns: dict[str, RawColumn]
    broken: tuple[BrokenRow, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Name of the batch in the whole dataset, and of its output files."""
        return f"{file_key(self.source)}-{self.number:05d}"

    @property
    def place(self) -> str:
        """Name of the batch while the job runs; in this order, the rows of all files follow each
        other.
        """
        return place_name(self.source.order, self.number)

    @property
    def row_count(self) -> int:
        """All rows, broken ones included."""
        return len(self.rows) + len(self.broken)


def place_name(order: int, number: int) -> str:
    """``RawBatch.place`` of a batch of the ``order``-th file."""
    return f"{order:08d}-{number:08d}"


def read_piece(piece: Piece, what: Experiment | LogTable) -> Iterator[RawBatch]:
    """Reads a piece in batches of at most ``LogTable.batch_rows`` rows; the same piece gives the
    same batches.

    Raises:
      InputError: the file is damaged or cut short.
    """
    readers = {"parquet": _read_parquet, "csv": _read_csv, "json": _read_json}
    try:
        yield from readers[piece.source.format](piece, LogTable.of(what))
    except UNREADABLE as error:
        raise unreadable_error(piece.source, error) from None


def _read_parquet(piece: Piece, table: LogTable) -> Iterator[RawBatch]:
    names = list(table.read)
    groups = range(*piece.row_groups) if piece.row_groups else None
    with open_parquet(piece.source) as file:
        stream = file.iter_batches(
            table.batch_rows, row_groups=groups, columns=names, use_threads=False
        )
        first_row = piece.first_row
        for number, batch in enumerate(_cut(stream, table.batch_rows), piece.first_batch):
            rows = np.arange(first_row, first_row + batch.num_rows)
            first_row += batch.num_rows
            yield RawBatch(piece.source, number, rows, {name: batch.column(name) for name in names})


def _cut(stream: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Cuts a stream of batches into batches of exactly ``rows`` rows, but for the last."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in stream:
        while batch.num_rows:
            part = batch.slice(0, rows - count)
            waiting.append(part)
            count += part.num_rows
            batch = batch.slice(part.num_rows)
            if count == rows:
                yield _join(waiting)
                waiting, count = [], 0
    if waiting:
        yield _join(waiting)


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _read_csv(piece: Piece, table: LogTable) -> Iterator[RawBatch]:
    names = list(table.read)
    broken: list[BrokenRow] = []

    def sound(file: BinaryIO) -> Iterator[pa.RecordBatch]:
        for block in read_csv(file, piece.source.path, names):
            broken.extend(block.broken)
            yield block.rows

    with open_text(piece.source) as file:
        first = number = told = 0
        for batch in _cut(sound(file), table.batch_rows):
            # Blocks are read ahead, so the numbers of all broken rows before these are known.
            gaps = np.array([row.row for row in broken], np.int64) - np.arange(len(broken))
            places = np.arange(first, first + batch.num_rows)
            rows = places + np.searchsorted(gaps, places, side="right")
            until = int(np.searchsorted(gaps, places[-1], side="right"))
            columns: dict[str, RawColumn] = {name: batch.column(name) for name in names}
            yield RawBatch(piece.source, number, rows, columns, tuple(broken[told:until]))
            first, number, told = first + batch.num_rows, number + 1, until
        if told < len(broken):
            nothing: dict[str, RawColumn] = {name: pa.array([], pa.binary()) for name in names}
            yield RawBatch(
                piece.source, number, np.empty(0, np.int64), nothing, tuple(broken[told:])
            )


def _read_json(piece: Piece, table: LogTable) -> Iterator[RawBatch]:
    columns_read = table.read
    with open_text(piece.source) as file:
        lines: list[bytes] = []
        first = number = 0
        for line in file:
            lines.append(line)
            if len(lines) == table.batch_rows:
                yield _json_batch(piece.source, number, first, lines, columns_read)
                first, number, lines = first + len(lines), number + 1, []
        if lines:
            yield _json_batch(piece.source, number, first, lines, columns_read)


def _json_batch(
    source: Source, number: int, first: int, lines: list[bytes], columns_read: dict[str, Column]
) -> RawBatch:
    if first == 0:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    return _uniform_json(source, number, first, lines, columns_read) or _any_json(
        source, number, first, lines, columns_read
    )


def _uniform_json(
    source: Source, number: int, first: int, lines: list[bytes], columns_read: dict[str, Column]
) -> RawBatch | None:
    """Arrow's parser is about ten times as fast as Python's, but refuses a batch with one bad
    line or with values of differing types.
    """
    rows = [row for row, line in enumerate(lines, first) if not line.isspace()]
    try:
        sample = json.loads(lines[rows[0] - first])
        types = {
            name: _json_type(sample.get(name), column.kind) for name, column in columns_read.items()
        }
        if None in types.values():
            return None
        schema = pa.schema(list(types.items()))
        table = pajson.read_json(
            io.BytesIO(b"".join(lines)),
            read_options=pajson.ReadOptions(use_threads=False, block_size=sum(map(len, lines)) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        OverflowError,
    ):
        return None
    if table.num_rows != len(rows):
        return None
    columns: dict[str, RawColumn] = {
        name: table.column(name).combine_chunks() for name in columns_read
    }
    seen = frozenset(sample) | {
        name for name in columns_read if table.column(name).null_count < len(rows)
    }
    return RawBatch(source, number, np.array(rows, np.int64), columns, names=seen)


def _json_type(value: object, kind: Kind) -> pa.DataType | None:
    """The type a column most likely has, from the value on the first line; a wrong guess only
    costs time. None where Arrow's parser would not read values as they are written.
    """
    if isinstance(value, dict) or (isinstance(value, list) and kind not in _LISTS):
        return None  # no such value is sound, and Arrow's parser fails on nested nulls
    if kind in ("number", "weight", "amount") and not isinstance(value, str | bool):
        return pa.float64()  # its first value may happen to be whole
    parts = value if isinstance(value, list) else [value]
    if kind == "numbers" and isinstance(value, list) and set(map(type, parts)) <= _ARE_NUMBERS:
        return pa.list_(pa.float64())
    if all(part is None for part in parts):
        return ARROW_TYPES[kind if kind in _LISTS else "string"]
    if kind in ("string", "strings") and any(isinstance(part, float | list) for part in parts):
        return None  # whole numbers among fractions would lose digits of their text
    return pa.array([value]).type


def _any_json(
    source: Source, number: int, first: int, lines: list[bytes], columns_read: dict[str, Column]
) -> RawBatch:
    rows: list[int] = []
    objects: list[dict[str, object]] = []
    broken: list[BrokenRow] = []
    seen: set[str] = set()
    for row, line in enumerate(lines, first):
        if line.isspace():
            continue
        try:
            value = json.loads(line.decode())
        except (ValueError, RecursionError):  # both "not UTF-8" and "not JSON" are ValueErrors
            broken.append(BrokenRow(row, NO_OBJECT, None, _text(line)))
            continue
        if isinstance(value, dict):
            rows.append(row)
            objects.append(value)
            seen.update(value)
        else:
            broken.append(BrokenRow(row, NO_OBJECT, type(value).__name__, _text(line)))
    columns = {name: as_column([value.get(name) for value in objects]) for name in columns_read}
    return RawBatch(
        source, number, np.array(rows, np.int64), columns, tuple(broken), frozenset(seen)
    )


def as_column(values: list[object]) -> RawColumn:
    """An Arrow array where the values have a common type; otherwise the values themselves.

    Arrow would make true and 1 the fraction 1.0 beside a fraction, whose text is another than their
    own, so that what a row means would depend on its neighbours.
    """
    if len(set(map(type, values)) - _NOTHING) > 1:
        return values
    elements = itertools.chain.from_iterable(row for row in values if isinstance(row, list))
    if len(set(map(type, elements)) - _NOTHING) > 1:
        return values
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError, ValueError):
        return values


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r\n")
