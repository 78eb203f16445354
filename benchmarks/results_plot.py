"""``python -m benchmarks.results_plot`` draws the README's plot of the gains on real logs from the
table in ``docs/results.md``, once for light pages and once for dark ones.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures.marked_page import MarkedPage
from benchmarks.figures.tables import read_markdown
from configs.cli import CommandParser, run
from configs.errors import InputError
from configs.files import write_bytes

DOCS = Path(__file__).parents[1] / "docs"
_TABLE = "globo/main/test"
"""The figures of ``docs/results.md`` that are drawn, by the name between their markers."""

_GAIN_TITLE, _SEEDS_TITLE = " gain", "by seed"
"""How the title of a task's gains ends, and that of the column behind it."""

SHOWN = {
    "kernels, active ones": "kernels, active ones",
    "kernels": "kernels, active or not",
    "kernel of all traffic": "kernel of all traffic",
    "last layer": "last layer",
    "last two layers": "last two layers",
    "plain bottleneck adapter": "bottleneck adapter",
    "LoRA on the towers": "LoRA on the towers",
    "full fine-tuning per domain": "full fine-tuning",
    "backbone updated on the window": "backbone updated",
    "backbone retrained, all days": "backbone retrained",
    "STAR, all days": "STAR",
    "PEPNet, all days": "PEPNet",
    "HAMUR, all days": "HAMUR",
    "LightGBM, all days": "LightGBM",
}
"""Methods that are drawn, as the table calls them, with their short names."""

_GAIN = re.compile(r"([+-]\d+\.\d+) \[([+-]\d+\.\d+), ([+-]\d+\.\d+)\]")
_WIDTH, _NAMES_WIDTH, _HEIGHT = 3.6, 2.8, 6.9  # inches: of a task, of the names, of all
COLOURS = {
    "light": {"ink": "#1f2328", "soft": "#57606a", "grid": "#d0d7de", "kernel": "#bc4c00"},
    "dark": {"ink": "#e6edf3", "soft": "#9da7b3", "grid": "#30363d", "kernel": "#f0883e"},
}
"""Of the page: ink, soft ink, lines of the grid, and what is drawn of kernels."""


