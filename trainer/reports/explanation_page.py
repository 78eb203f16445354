"""Writes what ``explain`` finds on a split as one HTML file that needs nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from trainer.metrics.decidable import in_words
from trainer.metrics.explanation_results import GateUse, Importance, SliceImportance
from trainer.metrics.formatting import POINTS
from trainer.reports.explanation_text import (
    cautions,
    describe_experts,
    describe_rows,
    gate_cells,
    show_loss,
    show_points,
)
from trainer.reports.html_page import escape, panels, render_page, write_page
from trainer.reports.html_tables import TABLE_STYLE, row_header, table
from trainer.reports.plots import (
    BLUE,
    GREY,
    ORANGE,
    STYLE,
    gain_range,
    legend,
    note_undefined,
    rows_panel,
    short_label,
    svg_text,
)
from trainer.reports.text_table import show_name, show_pair

_NAME = "explanation.html"
_ROW_INCHES = 0.3
_BAR = 0.36
_SIDES = (("backbone", ORANGE, -_BAR / 2), ("kernel", BLUE, _BAR / 2))
_GAINED, _LOST = "213,94,0", "0,114,178"
_STRONGEST = 0.55
"""Opacity of the darkest cell, on which text can still be read."""


EXPLANATION_PAGE = "explanation.html"


def write_explanation(folder: Path, result: Importance) -> Path:
    """Writes ``explanation.html`` into a folder that is there, whole or not at all, and gives its
    path. Raises ``InputError`` where it cannot be written.
    """
    drawn = [task for task in result.ranking if task in result.overall.lost]
    sections = [
        f"<h1>What the model reads on split '{escape(result.split)}'</h1>",
        (
            f"<p class=note>Backbone <code>{escape(result.backbone[:12])}</code>, config"
            f" <code>{escape(result.config[:12])}</code>.</p>"
        ),
        f"<p>{escape(_sentence(describe_rows(result)))}</p>",
        *(f"<p><strong>{escape(_sentence(one))}</strong></p>" for one in cautions(result)),
        "<h2>Inputs</h2>",
        (
            "<p class=note>AUC lost without what an input says of the row: under the backbone"
            " alone, and as rows are served (auto). A bar on the left of 0 is a gain.</p>"
        ),
        panels(
            [_plot(result, task) for task in drawn],
            [f"Loss of {task.upper()}-AUC by input" for task in drawn],
        ),
        "<section>",
        inputs_table(result),
        "<h2>Inputs by domain</h2>",
        (
            "<p class=note>The same of each domain's rows as they are served, in AUC points; below"
            " it the 95% interval. The darker, the more is lost; orange is gained.</p>"
        ),
        *(domains_table(result, task) for task in result.ranking),
        "<h2>Experts</h2>",
        f"<p class=note>{escape(_sentence(describe_experts(result)))}</p>",
        *(gate_table(name, gate) for name, gate in (result.experts or {}).items()),
        "</section>",
    ]
    page = folder / _NAME
    write_page(page, render_page("What the model reads", filter(None, sections), TABLE_STYLE))
    return page


def inputs_table(result: Importance) -> str:
    """What each input is, and what all rows lose without it."""
    tasks = [task for task in result.ranking if task in result.overall.lost]
    rows = []
    for name in result.by_loss(tasks[0]) if tasks else result.inputs:
        about = result.inputs[name]
        cells = [about.kind, ", ".join(about.columns), ", ".join(about.shares)]
        for task in tasks:
            cell = result.overall.lost[task][name]
            cells += [show_loss(cell.backbone), show_loss(cell.kernel)]
        if not about.read:
            cells[3:] = ["not read when served", *("" for _ in cells[4:])]
        rows.append(f"<tr>{row_header(name)}{_cells(cells)}</tr>")
    titles = [f"{task.upper()}-AUC, {side}" for task in tasks for side in ("backbone", "auto")]
    header = ["input", "kind", "raw columns", "shares them with", *titles]
    pairs = (f"{task.upper()} {show_pair(result.overall.auc[task])}" for task in tasks)
    return table(f"All rows: AUC {', '.join(pairs)}", header, rows)


def domains_table(result: Importance, task: str) -> str:
    """Domain by input, shaded by what is lost."""
    few = result.overall.undecided.get(task)
    if few:
        return f"<p>{task.upper()}: {escape(in_words(few))}.</p>"
    names = [name for name in result.by_loss(task) if result.inputs[name].read]
    slices = {"all rows": result.overall, **result.domains}
    known = [
        abs(cell.kernel.lost)
        for found in slices.values()
        for cell in found.lost.get(task, {}).values()
        if not isinstance(cell.kernel.lost, str)
    ]
    most = max(known, default=0.0)
    rows = [_domain_row(name, found, task, names, most) for name, found in slices.items()]
    header = ["domain", "rows", "AUC", *map(show_name, names)]
    return table(f"{task.upper()}-AUC lost, by domain", header, rows, counts=1)


def gate_table(name: str, gate: GateUse) -> str:
    """Domain by expert, shaded by weight."""
    header, *lines = gate_cells(gate)
    weights = [gate.overall, *gate.domains.values()]
    rows = [
        f"<tr>{row_header(domain)}"
        + "".join(
            f"<td{_shade(weight, 1.0)}>{escape(cell)}</td>"
            for cell, weight in zip(cells, found or [0.0] * len(cells), strict=True)
        )
        + "</tr>"
        for (domain, *cells), found in zip(lines, weights, strict=True)
    ]
    return table(f"{show_name(name)}: mean weights", ["domain", *header[1:]], rows)


def _domain_row(
    name: str, found: SliceImportance, task: str, inputs: Sequence[str], most: float
) -> str:
    count = f"<td class=count>{found.rows:,}</td>"
    if few := found.undecided.get(task):
        over = f"<td class=off colspan={1 + len(inputs)}>{escape(in_words(few))}</td>"
        return f"<tr>{row_header(name)}{count}{over}</tr>"
    cells = [f"<td>{escape(show_pair(found.auc[task]))}</td>"]
    for one in inputs:
        loss = found.lost[task][one].kernel
        shade = "" if isinstance(loss.lost, str) else _shade(loss.lost, most)
        interval = show_loss(loss).partition(" ")[2]
        cells.append(
            f"<td{shade}>{escape(show_points(loss))}<small>{escape(interval)}</small></td>"
        )
    return f"<tr>{row_header(name)}{count}{''.join(cells)}</tr>"


def _shade(value: float, most: float) -> str:
    """A cell's colour."""
    if not most or not value:
        return ""
    colour = _LOST if value > 0 else _GAINED
    strength = _STRONGEST * min(abs(value) / most, 1.0)
    return f' style="background:rgba({colour},{strength:.2f})"'


