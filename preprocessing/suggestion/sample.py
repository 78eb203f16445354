"""Reads a sample of logs of which nothing is known yet, and the moments of all rows."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import InputError
from configs.schema import Data
from preprocessing.logs.csv_rows import BLOCK_BYTES, read_csv, read_header
from preprocessing.logs.files import (
    UNREADABLE,
    Source,
    open_parquet,
    open_text,
    unreadable_error,
)
from preprocessing.logs.readers import RawColumn, as_column
from preprocessing.logs.schema import Kind
from preprocessing.validation.coercion import carrier_of, coerce
from preprocessing.validation.scalar_coercion import Coerced

_BATCH = 65_536

_NULLS: tuple[str, ...] = Data.model_fields["null_values"].default


@dataclass(frozen=True)
class Part:
    """Rows of a file, as they came.

    Attributes:
      source: the file.
      columns: all its columns.
      rows: how many there are.
    """

    source: Source
    columns: dict[str, RawColumn]
    rows: int


def read_as(column: RawColumn, kind: Kind, source: Source) -> Coerced:
    """A column of a file as preprocessing reads it by default."""
    return coerce(column, kind, carrier_of(source.format, _NULLS))


def read_sample(sources: list[Source], rows: int) -> list[Part]:
    """The first rows of every file, about as many of each and ``rows`` together; rows that a format
    cannot read are left out.

    Raises:
      InputError: a file is damaged, or no file holds a row.
    """
    each = max(1, -(-rows // len(sources)))
    parts = []
    for source in sources:
        columns: dict[str, list[RawColumn]] = {}
        count = 0
        for batch in _batches(source, None):
            taken = min(len(next(iter(batch.values()), [])), each - count)
            for name, values in batch.items():
                columns.setdefault(name, []).append(values[:taken])
            count += taken
            if count == each:
                break
        if count:
            whole = {name: _joined(pieces) for name, pieces in columns.items()}
            parts.append(Part(source, whole, count))
    if not parts:
        raise InputError(f"{sources[0].path}: neither it nor any other file holds a row")
    return parts


def read_moments(sources: list[Source], column: str) -> npt.NDArray[np.int64]:
    """The moments of all rows that have one, seconds since 1970. Raises ``InputError``."""
    found = []
    for source in sources:
        for batch in _batches(source, column):
            if column in batch:
                values = read_as(batch[column], "timestamp", source).values
                found.append(values.drop_null().to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _joined(pieces: list[RawColumn]) -> RawColumn:
    if len(pieces) == 1:
        return pieces[0]
    if all(isinstance(piece, pa.Array) for piece in pieces) and len({p.type for p in pieces}) == 1:  # type: ignore[union-attr]
        return pa.concat_arrays(pieces)
    return [
        value
        for piece in pieces
        for value in (piece if isinstance(piece, list) else piece.to_pylist())
    ]


def _batches(source: Source, only: str | None) -> Iterator[dict[str, RawColumn]]:
    """Batches of all columns, or of one alone."""
    readers = {"parquet": _parquet, "csv": _csv, "json": _json}
    try:
        yield from readers[source.format](source, only)
    except UNREADABLE as error:
        raise unreadable_error(source, error) from None


def _check_once(source: Source, names: Iterable[str]) -> None:
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise InputError(f"{source.path}: column {repeated[0]} appears several times")


def _parquet(source: Source, only: str | None) -> Iterator[dict[str, RawColumn]]:
    with open_parquet(source) as file:
        _check_once(source, file.schema_arrow.names)
        for batch in file.iter_batches(_BATCH, columns=[only] if only else None):
            yield {name: batch.column(name) for name in batch.schema.names}


def _csv(source: Source, only: str | None) -> Iterator[dict[str, RawColumn]]:
    """All columns as bytes, as ``preprocessing.logs.readers`` has them."""
    with open_text(source) as file:
        names, _ = read_header(file.read(BLOCK_BYTES), source.path)
    _check_once(source, names)
    with open_text(source) as file:
        for rows, _ in read_csv(file, source.path, [only] if only else None):
            yield {name: rows.column(name) for name in rows.schema.names}


def _json(source: Source, only: str | None) -> Iterator[dict[str, RawColumn]]:
    with open_text(source) as file:
        while lines := list(islice(file, _BATCH)):
            objects = []
            for line in lines:
                try:
                    value = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
                except (ValueError, RecursionError):
                    continue
                if isinstance(value, dict):
                    objects.append(value)
            names = [only] if only else list(dict.fromkeys(key for row in objects for key in row))
            yield {name: as_column([row.get(name) for row in objects]) for name in names}
