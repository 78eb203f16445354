"""Finds the log files, checks their headers, and cuts them into pieces of work."""

import fnmatch
import glob
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from configs import Experiment, InputError
from configs.schema import Truth
from preprocessing import filesystem
from preprocessing.logs.csv_rows import read_header
from preprocessing.logs.schema import LogTable

Format = Literal["parquet", "csv", "json"]

_FORMATS: dict[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
}
_EXPECTED = ".parquet, .csv, .jsonl, .ndjson or .json; the text formats also with .gz"
_HEADER_BYTES = 1 << 20
_BYTES_OF_A_ROW, _GZIP_BYTES_OF_A_ROW = 100, 25  # of text, roughly
UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class Source:
    """A log file.

    Attributes:
      order: its place among all files, sorted by path.
      path: full path.
      name: path relative to the folder of the logs; output files are named after it, so a moved
        folder gives the same dataset.
      format: by extension.
    """

    order: int
    path: str
    name: str
    format: Format

    @property
    def stem(self) -> str:
        """The name without folder and extensions."""
        return _without_extensions(self.name.rpartition("/")[2])

    @property
    def seed(self) -> str:
        """The name without extensions: the same logs give the same order of rows in every
        format.
        """
        return _without_extensions(self.name)


@dataclass(frozen=True)
class Piece:
    """A part of a file that one worker reads: a run of Parquet row groups, or all of a text file.

    Attributes:
      source: the file.
      first_batch: number of its first batch in the file.
      first_row: number of its first row in the file, from 0.
      row_groups: first row group and the one after the last; None for text.
      rows: how many rows it has; of text, guessed from its bytes.
    """

    source: Source
    first_batch: int = 0
    first_row: int = 0
    row_groups: tuple[int, int] | None = None
    rows: int = 0


@dataclass(frozen=True)
class Plan:
    """What is to be read: pieces, and files without a row."""

    pieces: tuple[Piece, ...]
    empty: tuple[str, ...]


def find_sources(pattern: str, truth: Truth | None = None) -> list[Source]:
    """The log files of a glob, of a folder (those directly in it) or a single file; files of true
    probabilities are left out.

    Raises:
      InputError: nothing matches, or a file's extension is of no known format.
    """
    folder, paths = _match(pattern)
    if truth:
        of_truth = filesystem.join(glob.escape(folder), truth.path) if folder else truth.path
        paths = [path for path in paths if not fnmatch.fnmatch(path, of_truth)]
    if not paths:
        raise InputError(f"{pattern}: no file matches; expected logs in {_EXPECTED}")
    sources = []
    for order, path in enumerate(sorted(paths)):
        format_ = _format(path)
        if format_ is None:
            raise InputError(f"{path}: unknown format; expected {_EXPECTED}")
        sources.append(Source(order, path, path[len(folder) :].lstrip("/"), format_))
    return sources


def logs_folder(pattern: str) -> str:
    """The folder that a glob, folder or file of logs begins at; the side file of true
    probabilities is found from there.
    """
    return _match(pattern)[0]


def file_key(source: Source) -> str:
    """Begins the names of all output files of a log file: stem and 8 hex digits over its
    relative path.
    """
    return f"{source.stem}-{sha256(source.name.encode()).hexdigest()[:8]}"


def plan(sources: Iterable[Source], what: Experiment | LogTable) -> Plan:
    """Opens every file far enough to check its columns, and cuts it into pieces.

    Args:
      sources: the files.
      what: is read of them.

    Raises:
      InputError: a file is unreadable or lacks a column; in JSON lines, columns are a matter of
        each row.
    """
    table = LogTable.of(what)
    with ThreadPoolExecutor(
        16
    ) as pool:  # remote files: waiting for each in turn would take minutes
        planned = list(pool.map(lambda source: _plan_file(source, table), sources))
    empty = tuple(
        source.path for source, pieces in zip(sources, planned, strict=True) if not pieces
    )
    return Plan(tuple(piece for pieces in planned for piece in pieces), empty)


def missing_columns_error(where: str, present: Iterable[str], needed: Iterable[str]) -> InputError:
    """Both set differences, in one line."""
    present, needed = list(present), list(needed)
    missing = ", ".join(name for name in needed if name not in present)
    unexpected = ", ".join(name for name in present if name not in needed) or "none"
    return InputError(f"{where}: missing: {missing}; unexpected: {unexpected}")


