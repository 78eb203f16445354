"""How a command that is no study hands its tables and texts to ``benchmarks.figures``: by
``--report FILE``, in the form of a study's ``report.json`` (``benchmarks.method.text``).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.files import write_json

Shown = dict[str, Any]
"""What ``table`` or ``block`` gives."""

Sections = Mapping[str, Sequence[Shown]]
"""A section's id -> its tables and texts, which markers name ``NAME/SECTION/NUMBER``, from 0."""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Shown:
    """A table.

    Args:
      title: of the table.
      columns: their titles.
      rows: cells as ``benchmarks.method.text`` describes them, one a column. A row in which all
        but the first are missing is left out of pages.

    Raises:
      ValueError: a row has not as many cells as there are columns.
    """
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(f"{title}: expected {len(columns)} cells, received {wrong[0]}")
    return {
        "title": title,
        "columns": list(columns),
        "rows": [{"cells": list(row)} for row in rows],
    }


def block(title: str, text: str) -> Shown:
    """A text that keeps its lines and spaces, such as what a command prints: it stands among
    tables, and on a page in a fence.
    """
    return {"title": title, "text": text}


def add_report_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--report FILE``."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write the tables as JSON for benchmarks.figures, too, which finds them at"
        " REPORTS/NAME/report.json",
    )


def write_report(path: Path | None, sections: Sections) -> None:
    """Writes a report where ``--report`` is given.

    Args:
      path: of the file, whose folder is the name by which markers call the report.
      sections: all of it.

    Raises:
      OSError: the file cannot be written.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [{"id": name, "tables": list(tables)} for name, tables in sections.items()]
    write_json(path, {"study": path.absolute().parent.name, "sections": found})
