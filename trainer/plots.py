"""The report's figures, as SVG text: training, gain by domain, calibration. Colours are Okabe and Ito's, safe for colour-blind readers."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.schema import TASK_NAMES
from trainer.table import POINTS, is_number

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8A8A8A"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "report",  # equal results give equal files
}
_ROW_INCHES, _FRAME_INCHES = 0.24, 1.1


def plot_training(history: Sequence[Mapping[str, Any]]) -> str:
    """Training and validation loss, and validation AUC, against the step; ``history`` as ``backbone/history.json`` holds it."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.5, 3.0), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        steps = [entry["step"] for entry in history]
        validation = [entry.get("validation") or {} for entry in history]
        _line(loss, steps, [entry.get("train_loss") for entry in history], _GREY, "o-", "training")
        _line(loss, steps, [figures.get("loss") for figures in validation], _BLUE, "s-", "validation")
        loss.set_title("Loss")
        _line(quality, steps, [figures.get("ctr_auc") for figures in validation], _BLUE, "o-", "CTR")
        _line(quality, steps, [figures.get("ctcvr_auc") for figures in validation], _ORANGE, "s-", "CTCVR")
        quality.set_title("AUC on validation")
        for axes in (loss, quality):
            axes.set_xlabel("step")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
        return _svg(figure)


def plot_gains(domains: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> str:
    """A forest plot: each domain's gain in CTR-AUC and CTCVR-AUC over the backbone, in points, with its 95% interval.

    Args:
      domains: as ``metrics.json`` holds them.
      order: names from top to bottom.
    """
    with mpl.rc_context(_STYLE):
        figure, panels = _rows_figure(order, columns=2)
        for axes, task in zip(panels, ("ctr", "ctcvr"), strict=True):
            cells = [domains[name][task]["auc"] for name in order]
            low, high = _gain_range(cells)
            axes.axvline(0, color=_GREY, linewidth=1)
            axes.set_xlim(low, high)
            for place, (name, cell) in enumerate(zip(order, cells, strict=True)):
                _gain(axes, place, cell, filled=bool(domains[name]["active"]))
            axes.set_title(f"{task.upper()}-AUC")
            axes.set_xlabel("gain in AUC points (kernel - backbone)")
        return _svg(figure)


def plot_calibration(domains: Mapping[str, Mapping[str, Any]], order: Sequence[str]) -> str:
    """Predicted over observed (PCOC) of backbone and kernel for each domain and task; 1 is calibrated."""
    with mpl.rc_context(_STYLE):
        figure, panels = _rows_figure(order, columns=3)
        for axes, task in zip(panels, TASK_NAMES, strict=True):
            axes.axvline(1, color=_GREY, linewidth=1)
            for place, name in enumerate(order):
                cell = domains[name][task]["pcoc"]
                if is_number(cell["backbone"]) and is_number(cell["kernel"]):
                    axes.plot([cell["backbone"], cell["kernel"]], [place, place], color=_GREY, linewidth=1, zorder=1)
                    axes.plot(cell["backbone"], place, "s", color=_ORANGE, markersize=5, markerfacecolor="white")
                    axes.plot(cell["kernel"], place, "o", color=_BLUE, markersize=5)
                else:
                    _note_undefined(axes, 1.0, place)
            axes.set_title(task.upper())
            axes.set_xlabel("predicted / observed")
        panels[0].plot([], [], "s", color=_ORANGE, markerfacecolor="white", label="backbone")
        panels[0].plot([], [], "o", color=_BLUE, label="kernel")
        figure.legend(loc="outside upper right", ncols=2, frameon=False)
        return _svg(figure)


def _rows_figure(order: Sequence[str], columns: int) -> tuple[Figure, list[Axes]]:
    """Panels side by side with one row for each domain, the first on top."""
    figure = Figure(figsize=(9.5, _FRAME_INCHES + _ROW_INCHES * max(len(order), 1)), layout="constrained")
    panels = list(figure.subplots(1, columns, sharey=True))
    first = panels[0]
    first.set_yticks(range(len(order)), labels=list(order))
    for label in first.get_yticklabels():
        label.set_parse_math(False)  # a name is never markup
    first.set_ylim(len(order) - 0.4, -0.6)
    for axes in panels:
        axes.grid(axis="x", alpha=0.25)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    return figure, panels


def _gain_range(cells: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The points shown: 0 and every domain, but not so far that a tiny domain's wide interval flattens all the others."""
    spans = [_span(cell) for cell in cells if is_number(cell["delta"])]
    reaches = sorted(max(abs(end) for end in span) for span in spans)
    farthest = max(4.0 * reaches[len(reaches) // 2], 0.1) if reaches else 1.0
    ends = [0.0, *(end for span in spans for end in span)]
    low, high = max(min(ends), -farthest), min(max(ends), farthest)
    margin = 0.06 * max(high - low, 0.1)
    return low - margin, high + margin


def _span(cell: Mapping[str, Any]) -> list[float]:
    """The ends of a gain's interval in points; the gain itself twice where the interval is undefined."""
    ends = [cell["delta"], cell["delta"]] if isinstance(cell["ci95"], str) else cell["ci95"]
    return [end * POINTS for end in ends]


def _gain(axes: Axes, place: int, cell: Mapping[str, Any], filled: bool) -> None:
    if not is_number(cell["delta"]):
        _note_undefined(axes, 0.0, place)
        return
    colour = _BLUE if filled else _GREY
    axes.plot(_span(cell), [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    gain, (low, high) = cell["delta"] * POINTS, axes.get_xlim()
    marker = "<" if gain < low else ">" if gain > high else "o"
    fill = colour if filled else "white"
    axes.plot(min(max(gain, low), high), place, marker, color=colour, markersize=5, markerfacecolor=fill, clip_on=False)


def _note_undefined(axes: Axes, x: float, place: int) -> None:
    axes.annotate("undefined", (x, place), xytext=(4, 0), textcoords="offset points", va="center", color=_GREY, fontsize=8)


def _line(axes: Axes, steps: Sequence[float], values: Sequence[Any], colour: str, style: str, label: str) -> None:
    """A curve with a gap where a figure is missing or undefined."""
    axes.plot(steps, [value if is_number(value) else math.nan for value in values], style, color=colour, markersize=3.5, label=label)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
