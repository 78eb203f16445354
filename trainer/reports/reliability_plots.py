"""Draws reliability curves: what was predicted against what happened."""

from typing import Any

import matplotlib as mpl

from trainer.metrics.formatting import is_number
from trainer.metrics.results import CalibrationPair, EvaluationResult
from trainer.reports.plots import BLUE, GREY, ORANGE, STYLE, legend, panel, svg_text
from trainer.reports.text_table import show_figure

_SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "backbone": ("backbone", {"marker": "s", "color": ORANGE, "markerfacecolor": "white"}),
    "auto": ("kernel", {"marker": "o", "color": BLUE}),
}


def drawn_tasks(result: EvaluationResult) -> dict[str, CalibrationPair]:
    """The tasks that have a curve to draw: those that are decidable."""
    curves = result.calibration or {}
    return {task: pair for task, pair in curves.items() if is_number(pair.kernel.ece)}


def plot_reliability(result: EvaluationResult) -> list[str]:
    """Mean prediction (across) and what was observed (up) of each bin, for every task of
    ``drawn_tasks``, backbone and auto; on the diagonal predictions are right.
    """
    drawn = []
    with mpl.rc_context(STYLE):
        for task, pair in drawn_tasks(result).items():
            figure, axes = panel(2.6, left=0.65, bottom=0.85)
            entries = []
            most = 0.0
            for name, (side, style) in _SIDES.items():
                curve = getattr(pair, side)
                x, y = (
                    [getattr(of, end) for of in curve.bins] for end in ("predicted", "observed")
                )
                axes.plot(x, y, linewidth=1, markersize=4.5, **style)
                entries.append((f"{name}, error {show_figure(curve.ece)}", style))
                most = max(most, *x, *y)
            axes.plot([0, most], [0, most], color=GREY, linewidth=1, zorder=1)
            axes.set_title(task.upper())
            axes.set_xlabel("predicted")
            axes.set_ylabel("observed")
            axes.grid(alpha=0.25)
            legend(figure, axes, entries)
            drawn.append(svg_text(figure))
    return drawn
