"""Tables and texts of a report as Markdown, and the README's table of gains."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures.marked_page import Columns
from benchmarks.method.text import MISSING, plain, show_cell
from configs.errors import InputError

BARS = "bars"
"""In place of a section: what the study asks for."""

GAINS = "gains"
"""Name of the README's table, which is made of two tables of ``docs/results.md``."""

_TEST, _FAR = "globo/main/test", "globo/main/far_test"
_MEMORY = "kernels with [memory](docs/config.md#memory), by hour"
_ROWS = (
    ("kernels, active ones", _TEST, "kernels, active ones"),
    ("kernels, active or not", _TEST, "kernels"),
    ("kernel of all traffic", _TEST, "kernel of all traffic"),
    (_MEMORY, _TEST, "kernels with memory, by hour"),
    ("kernels, active ones, three days later", _FAR, "kernels, active ones"),
    ("kernels with memory, three days later", _FAR, "kernels with memory, by hour"),
)
"""What a row is called, the table that it is of, and what it is called there."""

_TITLES = ("on the two test days, AUC points", "CTR, mean", "by seed", "CTCVR, mean", "by seed")

Cells = list[list[str]]
"""Titles, then rows."""

Content = Cells | str
"""What a report has for a page: a table, or a text that keeps its lines."""

_DIVIDES = re.compile(r"(?<!\\)\|")


def study_table(report: Mapping[str, Any], name: str) -> Content:
    """A table of a report as texts, or a text of it; methods that have not run are left out.

    Args:
      report: as a study leaves it (``report.json``), or a command with ``--report``.
      name: ``STUDY/SECTION/SPLIT``; a number from 0 in place of the split where tables are of none;
        ``STUDY/bars/0`` for its bars.

    Raises:
      InputError: the report has no such table.
    """
    _, section, which = name.split("/")
    if section == BARS:
        return _bars(report["bars"])
    tables = [
        table
        for found in report["sections"]
        if found["id"] == section
        for table in found.get("tables") or ()
    ]
    wanted = [
        table
        for number, table in enumerate(tables)
        if which == str(number) or table["title"] == f"split '{which}'"
    ]
    if not wanted:
        titles = ", ".join(table["title"] for table in tables) or "none"
        raise InputError(f"figures '{name}': the report has no such table; there are: {titles}")
    if "text" in wanted[0]:
        return str(wanted[0]["text"])
    rows = [[show_cell(cell) for cell in row["cells"]] for row in wanted[0]["rows"] if row["cells"]]
    return [
        [plain(column) for column in wanted[0]["columns"]],
        *(row for row in rows if set(row[1:]) != {MISSING}),
    ]


def shown(cells: Content, columns: Columns, name: str) -> Content:
    """A table's columns that a page shows, or the whole of a text. Raises ``InputError`` where
    there is no such column.
    """
    if isinstance(cells, str):
        if columns.titles:
            raise InputError(
                f"figures '{name}': a text has no columns; received: {', '.join(columns.titles)}"
            )
        return cells
    if unknown := set(columns.titles) - set(cells[0]):
        raise InputError(
            f"figures '{name}': no column {', '.join(sorted(unknown))}; there are:"
            f" {', '.join(cells[0])}"
        )
    kept = [
        place for place, title in enumerate(cells[0]) if (title in columns.titles) == columns.only
    ]
    return [[row[place] for place in kept] for row in cells]


def markdown(cells: Content) -> str:
    """A table as Markdown has it; a text in a fence that no line of it closes."""
    if isinstance(cells, str):
        lines = [line.rstrip() for line in cells.strip("\n").splitlines()]
        longest = max(map(len, re.findall("`{3,}", cells)), default=2)
        return "\n".join([fence := "`" * (longest + 1), *lines, fence])
    titles, *rows = (f"| {' | '.join(row)} |" for row in _escaped(cells))
    return "\n".join([titles, "|" + "---|" * len(cells[0]), *rows])


def read_markdown(text: str) -> Cells:
    """The cells of a table that ``markdown`` wrote."""
    titles, _, *rows = (
        [cell.strip().replace("\\|", "|") for cell in _DIVIDES.split(line.strip())[1:-1]]
        for line in text.splitlines()
    )
    return [titles, *rows]


def gains_table(tables: Mapping[str, str]) -> str:
    """The README's table of gains.

    Args:
      tables: name -> Markdown of the tables of ``docs/results.md``.

    Raises:
      InputError: a table, or a row of it, is not there.
    """
    rows = []
    for title, name, method in _ROWS:
        found = {row[0]: row for row in read_markdown(tables[name])} if name in tables else {}
        if method not in found:
            raise InputError(f"docs/results.md: figures '{name}' have no row: {method}")
        rows.append([title, *found[method][1 : len(_TITLES)]])
    return markdown([list(_TITLES), *rows])


def _bars(bars: Sequence[Mapping[str, Any]]) -> Cells:
    """What was asked and what was measured, of the methods that have run."""
    said = {True: "yes", False: "no"}
    ran = [bar for bar in bars if bar["met"] is not None]
    rows = [[bar["bar"], bar["asked"], bar["measured"], said[bar["met"]]] for bar in ran]
    return [["bar", "asked", "measured", "met"], *rows]


def _escaped(cells: Cells) -> Cells:
    return [[cell.replace("|", "\\|") for cell in row] for row in cells]
