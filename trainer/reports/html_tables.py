"""The report's tables, as HTML."""

from collections.abc import Iterable, Mapping, Sequence

from trainer.metrics.formatting import METRIC_TITLES
from trainer.metrics.results import (
    DomainResult,
    EvaluationResult,
    PageResult,
    SegmentResult,
)
from trainer.reports.html_page import escape, scrolling
from trainer.reports.text_table import (
    count_outcomes,
    describe_pages,
    order_cells,
    overall_cells,
    page_cells,
    show_decision,
    show_gain,
    show_gain_over_all,
    show_name,
    show_pair,
    show_served,
    show_undecidable,
)

TABLE_STYLE = """
thead th { vertical-align: bottom; } td small { display: block; }
tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; max-width: 16rem; }
:is(th, td).count { text-align: right; }
.domains td:last-child { white-space: normal; min-width: 16rem; }
@media screen { tbody th { position: sticky; left: 0;
  background: var(--page) padding-box; } }
@page tables { size: landscape; }
@media print { section { page: tables; } tbody th, .domains td:last-child { min-width: 0; } }
"""
"""For ``trainer.reports.html_page.render_page``: tables in a ``section`` are whole on paper."""


def domains_table(result: EvaluationResult, order: Iterable[str], cards: Mapping[str, str]) -> str:
    """Rows and positives of every domain, what answers it, and why.

    Args:
      result: of the evaluation.
      order: names of domains from top to bottom.
      cards: domain -> address of its kernel's card; empty where there is none.
    """
    rows = []
    for name in order:
        domain = result.domains[name]
        card = f"version {domain.version}" if domain.version else ""
        if cards[name]:
            card = f'<a href="{escape(cards[name])}">{card}</a>'
        served = f"<td{'' if domain.active else ' class=off'}>{escape(show_served(domain))}</td>"
        rows.append(
            f"<tr>{row_header(name)}"
            + _count_cells(domain, result)
            + f"{served}<td>{card}</td><td>{escape(show_decision(domain))}</td></tr>"
        )
    header = ["domain", *_count_titles(result), "serves", "card", "why"]
    return table("", header, rows, "domains", 1 + len(result.overall))


def overall_table(result: EvaluationResult) -> str:
    """All rows under backbone, kernel of all traffic and auto, and the best reachable figures."""
    counts = ""
    if result.rows is not None:
        counts = f": {count_outcomes(result.rows, result.positives, tuple(result.overall))}"
    return table_of(f"Overall{counts}", overall_cells(result))


def order_table(result: EvaluationResult) -> str:
    """How often amounts are in the right order; empty where nothing predicts amounts."""
    cells = order_cells(result)
    return table_of("Order of amounts", cells) if cells else ""


def segments_table(column: str, result: EvaluationResult) -> str:
    """The segments of a column: rows, positives, and AUC and calibration of every task as it is
    served, beside both references.
    """
    rows = []
    for name, found in (result.segments or {})[column].items():
        cells = [
            _figure_cells(found, task, ["auc", "pcoc"], result.has_all) for task in result.overall
        ]
        rows.append(f"<tr>{row_header(name)}{_count_cells(found, result)}{''.join(cells)}</tr>")
    titles = [
        f"{task.upper()} {METRIC_TITLES[metric]}"
        for task in result.overall
        for metric in ("auc", "pcoc")
    ]
    header = [show_name(column), *_count_titles(result), *titles]
    return table(f"By {show_name(column)}", header, rows, counts=1 + len(result.overall))


def page_table(page: PageResult) -> str:
    """How the score orders requests."""
    return table_of(describe_pages(page), page_cells(page))


def figures_table(task: str, result: EvaluationResult, order: Iterable[str]) -> str:
    """A task's figures in every domain: the kernel's beside both references'."""
    rows, metrics = [], list(result.overall[task])
    for name in order:
        cells = _figure_cells(result.domains[name], task, metrics, result.has_all)
        rows.append(f"<tr>{row_header(name)}{cells}</tr>")
    titles = (METRIC_TITLES[metric] for metric in metrics)
    return table(f"{task.upper()} by domain", ["domain", *titles], rows)


def _count_titles(result: EvaluationResult) -> list[str]:
    return ["rows", *(f"{task.upper()} positives" for task in result.overall)]


def _count_cells(found: DomainResult | SegmentResult, result: EvaluationResult) -> str:
    positives = found.positives or {}
    numbers = [found.rows, *(positives.get(task) for task in result.overall)]
    return "".join(
        f"<td class=count>{'' if number is None else f'{number:,}'}</td>" for number in numbers
    )


def _figure_cells(
    found: DomainResult | SegmentResult, task: str, metrics: Sequence[str], has_all: bool
) -> str:
    """A cell for each metric of a task, or one over all of them where it is undecidable."""
    if few := show_undecidable(found, task):
        return f"<td class=off colspan={len(metrics)}>{escape(few)}</td>"
    cells = []
    for metric in metrics:
        cell = found.tasks[task][metric]
        gains = [show_gain(cell, metric)]
        if has_all:
            gains.append(f"all: {show_gain_over_all(cell, metric)}")
        shown = "".join(f"<small>{escape(gain)}</small>" for gain in gains)
        cells.append(f"<td>{escape(show_pair(cell))}{shown}</td>")
    return "".join(cells)


def row_header(name: str) -> str:
    """A domain's name, which may be broken between its topics."""
    return f"<th scope=row>{escape(show_name(name)).replace(',', ',<wbr>')}</th>"


def table_of(caption: str, cells: list[list[str]]) -> str:
    """Cells as the text table has them: titles first, and the first of each row heads it."""
    header, *lines = cells
    rows = [
        f"<tr>{row_header(first)}" + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>"
        for first, *rest in lines
    ]
    return table(caption, header, rows)


def table(
    caption: str, header: Sequence[str], rows: Iterable[str], style: str = "", counts: int = 0
) -> str:
    """A table, of which ``counts`` columns after the first hold counts."""
    titles = "".join(
        f"<th scope=col{' class=count' if 1 <= place <= counts else ''}>{escape(title)}</th>"
        for place, title in enumerate(header)
    )
    return scrolling(
        f"<table{f' class={style}' if style else ''}>"
        + (f"<caption>{escape(caption)}</caption>" if caption else "")
        + f"<thead><tr>{titles}</tr></thead>\n<tbody>"
        + "\n".join(rows)
        + "</tbody></table>",
        caption or f"table by {header[0]}",
    )
