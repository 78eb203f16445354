"""Reads the rows of CSV, so that damage costs the lines that it is on and no other.

A value in quotes may hold line breaks, so a quote that is never closed would make one value of all
that follows. A row goes on behind the end of its line only where each of its quoted values that
does is closed, before a comma or the end of a line. With as many values as columns such a row is
read as it comes, whatever its text looks like. With another number it is one broken row, unless
most of the lines inside its values are rows by themselves, as between stray quotes. Otherwise the
line alone is broken, and reading goes on with the next one. A quote elsewhere in a value is text.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from configs.errors import InputError
from preprocessing.logs.broken_row import BrokenRow

BLOCK_BYTES = 8 << 20
"""Bytes that are parsed at once; a row is no longer."""

OPEN_QUOTE = "csv: expected each quote to be closed"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+'  # less its end
_VALUE_OF_LINE = rb'(?>"[^"\r\n]*+(?:""[^"\r\n]*+)*+"[^,\r\n]*+|(?!")[^,\r\n]*+)'
_VALUE = rb"(?>" + _QUOTED + rb'"(?=[,\r\n]|\Z)|' + _VALUE_OF_LINE + rb")"
_ROW = re.compile(_VALUE + rb"(?:," + _VALUE + rb")*+(?:\r\n?|\n|\Z)")
_VALUE_IN_ROW = re.compile(_VALUE)
_BEFORE_OPEN = re.compile(rb"(?:" + _VALUE + rb",)*+")
_WHOLE_LINE = re.compile(_VALUE_OF_LINE + rb"(?:," + _VALUE_OF_LINE + rb")*+(?=[\r\n]|\Z)")
_QUOTED_VALUE = re.compile(_QUOTED + b'"')
_LINE = re.compile(rb"[^\r\n]*+")
_OPEN_TO_THE_END = re.compile(_QUOTED + rb"\Z")

_AROUND_VALUES = np.zeros(256, np.bool_)
_AROUND_VALUES[list(b',"\r\n')] = True


class CsvBlock(NamedTuple):
    """Rows that follow each other.

    Attributes:
      rows: sound ones, all values as bytes, null where there is no text.
      broken: the others among them; several blocks hold them in the order of the file.
    """

    rows: pa.RecordBatch
    broken: tuple[BrokenRow, ...]


class _Line(NamedTuple):
    """What is broken of a text, a line or a row of several: where it begins and ends, and why."""

    start: int
    end: int
    rule: str
    received: str | None


def read_header(start: bytes, where: str) -> tuple[list[str], int]:
    """The names of the columns of a file that begins so, and where its rows begin; no names, where
    it is blank. Raises ``InputError`` where the first line is none of names.
    """
    skipped = len(start) - len(start.removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n"))
    if not start[skipped:].strip():
        return [], len(start)
    row = _ROW.match(start, skipped)  # a name in quotes may go on behind the end of the line
    header = row[0] if row and row[0].endswith(b"\n") else start[skipped:].partition(b"\n")[0]
    if not header.strip():
        raise InputError(
            f"{where}: expected a header line of column names, received a line of blanks"
        )
    try:
        names = next(csv.reader(io.StringIO(header.decode(), newline="")))
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{where}: expected a header line of column names in UTF-8") from None
    end = skipped + len(header)
    return names, end if header.endswith(b"\n") else min(end + 1, len(start))


def read_csv(file: BinaryIO, where: str, only: Sequence[str] | None = None) -> Iterator[CsvBlock]:
    """All rows of a file, as they came.

    Args:
      file: from its beginning, decompressed.
      where: its path, for errors.
      only: the columns that are read; all where None.

    Raises:
      InputError: no header, or a row that is longer than 8 MiB. What reading the file raises.
    """
    content = file.read(BLOCK_BYTES)
    names, start = read_header(content, where)
    if not names:
        return
    columns = list(names if only is None else only)
    row, waiting, last = 0, content[start:], False
    while not last:
        content = file.read(BLOCK_BYTES)
        waiting, last = waiting + content, not content
        whole = len(waiting) if last else waiting.rfind(b"\n") + 1
        if not whole and len(waiting) > BLOCK_BYTES:
            raise InputError(
                f"{where}: the line behind row {row - 1} is longer than {BLOCK_BYTES >> 20} MiB;"
                " expected a row a line"
            )
        end, damaged = _damage(waiting[:whole], len(names), last)
        begin = 0
        for line in (*damaged, None):
            until = line.start if line else end
            rows, broken = _parse(waiting[begin:until], names, columns, row)
            row += rows.num_rows + len(broken)
            if line:
                begin = line.end
                text = waiting[line.start : line.end].decode(errors="replace")
                broken.append(BrokenRow(row, line.rule, line.received, text))
                row += 1
            if rows.num_rows or broken:
                yield CsvBlock(rows, tuple(broken))
        waiting = waiting[end:]


def _parse(
    text: bytes, names: Sequence[str], columns: Sequence[str], first: int
) -> tuple[pa.RecordBatch, list[BrokenRow]]:
    """Rows that `_damage` has left: all values as bytes, because what they mean is for validation
    to say, and a bad byte must cost its row, not its file.
    """
    broken: list[BrokenRow] = []

    def keep_broken(row: pacsv.InvalidRow) -> str:
        rule, received = _columns(row.expected_columns), f"{row.actual_columns}"
        broken.append(BrokenRow(first + row.number - 1, rule, received, row.text))
        return "skip"

    schema = pa.schema([(name, pa.binary()) for name in columns])
    if not text.strip(b"\r\n"):
        return pa.RecordBatch.from_pylist([], schema), broken
    table = pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, column_names=names
        ),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep_broken),
        convert_options=pacsv.ConvertOptions(
            check_utf8=False,
            column_types=schema,
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema), broken


def _columns(expected: int) -> str:
    return f"csv: expected {expected} columns"


def _damage(text: bytes, columns: int, last: bool) -> tuple[int, list[_Line]]:
    """Where the last row of a text ends that is there whole, and which lines before are broken in
    a way that Arrow would not survive: those with a quote that is not closed, and those of too many
    or too few values that are no UTF-8. Rows of several lines and other columns are among them.

    Args:
      text: whole lines.
      columns: of a row.
      last: whether nothing follows the text.
    """
    until, found = 0, []
    for start in sorted({*_lines_of_odd_quotes(text), *_lines_of_bad_bytes(text)}):
        if start < until:
            continue
        if whole := _WHOLE_LINE.match(text, start):
            values = _values_in(whole[0])
            if values != columns and not _is_text(whole[0]):
                found.append(_Line(*whole.span(), _columns(columns), f"{values}"))
            continue
        row = _ROW.match(text, start)
        content = row[0].rstrip(b"\r\n") if row else b""
        values = _values_in(content)
        if row and values == columns:
            until = row.end()
        elif row and not _holds_rows(content, columns):
            until = row.end()
            found.append(_Line(start, start + len(content), _columns(columns), f"{values}"))
        elif start and not last and _is_open(text, start):
            return start, found
        else:
            line = _LINE.match(text, start)
            assert line is not None  # noqa: S101 - it matches anywhere
            found.append(_Line(*line.span(), OPEN_QUOTE, None))
    return len(text), found


def _lines_of_bad_bytes(text: bytes) -> list[int]:
    """Where lines begin that are no UTF-8."""
    if _is_text(text):
        return []
    return [line.start() for line in _LINE.finditer(text) if not _is_text(line[0])]


def _is_text(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _values_in(row: bytes) -> int:
    """How many values a row has, given without the end of its line."""
    count, end = 0, -1
    while end < len(row):
        value = _VALUE_IN_ROW.match(row, end + 1)
        assert value is not None  # noqa: S101 - the row is whole
        count, end = count + 1, value.end()
    return count


def _lines_of_odd_quotes(text: bytes) -> list[int]:
    """Where lines begin that have more than whole values in quotes: one of their quotes, taken by
    turns as first and last of a value, is at no value's end.
    """
    if b'"' not in text:
        return []
    letters = np.frombuffer(b"\n%b\n" % text, np.uint8)
    quotes = np.flatnonzero(letters == ord('"'))
    ends = np.flatnonzero((letters == ord("\n")) | (letters == ord("\r")))
    before = np.searchsorted(quotes, ends)  # quotes before the end of each line
    in_line = np.diff(before)
    if not (in_line % 2).any():  # then turns go on from line to line
        firsts, lasts = letters[quotes[::2] - 1], letters[quotes[1::2] + 1]
        if _AROUND_VALUES[firsts].all() and _AROUND_VALUES[lasts].all():
            return []
    turn = (np.arange(len(quotes)) - np.repeat(before[:-1], in_line)) % 2
    neighbour = letters[quotes + np.where(turn, 1, -1)]
    odd = np.searchsorted(ends, quotes[~_AROUND_VALUES[neighbour]]) - 1
    lines = np.union1d(np.flatnonzero(in_line % 2), odd)
    starts: list[int] = ends[lines].tolist()  # less the line break put before the text
    return starts


def _is_open(text: bytes, start: int) -> bool:
    """Whether a text ends within a value of the row that begins there."""
    values = _BEFORE_OPEN.match(text, start)
    return bool(values and _OPEN_TO_THE_END.match(text, values.end()))


def _holds_rows(row: bytes, columns: int) -> bool:
    """Whether most lines inside a value of a sound row are rows by themselves."""
    for value in _QUOTED_VALUE.findall(row):
        inside = value.splitlines()[1:-1]
        if 2 * sum(line.count(b",") == columns - 1 for line in inside) > len(inside):
            return True
    return False