@dataclass(frozen=True)
class Gain:
    """A method's mean gain over the frozen backbone in one task, in AUC points.

    Attributes:
      mean: over the domains and the seeds.
      low, high: the 95% interval of the mean, from resampled users.
      seeds: the mean over the domains under each seed.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]

    def __str__(self) -> str:
        """The figures as the table has them."""
        by_seed = " ".join(f"{value:+.2f}" for value in self.seeds)
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}], by seed {by_seed}"


Gains = dict[str, dict[str, Gain]]
"""Method -> task -> its gain, methods and tasks in the order of the table."""


def read_gains(text: str) -> Gains:
    """Reads the gains of every method in every task from the marked table of
    ``docs/results.md``.

    Raises:
      InputError: the table, a method of ``SHOWN`` or a figure is not there.
    """
    page = MarkedPage(text, "docs/results.md")
    if _TABLE not in page.names:
        raise InputError(f"docs/results.md: expected <!-- figures: {_TABLE} --> above the table")
    content = page.content(_TABLE)
    titles, *rows = read_markdown(content) if content.startswith("|") else [[]]
    places = {
        title.removesuffix(_GAIN_TITLE): place
        for place, (title, behind) in enumerate(pairwise(titles))
        if title.endswith(_GAIN_TITLE) and behind == _SEEDS_TITLE
    }
    if not places:
        raise InputError(
            f"docs/results.md: {_TABLE}: expected columns 'TASK{_GAIN_TITLE}' and"
            f" '{_SEEDS_TITLE}', received: {', '.join(titles) or 'no table'}"
        )
    gains = {
        row[0]: {task: _gain(row, *row[place : place + 2]) for task, place in places.items()}
        for row in rows
    }
    if missing := SHOWN.keys() - gains.keys():
        raise InputError(f"docs/results.md: no row for: {', '.join(sorted(missing))}")
    return gains


def _gain(row: Sequence[str], interval: str = "", seeds: str = "") -> Gain:
    matched = _GAIN.fullmatch(interval)
    try:
        by_seed = tuple(map(float, seeds.split()))
    except ValueError:
        by_seed = ()
    if not matched or not by_seed:
        raise InputError(
            "docs/results.md: expected '+1.07 [+1.00, +1.13]' and '+0.34 +1.24 +1.63' in a row,"
            f" received: {' | '.join(row)}"
        )
    mean, low, high = map(float, matched.groups())
    return Gain(mean, low, high, by_seed)


def describe(gains: Gains) -> str:
    """The plot in words: a line for each method that is drawn, with every figure."""
    return "\n".join(
        f"{name}: " + "; ".join(f"{task} {gain}" for task, gain in gains[method].items())
        for method, name in SHOWN.items()
    )


def draw(gains: Gains, colours: dict[str, str]) -> str:
    """The plot as SVG text. ``colours`` has ``ink``, ``soft``, ``grid`` and ``kernel``."""
    style: dict[str, Any] = {
        "font.size": 16,
        "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "results",  # equal figures give equal files
        "text.color": colours["ink"],
        "axes.edgecolor": colours["soft"],
        "axes.labelcolor": colours["soft"],
        "xtick.color": colours["soft"],
        "ytick.color": colours["ink"],
    }
    with mpl.rc_context(style):
        tasks = list(next(iter(gains.values())))
        width = _NAMES_WIDTH + _WIDTH * len(tasks)
        figure = Figure(figsize=(width, _HEIGHT))
        panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            _draw_task(axes, gains, task, colours)
        left = panels[0]
        left.set_yticks(range(len(SHOWN)), list(SHOWN.values()))
        left.invert_yaxis()
        figure.legend(
            *left.get_legend_handles_labels(),
            loc="lower center",
            ncols=2,
            frameon=False,
            labelcolor=colours["ink"],
        )
        figure.subplots_adjust(
            left=round(_NAMES_WIDTH / width, 4),
            right=round(1.0 - 0.15 / width, 4),
            top=0.93,
            bottom=0.185,
            wspace=0.07,
        )
        buffer = io.StringIO()
        metadata = {"Date": None, "Description": describe(gains)}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return buffer.getvalue()


def _draw_task(axes: Axes, gains: Gains, task: str, colours: dict[str, str]) -> None:
    labels: dict[str, str] = {"mean": "mean, 95% interval over users", "seed": "each seed"}
    axes.axvline(0.0, color=colours["soft"], linewidth=1.2)
    for place, method in enumerate(SHOWN):
        gain = gains[method][task]
        colour = colours["kernel"] if "kernel" in method else colours["ink"]
        axes.plot(
            gain.seeds,
            [place] * len(gain.seeds),
            "o",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=colour,
            label=labels.pop("seed", None),
        )
        axes.plot([gain.low, gain.high], [place, place], color=colour, linewidth=6, alpha=0.55)
        axes.plot(gain.mean, place, "D", color=colour, markersize=6, label=labels.pop("mean", None))
    axes.set_title(task, fontsize=17, loc="left")
    axes.set_xlabel("gain, AUC points")
    axes.set_xlim(-1.5, 1.85)
    axes.set_xticks([-1, 0, 1])
    axes.grid(axis="x", color=colours["grid"])
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["left", "top", "right"]].set_visible(False)


def main() -> None:
    """Writes ``docs/images/results-light.svg`` and ``docs/images/results-dark.svg``."""
    CommandParser(prog="python -m benchmarks.results_plot", description=__doc__).parse_args()
    gains = read_gains((DOCS / "results.md").read_text(encoding="utf-8"))
    for name, colours in COLOURS.items():
        write_bytes(DOCS / "images" / f"results-{name}.svg", draw(gains, colours).encode())


if __name__ == "__main__":
    run(main)
