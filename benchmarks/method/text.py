"""A study's result as plain text for a terminal, and its cells as text for the terminal and the
report.

The result: ``{"study", "title", "description", "command", "seeds", "facts": [text], "sections":
[{"id", "title", "text", "tables", "plots"}], "bars": [{"bar", "asked", "measured", "met"}]}``. A
table: ``{"title", "note", "columns": [text], "rows": [{"cells", "emphasis", "group"}]}``; a row's
group is a heading above it and those after it. A cell is a text, a number, None, or ``{"value",
"low", "high", "unit"}`` with the unit ``points`` (x 100 of an AUC), ``auc``, ``seconds``, ``count``
or none. Plots are described in ``benchmarks.method.figures``.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeGuard

from configs.terminal.plain_text import align, side_by_side, terminal_width
from trainer.metrics.formatting import is_number

MISSING = "-"
"""What stands for a value that there is not."""

_WIDTH = 130
"""Characters of a line at most."""


def render_text(result: Mapping[str, Any]) -> str:
    """The result's texts and tables, as wide as the terminal and at most 130 columns: a wider table
    continues below, its first column repeated.

    Args:
      result: the study's result as described above.
    """
    lines = [
        plain(result["title"]),
        "=" * len(plain(result["title"])),
        *_paragraphs(result.get("description")),
    ]
    lines += [f"{name}: {value}" for name, value in origin(result)]
    lines += ["", *(f"* {plain(fact)}" for fact in result.get("facts") or ())]
    if result.get("bars"):
        lines += ["", *_table(bars_table(result["bars"]))]
    for section in result["sections"]:
        lines += [
            "",
            "",
            plain(section["title"]),
            "-" * len(plain(section["title"])),
            *_paragraphs(section.get("text")),
        ]
        for table in section.get("tables") or ():
            lines += ["", *_table(table)]
        for plot in section.get("plots") or ():
            lines += ["", f"[plot, in the report: {plain(plot['title'])}]"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def origin(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result comes from, as names and values: its command and seeds, where it says them."""
    seeds = ", ".join(str(seed) for seed in result.get("seeds") or ())
    return [
        (name, shown)
        for name, shown in (("command", plain(result.get("command") or "")), ("seeds", seeds))
        if shown
    ]


