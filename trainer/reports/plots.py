"""Draws the report's figures as SVG text: the style of all, and the training. A figure has one
panel, so that a page sets several side by side or one below the other. Colours are Okabe and Ito's,
safe for colour-blind readers.
"""

import io
import math
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.metrics.formatting import is_number
from trainer.metrics.task_metrics import UNDEFINED
from trainer.reports.text_table import show_name

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"
STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a name is never markup
    "savefig.facecolor": "none",  # the page's own colour shows
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "svg.hashsalt": "report",  # equal results give equal files
    "svg.fonttype": "none",  # text, which the reader's fonts draw in any script
}
"""What every drawing looks like, for ``matplotlib.rc_context``."""
_WIDTH_INCHES = 4.4
"""At 420 pixels a point is more than one pixel then, so text of 9 points can be read."""
_TOP_INCHES = 0.3
_LETTER_INCHES = 0.078  # of 9 points: what is wide enough is said, since measuring takes long
_LONGEST_LABEL = 26
_AUC = "_auc"
_LINES = ((BLUE, "o-"), (ORANGE, "s-"), (GREEN, "^-"), (GREY, "v-"))


def plot_training(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Training and validation loss, and validation AUC, against the step; ``history`` as
    ``backbone/history.json`` holds it.
    """
    steps = [entry["step"] for entry in history]
    validation = [entry.get("validation") or {} for entry in history]
    tasks = dict.fromkeys(
        name.removesuffix(_AUC) for figures in validation for name in figures if name.endswith(_AUC)
    )
    curves: dict[str, list[tuple[list[Any], str, str, str]]] = {
        "Loss": [
            ([entry.get("train_loss") for entry in history], GREY, "o-", "training"),
            ([figures.get("loss") for figures in validation], BLUE, "s-", "validation"),
        ],
        "AUC on validation": [
            ([figures.get(f"{task}{_AUC}") for figures in validation], colour, style, task.upper())
            for task, (colour, style) in zip(tasks, cycle(_LINES), strict=False)
        ],
    }
    drawn = []
    with mpl.rc_context(STYLE):
        for title, lines in curves.items():
            figure, axes = panel(2.2, left=0.55, bottom=0.5)
            for line in lines:
                _line(axes, steps, *line)
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False)
            drawn.append(svg_text(figure))
    return drawn


def panel(height: float, left: float, bottom: float) -> tuple[Figure, Axes]:
    """One drawing: axes of a height, with room on the left, and below for ticks and a legend; in
    inches.
    """
    whole = height + _TOP_INCHES + bottom
    figure = Figure(figsize=(_WIDTH_INCHES, whole))
    place = (left / _WIDTH_INCHES, bottom / whole)
    size = (0.96 - left / _WIDTH_INCHES, height / whole)
    return figure, figure.add_axes((*place, *size))


def rows_panel(labels: Sequence[str], row: float = 0.24) -> tuple[Figure, Axes]:
    """A panel with rows from top to bottom, at heights 0, 1, .., each with its label on the left.

    Args:
      labels: as ``short_label`` has them.
      row: height of each in inches.
    """
    longest = max(_cells(label) for label in labels)
    figure, axes = panel(row * len(labels), left=0.15 + _LETTER_INCHES * longest, bottom=0.75)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks([])
    for place, label in enumerate(labels):
        axes.text(
            -0.02, place, label, transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    axes.grid(axis="x", alpha=0.25)
    axes.spines["left"].set_visible(False)
    return figure, axes


def short_label(name: str) -> str:
    """A name, cut in its middle where it is long: the tables have it whole."""
    shown = show_name(name)
    if len(shown) <= _LONGEST_LABEL:
        return shown
    half = (_LONGEST_LABEL - 1) // 2
    return f"{shown[:-half][: _LONGEST_LABEL - 1 - half]}\u2026{shown[-half:]}"


def _cells(label: str) -> int:
    """Width of a label in letters, of which East Asian ones take two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in label)


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


def note_undefined(axes: Axes, place: int, words: str = UNDEFINED) -> None:
    """Writes that a row has no value, or why, at the right end of the row: where its scale ends is
    not known yet, and words beyond it would be cut.
    """
    axes.text(
        0.99,
        place,
        words,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="center",
        color=GREY,
        fontsize=8,
    )


def legend(figure: Figure, axes: Axes, entries: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Below the panel; none of no entries, such as where every figure is undefined."""
    if not entries:
        return
    for name, style in entries:
        axes.plot([], [], linestyle="", markersize=5, label=name, **style)
    figure.legend(
        loc="lower center",
        ncols=len(entries),
        frameon=False,
        borderaxespad=0.1,
        handletextpad=0.2,
        columnspacing=1.2,
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's has it
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