def _cells(cells: Iterable[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _plot(result: Importance, task: str) -> str:
    """Bars of every read input with their intervals, the one that loses most at the top."""
    cells: Mapping[str, object] = result.overall.lost[task]
    names = [name for name in result.by_loss(task) if result.inputs[name].read]
    with mpl.rc_context(STYLE):
        figure, axes = rows_panel([short_label(name) for name in names], _ROW_INCHES)
        axes.axvline(0, color=GREY, linewidth=1)
        spans = []
        for side, colour, shift in _SIDES:
            for place, name in enumerate(names):
                loss = getattr(cells[name], side)
                if isinstance(loss.lost, str):
                    note_undefined(axes, place)
                    continue
                known = not isinstance(loss.ci95, str)
                ends = [end * POINTS for end in (loss.ci95 if known else (loss.lost,) * 2)]
                axes.barh(place + shift, loss.lost * POINTS, _BAR, color=colour, alpha=0.8)
                axes.hlines(place + shift, *ends, color=GREY, linewidth=1.2)
                spans.append([loss.lost * POINTS, *ends])
        low, high = gain_range(spans)
        ends = [end for span in spans for end in span]
        axes.set_xlim(min(low, *ends), max(high, *ends) * 1.02)
        axes.set_title(f"{task.upper()}-AUC")
        axes.set_xlabel("lost, AUC points")
        marks = (("backbone", ORANGE), ("auto", BLUE))
        legend(figure, axes, [(name, {"marker": "s", "color": colour}) for name, colour in marks])
        return svg_text(figure)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
