"""Plain text for people: columns of one width, tables that fit a terminal, and characters that can
be printed.
"""

import shutil
import textwrap
from collections.abc import Container, Iterator, Sequence

_UNLIMITED = 1 << 20
_PAGE = 80
_LEAST_WORDS = 20
"""Characters that a column of words is given at least."""


def align(rows: Sequence[Sequence[str]], right: Container[str] = ("rows",)) -> list[str]:
    """Rows of cells, titles first, as lines with columns of one width, two spaces apart; columns
    with a title in ``right`` keep right.
    """
    columns = []
    for column in zip(*rows, strict=True):
        width = max(len(cell) for cell in column)
        columns.append(
            [cell.rjust(width) if column[0] in right else cell.ljust(width) for cell in column]
        )
    return ["  ".join(cells) for cells in zip(*columns, strict=True)]


def terminal_width() -> int:
    """Characters of a line: ``COLUMNS`` of the environment, or the terminal's. Without limit where
    what is printed goes elsewhere, so that a program reads a row as one line.
    """
    return shutil.get_terminal_size((_UNLIMITED, 24)).columns


def page_width() -> int:
    """Characters of a line of a longer text: the terminal's, and 80 where it is wider."""
    return min(_PAGE, terminal_width())


def fit(
    rows: Sequence[Sequence[str]],
    right: Container[str] = ("rows",),
    width: int | None = None,
) -> list[str]:
    """Rows as ``align`` has them, in lines that are no longer than a terminal is wide.

    Words in the last column go on below each other; columns for which there is no room come in a
    table below, beside the first one again. Only a single column that does not fit beside the first
    is longer.

    Args:
      rows: cells, titles first.
      right: titles of columns that keep right.
      width: characters; the terminal's where None.
    """
    width = terminal_width() if width is None else width
    last = len(rows[0]) - 1
    words = last > 0 and rows[0][last] not in right
    lines: list[str] = []
    for places in side_by_side(rows, width, {last: _LEAST_WORDS} if words else {}):
        part = [[row[place] for place in places] for row in rows]
        others = sum(max(map(len, column)) + 2 for column in list(zip(*part, strict=True))[:-1])
        if words and places[-1] == last:
            part = [cells for row in part for cells in _wrapped(row, max(width - others, 1))]
        lines += ["", *align(part, right)] if lines else align(part, right)
    return [line.rstrip() for line in lines]


def wrap(text: str, indent: str = "    ", width: int | None = None) -> list[str]:
    """A text in lines that are no longer than a terminal is wide, those after the first indented.

    Args:
      text: without line breaks.
      indent: of the lines after the first.
      width: characters; the terminal's where None.
    """
    width = terminal_width() if width is None else width
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def fit_page(rows: Sequence[Sequence[str]], right: Container[str] = ("rows",)) -> list[str]:
    """``fit`` to the width of a page."""
    return fit(rows, right, page_width())


def wrap_page(text: str, indent: str = "") -> list[str]:
    """``wrap`` to the width of a page."""
    return wrap(text, indent, page_width())


def side_by_side(
    rows: Sequence[Sequence[str]], width: int, less: dict[int, int] | None = None
) -> Iterator[list[int]]:
    """The places of columns that stand beside each other, table by table: the first column, and as
    many others as fit.

    Args:
      rows: cells.
      width: characters of a line.
      less: place of a column that may be narrower -> so many characters.
    """
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    for place, least in (less or {}).items():
        widths[place] = min(widths[place], least + 2)
    places = [0]
    for place in range(1, len(widths)):
        if len(places) > 1 and sum(widths[other] for other in places) + widths[place] - 2 > width:
            yield places
            places = [0]
        places.append(place)
    yield places


def rows_fitted(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Of each row its lines: one, and others below it with the columns for which there is no room,
    beside the first one again. For tables between whose rows other lines stand.

    Args:
      rows: cells, titles first.
      width: characters of a line.
    """
    parts = [
        align([[row[place] for place in places] for row in rows])
        for places in side_by_side(rows, width)
    ]
    return [list(lines) for lines in zip(*parts, strict=True)]


def _wrapped(row: Sequence[str], width: int) -> Iterator[list[str]]:
    """A row, and the rows of nothing but the rest of its last cell."""
    *others, last = row
    first, *rest = textwrap.wrap(last, width, break_on_hyphens=False) or [""]
    yield [*others, first]
    yield from ([*("" for _ in others), line] for line in rest)


def printable(text: str) -> str:
    """A text in which a character that cannot be printed is a replacement character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