def bars_table(bars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was asked of the method beside what was measured, as a table like any other."""
    words = {True: "met", False: "not met", None: "not measured"}
    rows = [
        {"cells": [bar["bar"], bar["asked"], bar["measured"], words[bar["met"]]]} for bar in bars
    ]
    note = (
        "Met: the value reaches what was asked and its interval lies above zero; 'significantly':"
        " by the 95% interval of each by itself."
    )
    return {
        "title": "Asked and measured",
        "note": note,
        "columns": ["bar", "asked", "measured", "met"],
        "rows": rows,
    }


def show_cell(cell: Any) -> str:
    """A cell's text: ``+0.52 [+0.31, +0.74]`` (points), ``0.6723`` (auc), ``12,345`` (count), ``3
    min 20 s`` (seconds).

    A missing value is a dash, a number that is none ``undefined``; another unit than those stands
    behind its number.
    """
    if not isinstance(cell, Mapping):
        return _show_value(cell, "")
    unit = cell.get("unit") or ""
    shown = _show_value(cell.get("value"), unit)
    ends = interval(cell)
    return f"{shown} [{', '.join(_show_value(end, unit) for end in ends)}]" if ends else shown


def interval(cell: Mapping[str, Any]) -> tuple[float, float] | None:
    """The ends of a value's interval; None where the value or an end is missing."""
    low, high = cell.get("low"), cell.get("high")
    return (
        (low, high) if is_finite(cell.get("value")) and is_finite(low) and is_finite(high) else None
    )


def trend(cell: Any) -> Literal["up", "down", "even", ""]:
    """Where a difference in points stands by its interval: above zero, below, or neither; empty
    for all other cells.
    """
    if (
        not isinstance(cell, Mapping)
        or cell.get("unit") != "points"
        or not is_finite(cell.get("value"))
    ):
        return ""
    low, high = interval(cell) or (0.0, 0.0)
    return "up" if low > 0 else "down" if high < 0 else "even"


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value is a number, and neither infinite nor NaN."""
    return is_number(value) and math.isfinite(value)


def is_numeric(cell: Any) -> bool:
    """Whether a cell belongs to a column of numbers; one without its value does."""
    return cell is None or cell == "undefined" or is_number(cell) or isinstance(cell, Mapping)


def numeric_columns(table: Mapping[str, Any]) -> list[bool]:
    """For every column, whether its cells are numbers, or missing, and so keep to the right;
    never the first, which names the row.
    """
    rows = [row["cells"] for row in table["rows"] if row.get("cells")]
    return [
        place > 0 and bool(rows) and all(is_numeric(cells[place]) for cells in rows)
        for place in range(len(table["columns"]))
    ]


def headed_rows(table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every row of a table with the heading that stands above it, empty where the group goes on
    or there is none.
    """
    former = None
    for row in table["rows"]:
        group = row.get("group") or None
        yield (plain(group) if group and group != former else "", row)
        former = group


def plain(text: object) -> str:
    """A text on one line, without control characters: names come from users' configs."""
    return " ".join(
        "".join(letter if letter.isprintable() else " " for letter in str(text)).split()
    )


def paragraphs(text: str | None) -> list[str]:
    """A text's paragraphs, which blank lines separate."""
    blocks = "\n".join(line.strip() for line in (text or "").splitlines()).split("\n\n")
    return [plain(block) for block in blocks if block.strip()]


def _show_value(value: Any, unit: str) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_number(value):
        return plain(value) or MISSING
    if not math.isfinite(value):
        return "undefined"
    if unit == "seconds":
        return _show_seconds(value)
    return {
        "points": f"{value:+.2f}",
        "auc": f"{value:.4f}",
        "count": f"{value:,.0f}",
        "": _show_number(value),
    }.get(unit, f"{_show_number(value)} {plain(unit)}")


def _show_number(value: float) -> str:
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:,.0f}"
        if abs(value) >= 1_000
        else f"{value:.4g}"
    )


def _show_seconds(seconds: float) -> str:
    if abs(seconds) < 0.9995:
        return f"{seconds * 1_000:.3g} ms"
    if abs(seconds) < 99.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _paragraphs(text: str | None) -> list[str]:
    return [
        line
        for paragraph in paragraphs(text)
        for line in ("", *textwrap.wrap(paragraph, min(_WIDTH - 30, _width())))
    ]


def _table(table: Mapping[str, Any]) -> list[str]:
    lines = [
        plain(table["title"]),
        *textwrap.wrap(plain(table.get("note") or ""), min(_WIDTH - 30, _width())),
    ]
    headed = list(headed_rows(table))
    starred = any(row.get("emphasis") for _, row in headed)
    columns = [plain(column) for column in table["columns"]]
    rows = [columns]
    for _, row in headed:
        cells = [show_cell(cell) for cell in row.get("cells") or [""] * len(columns)]
        rows.append(
            [
                f"{'* ' if row.get('emphasis') else '  '}{cells[0]}" if starred else cells[0],
                *cells[1:],
            ]
        )
    numeric = numeric_columns(table)
    for places in side_by_side(rows, _width()):
        part = [[row[place] for place in places] for row in rows]
        title, *shown = align(part, right={columns[place] for place in places if numeric[place]})
        lines += ["", title]
        for (heading, row), line in zip(headed, shown, strict=True):
            lines += [f"[{heading}]"] * bool(heading) + [line] * bool(row.get("cells"))
    return lines


def _width() -> int:
    return min(_WIDTH, terminal_width())