def unreadable_error(source: Source, error: BaseException) -> InputError:
    """Names a file that cannot be trusted as a whole."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(
        f"{source.path}: not readable as {source.format}, damaged or cut short: {reason}"
    )


@contextmanager
def open_text(source: Source) -> Iterator[BinaryIO]:
    """Opens a text file's bytes, decompressed. Python's gzip, because it notices every kind of
    truncation.
    """
    with filesystem.open_raw(source.path) as file:
        if source.path.endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as decompressed:  # closing it leaves `file` open
                yield cast(BinaryIO, decompressed)
        else:
            yield file


def open_parquet(source: Source) -> pq.ParquetFile:
    """Opens a Parquet file on any filesystem."""
    return pq.ParquetFile(
        source.path if filesystem.is_local(source.path) else filesystem.open_raw(source.path)
    )


def _match(pattern: str) -> tuple[str, list[str]]:
    """Folder that relative names begin at, and the matching files that are not hidden."""
    if filesystem.is_local(pattern) and "/" not in pattern:
        pattern = f"./{pattern}"  # Beam lists nothing for a bare pattern
    if filesystem.is_local(pattern) and Path(pattern).is_dir():
        pattern = pattern.rstrip("/") + "/"
    paths = _files(pattern)
    if not paths and not pattern.endswith("/"):
        paths = _files(pattern + "/")
        pattern = pattern + "/" if paths else pattern
    if pattern.endswith("/"):
        paths = [
            path for path in paths if _format(path)
        ]  # a folder may hold a README; a glob means what it says
    if filesystem.is_local(pattern) and Path(pattern).exists():
        return pattern.rpartition("/")[0], paths
    fixed = min((pattern.index(sign) for sign in "*?[" if sign in pattern), default=len(pattern))
    return pattern[:fixed].rpartition("/")[0], paths


def _files(pattern: str) -> list[str]:
    if filesystem.is_local(pattern) and Path(pattern).exists():  # a name may hold a glob's signs
        path = Path(pattern)
        found = [str(file) for file in path.iterdir() if file.is_file()] if path.is_dir() else []
        return _shown(found or [pattern] * path.is_file())
    try:
        found = filesystem.matching(pattern)
    except (ValueError, OSError) as error:
        raise InputError(f"{pattern}: cannot be listed: {error}") from None
    return _shown(found)


def _shown(paths: list[str]) -> list[str]:
    """Those that are not hidden."""
    return [path for path in paths if not path.rpartition("/")[2].startswith((".", "_"))]


def _format(path: str) -> Format | None:
    extension = Path(path.removesuffix(".gz")).suffix
    return None if path.endswith(".parquet.gz") else _FORMATS.get(extension)


def _without_extensions(name: str) -> str:
    name = name.removesuffix(".gz")
    return name.removesuffix(Path(name).suffix)


def _plan_file(source: Source, table: LogTable) -> list[Piece]:
    try:
        if source.format == "parquet":
            return _plan_parquet(source, table)
        with open_text(source) as file:
            start = file.read(_HEADER_BYTES)
        piece = Piece(source, rows=_guessed_rows(source))
    except UNREADABLE as error:
        raise unreadable_error(source, error) from None
    if source.format == "json":
        return [piece] if start.strip() else []
    return [piece] if _has_rows(source, start, table) else []


def _guessed_rows(source: Source) -> int:
    with filesystem.open_raw(source.path) as file:
        size = file.seek(0, os.SEEK_END)
    return size // (_GZIP_BYTES_OF_A_ROW if source.path.endswith(".gz") else _BYTES_OF_A_ROW)


def _plan_parquet(source: Source, table: LogTable) -> list[Piece]:
    file = open_parquet(source)
    needed = table.read
    names = file.schema_arrow.names
    if needed.keys() - set(names):
        raise missing_columns_error(source.path, names, needed)
    _check_once(source, names, needed)
    pieces: list[Piece] = []
    first_batch = first_row = rows = start = 0
    groups = file.metadata.num_row_groups
    for group in range(groups):
        rows += file.metadata.row_group(group).num_rows
        following = file.metadata.row_group(group + 1).num_rows if group + 1 < groups else 0
        if rows and (group + 1 == groups or rows + following > table.batch_rows):
            pieces.append(Piece(source, first_batch, first_row, (start, group + 1), rows))
            first_batch += -(-rows // table.batch_rows)
            first_row, rows, start = first_row + rows, 0, group + 1
    return pieces


def _check_once(source: Source, names: list[str], needed: Iterable[str]) -> None:
    if repeated := sorted(name for name in needed if names.count(name) > 1):
        raise InputError(
            f"{source.path}: column {repeated[0]} appears {names.count(repeated[0])} times"
        )


def _has_rows(source: Source, start: bytes, table: LogTable) -> bool:
    """Whether a CSV file, of which this is the start, has any row. Raises ``InputError``."""
    names, rows_begin = read_header(start, source.path)
    if not names:
        return False
    needed = table.read
    if needed.keys() - set(names):
        raise missing_columns_error(source.path, names, needed)
    _check_once(source, names, needed)
    return bool(start[rows_begin:].strip())
