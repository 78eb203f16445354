"""Draws the report's figures as SVG text: training, gain by domain, calibration. Colours are Okabe
and Ito's, safe for colour-blind readers.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.schema import RANKING_TASKS, TASK_NAMES
from trainer.metrics.formatting import POINTS, is_number
from trainer.metrics.results import Comparison, DomainResult

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8A8A8A"
STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a name is never markup
    "savefig.facecolor": "none",  # the page's own colour shows
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "report",  # equal results give equal files
}
"""What every drawing looks like, for ``matplotlib.rc_context``."""
_ROW_INCHES, _FRAME_INCHES = 0.24, 1.1


def plot_training(history: Sequence[Mapping[str, Any]]) -> str:
    """Training and validation loss, and validation AUC, against the step; ``history`` as
    ``backbone/history.json`` holds it.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 3.0), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        steps = [entry["step"] for entry in history]
        validation = [entry.get("validation") or {} for entry in history]
        _line(loss, steps, [entry.get("train_loss") for entry in history], GREY, "o-", "training")
        _line(
            loss, steps, [figures.get("loss") for figures in validation], BLUE, "s-", "validation"
        )
        loss.set_title("Loss")
        _line(quality, steps, [figures.get("ctr_auc") for figures in validation], BLUE, "o-", "CTR")
        _line(
            quality,
            steps,
            [figures.get("ctcvr_auc") for figures in validation],
            ORANGE,
            "s-",
            "CTCVR",
        )
        quality.set_title("AUC on validation")
        for axes in (loss, quality):
            axes.set_xlabel("step")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
        return svg_text(figure)


def plot_gains(domains: Mapping[str, DomainResult], order: Sequence[str]) -> str:
    """A forest plot: each domain's gain in CTR-AUC and CTCVR-AUC over the backbone, in points, with
    its 95% interval.

    Args:
      domains: by name.
      order: names from top to bottom.
    """
    with mpl.rc_context(STYLE):
        figure, panels = _rows_figure(order, columns=2)
        for axes, task in zip(panels, RANKING_TASKS, strict=True):
            cells = [domains[name].tasks[task]["auc"] for name in order]
            axes.axvline(0, color=GREY, linewidth=1)
            axes.set_xlim(gain_range([_span(cell) for cell in cells if is_number(cell.delta)]))
            active = [domains[name].active for name in order]
            for filled in (True, False):
                rows = [place for place, is_active in enumerate(active) if is_active is filled]
                _gains(axes, {place: cells[place] for place in rows}, filled)
            axes.set_title(f"{task.upper()}-AUC")
            axes.set_xlabel("gain in AUC points (kernel - backbone)")
        return svg_text(figure)


def plot_calibration(domains: Mapping[str, DomainResult], order: Sequence[str]) -> str:
    """Predicted over observed (PCOC) of backbone and kernel for each domain and task; 1 is
    calibrated.
    """
    with mpl.rc_context(STYLE):
        figure, panels = _rows_figure(order, columns=3)
        for axes, task in zip(panels, TASK_NAMES, strict=True):
            axes.axvline(1, color=GREY, linewidth=1)
            places, before, after = [], [], []
            for place, name in enumerate(order):
                cell = domains[name].tasks[task]["pcoc"]
                if is_number(cell.backbone) and is_number(cell.kernel):
                    places.append(place)
                    before.append(cell.backbone)
                    after.append(cell.kernel)
                else:
                    note_undefined(axes, 1.0, place)
            axes.hlines(places, before, after, color=GREY, linewidth=1, zorder=1)
            axes.plot(before, places, "s", color=ORANGE, markersize=5, markerfacecolor="white")
            axes.plot(after, places, "o", color=BLUE, markersize=5)
            axes.set_title(task.upper())
            axes.set_xlabel("predicted / observed")
        panels[0].plot([], [], "s", color=ORANGE, markerfacecolor="white", label="backbone")
        panels[0].plot([], [], "o", color=BLUE, label="kernel")
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        return svg_text(figure)


def _rows_figure(order: Sequence[str], columns: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side with one row for each domain, the first on top."""
    figure = Figure(
        figsize=(9.5, _FRAME_INCHES + _ROW_INCHES * max(len(order), 1)), layout="constrained"
    )
    panels = list(figure.subplots(1, columns, sharey=True))
    first = panels[0]
    first.set_yticks(range(len(order)), labels=list(order))
    first.set_ylim(len(order) - 0.4, -0.6)
    for axes in panels:
        axes.grid(axis="x", alpha=0.25)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    for axes in panels[1:]:
        axes.yaxis.set_visible(False)  # nothing of it would show, and laying it out takes its time
    return figure, panels


def gain_range(spans: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The points shown: 0 and every interval, but not so far that a tiny domain's wide one
    flattens all the others.
    """
    reaches = sorted(max(abs(end) for end in span) for span in spans)
    farthest = max(4.0 * reaches[len(reaches) // 2], 0.1) if reaches else 1.0
    ends = [0.0, *(end for span in spans for end in span)]
    low, high = max(min(ends), -farthest), min(max(ends), farthest)
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin


def _span(cell: Comparison) -> list[float]:
    """The ends of a gain's interval in points; the gain itself twice where the interval is
    undefined.
    """
    ends = (cell.delta, cell.delta) if isinstance(cell.ci95, str) else cell.ci95
    return [float(end) * POINTS for end in ends]


def _gains(axes: Axes, cells: Mapping[int, Comparison], filled: bool) -> None:
    """Draws gains by row, alike ones as one artist: drawing takes most of a report's time."""
    colour = BLUE if filled else GREY
    low, high = axes.get_xlim()
    points: dict[str, list[tuple[float, int]]] = {"<": [], "o": [], ">": []}
    for place, cell in cells.items():
        if isinstance(cell.delta, str):
            note_undefined(axes, 0.0, place)
            continue
        gain = cell.delta * POINTS
        marker = "<" if gain < low else ">" if gain > high else "o"
        points[marker].append((min(max(gain, low), high), place))
    known = [place for place, cell in cells.items() if is_number(cell.delta)]
    starts, ends = (
        zip(*(_span(cells[place]) for place in known), strict=True) if known else ((), ())
    )
    axes.hlines(known, starts, ends, color=colour, linewidth=1.6)
    for marker, drawn in points.items():
        if drawn:
            axes.plot(
                *zip(*drawn, strict=True),
                marker,
                color=colour,
                markersize=5,
                markerfacecolor=colour if filled else "white",
                clip_on=False,
            )


def note_undefined(axes: Axes, x: float, place: int) -> None:
    """Writes that a row has no value, at ``x``."""
    axes.annotate(
        "undefined",
        (x, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=GREY,
        fontsize=8,
    )


def _line(
    axes: Axes, steps: Sequence[float], values: Sequence[Any], colour: str, style: str, label: str
) -> None:
    """A curve with a gap where a figure is missing or undefined."""
    axes.plot(
        steps,
        [value if is_number(value) else math.nan for value in values],
        style,
        color=colour,
        markersize=3.5,
        label=label,
    )


def svg_text(figure: Figure) -> str:
    """The figure as SVG text, without its date; call it inside the context of ``STYLE``, since
    ticks are made only now.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
