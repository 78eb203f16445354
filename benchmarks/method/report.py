"""A study's result as one HTML file that needs nothing else: no network, no script, no second
file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.method.figures import draw_plot, series_names
from benchmarks.method.text import (
    MISSING,
    bars_table,
    headed_rows,
    numeric_columns,
    origin,
    paragraphs,
    plain,
    show_cell,
    trend,
)
from configs.errors import InputError
from trainer.reports.html_page import escape, image, render_page, scrolling, write_page

_STYLE = """
:root { --up: #12703a; --down: #b3261e; --tint: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --up: #5cc98a; --down: #ff8f86; --tint: #212427; } }
h2 { font-size: 1.3rem; margin-top: 3rem; }
nav { margin: 1.5rem 0; } nav ol { margin: .3rem 0; padding-left: 1.4rem; }
a { color: inherit; } dd { font-size: 1rem; } code { font-size: .9rem; } li { max-width: 60rem; }
figure { margin: 2rem 0 0; } figcaption { font-weight: 600; font-size: .95rem; }
figcaption small, caption small { font-weight: 400;
  color: var(--faint); display: block; max-width: 48rem; white-space: normal; }
.wide { margin-bottom: 1rem; } th, td { padding: .25rem .6rem; } .number { text-align: right; }
thead th { vertical-align: bottom; } .wide thead th { white-space: normal; min-width: 3.2rem; }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--page);
  padding-left: 0; }
tr.emphasis th, tr.emphasis td { font-weight: 650; background: var(--tint); }
tr.group th { font-weight: 600; padding-top: .9rem; }
.up { color: var(--up); } .down { color: var(--down); } .even { color: var(--faint); }
td.words { white-space: normal; min-width: 8rem; }
td small { color: inherit; } .dense td small { display: block; }
dd code { overflow-wrap: anywhere; } .drawing { overflow-x: auto; }
@media (max-width: 40rem) { tbody th { white-space: normal; min-width: 7rem; }
  .drawing img { min-width: 42rem; } }
"""
_DENSE_COLUMNS = 8
"""A table of more columns shows intervals below their values."""


def write_report(result: Mapping[str, Any], path: Path) -> None:
    """Writes a study's report; the file appears whole or not at all, and equal results give equal
    files.

    Args:
      result: as ``benchmarks.method.text`` describes it.
      path: the HTML file, in a folder that exists.

    Raises:
      InputError: the result does not hold what it should, or the file cannot be written.
    """
    try:
        page = _page(result)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: the study's result is not in the expected form: {error!r}"
        ) from error
    write_page(path, page)


def _page(result: Mapping[str, Any]) -> str:
    sections = result["sections"]
    known = series_names(plot for section in sections for plot in section.get("plots") or ())
    links = "".join(
        f'<li><a href="#{escape(quote(section["id"]))}">{_line(section["title"])}</a></li>'
        for section in sections
    )
    facts = "".join(f"<li>{_line(fact)}</li>" for fact in result.get("facts") or ())
    named = "".join(
        f"<div><dt>{name}</dt><dd><code>{escape(value)}</code></dd></div>"
        for name, value in origin(result)
    )
    parts = [
        f"<h1>{_line(result['title'])}</h1>",
        *_paragraphs(result.get("description")),
        f"<dl>{named}</dl>" if named else "",
        f"<ul>{facts}</ul>" if facts else "",
        _table(bars_table(result["bars"])) if result.get("bars") else "",
        f"<nav aria-label=Contents><b>Contents</b><ol>{links}</ol></nav>",
        *(_section(section, known) for section in sections),
    ]
    return render_page(plain(result["title"]), filter(None, parts), _STYLE)


def _section(section: Mapping[str, Any], known: Sequence[str]) -> str:
    parts = [
        f'<section id="{escape(section["id"])}"><h2>{_line(section["title"])}</h2>',
        *_paragraphs(section.get("text")),
        *(_table(table) for table in section.get("tables") or ()),
        *(_plot(plot, known) for plot in section.get("plots") or ()),
    ]
    return "\n".join(parts) + "</section>"


def _table(table: Mapping[str, Any]) -> str:
    columns, numeric = table["columns"], numeric_columns(table)
    classes = [" class=number" if number else "" for number in numeric]
    titles = "".join(
        f"<th scope=col{style}>{_line(column)}</th>"
        for column, style in zip(columns, classes, strict=True)
    )
    rows = []
    for heading, row in headed_rows(table):
        if heading:
            rows.append(
                f"<tr class=group><th colspan={len(columns)}"
                f" scope=colgroup>{escape(heading)}</th></tr>"
            )
        if row.get("cells"):
            first, *rest = row["cells"]
            cells = "".join(
                _cell(cell, number) for cell, number in zip(rest, numeric[1:], strict=True)
            )
            rows.append(
                f"<tr{' class=emphasis' if row.get('emphasis') else ''}><th"
                f" scope=row>{escape(show_cell(first))}</th>{cells}</tr>"
            )
    dense = " class=dense" if len(columns) > _DENSE_COLUMNS else ""
    return scrolling(
        f"<table{dense}>"
        f"<caption>{_line(table['title'])}{_note(table.get('note'))}</caption>"
        f"<thead><tr>{titles}</tr></thead>\n<tbody>" + "\n".join(rows) + "</tbody></table>",
        plain(table["title"]),
    )


def _cell(cell: Any, numeric: bool) -> str:
    shown = show_cell(cell)
    value, bracket, ends = shown.partition(" [") if isinstance(cell, Mapping) else (shown, "", "")
    content = (
        "&ndash;"
        if shown == MISSING
        else escape(value) + (f" <small>[{escape(ends)}</small>" if bracket else "")
    )
    classes = " ".join(filter(None, ("number" if numeric else "words", trend(cell))))
    return f'<td class="{classes}">{content}</td>'


def _plot(plot: Mapping[str, Any], known: Sequence[str]) -> str:
    labels = " against ".join(plain(plot[axis]) for axis in ("y_label", "x_label") if axis in plot)
    description = f"{plain(plot['title'])}: {labels}; {', '.join(map(plain, series_names([plot])))}"
    note = (
        "Lines are intervals, cut at the edges; a triangle at an edge stands for a value beyond it."
        if plot["kind"] == "forest"
        else None
    )
    caption = f"<figcaption>{_line(plot['title'])}{_note(note)}</figcaption>"
    drawing = image(draw_plot(plot, known), description)
    return f"<figure>{caption}<div class=drawing tabindex=0>{drawing}</div></figure>"


def _note(text: str | None) -> str:
    return f"<small>{_line(text)}</small>" if text else ""


def _paragraphs(text: str | None) -> list[str]:
    return [f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs(text)]


def _line(text: object) -> str:
    return escape(plain(text))
