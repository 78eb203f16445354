"""Draws the report's figures of domains, a row each: gain over the backbone, and calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from trainer.metrics.formatting import POINTS, is_number
from trainer.metrics.results import EvaluationResult, Interval
from trainer.metrics.results import Figure as Value
from trainer.metrics.task_metrics import UNDEFINED
from trainer.reports.plots import (
    BLUE,
    GREEN,
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
from trainer.reports.text_table import show_undecidable

_AUTO = "auto"
_ALL_TRAFFIC: dict[str, Any] = {"marker": "D", "color": GREEN, "markerfacecolor": "white"}


@dataclass(frozen=True)
class Row:
    """A row of a drawing of domains: a domain, or ``auto`` over all rows.

    Attributes:
      label: on the left.
      filled: whether its kernel is served.
      backbone: the metric under the backbone.
      all: under the kernel of all traffic.
      kernel: under its own.
      ci95: of kernel - backbone; undefined where it was not worked out.
      missing: what is written where there is no figure.
    """

    label: str
    filled: bool
    backbone: Value
    all: Value
    kernel: Value
    ci95: Interval
    missing: str = UNDEFINED

    @property
    def gain(self) -> float | None:
        """Kernel - backbone, in points; None where undefined."""
        return _points(self.kernel, self.backbone)

    @property
    def gain_of_all(self) -> float | None:
        """That of the kernel of all traffic."""
        return _points(self.all, self.backbone)

    @property
    def span(self) -> list[float]:
        """The ends of the gain's interval in points; the gain twice where there is none."""
        if isinstance(self.ci95, str):
            return [] if self.gain is None else [self.gain, self.gain]
        return [float(end) * POINTS for end in self.ci95]


def plot_gains(result: EvaluationResult, order: Sequence[str]) -> list[str]:
    """Forest plots of the AUC of each target over all rows: each domain's gain over the backbone,
    in points, with its 95% interval, and that of the kernel of all traffic on the same rows; above
    them ``auto``.

    Args:
      result: of the evaluation.
      order: names of domains from top to bottom.
    """
    drawn = []
    with mpl.rc_context(STYLE):
        for task in result.ranked:
            rows = _rows(result, order, task, "auc")
            figure, axes = rows_panel([row.label for row in rows])
            axes.axvline(0, color=GREY, linewidth=1)
            spans = [row.span for row in rows if row.gain is not None]
            axes.set_xlim(gain_range(spans))
            _points_of_all(axes, rows)
            for filled in (True, False):
                _gains(
                    axes,
                    {place: row for place, row in enumerate(rows) if row.filled is filled},
                    filled,
                )
            axes.set_title(f"{task.upper()}-AUC")
            axes.set_xlabel("gain, AUC points")
            entries: list[tuple[str, dict[str, Any]]] = [
                ("kernel", {"marker": "o", "color": BLUE}),
                ("off", {"marker": "o", "color": GREY, "markerfacecolor": "white"}),
            ]
            if result.has_all:
                entries.append(("kernel of all traffic", _ALL_TRAFFIC))
            legend(figure, axes, entries)
            drawn.append(svg_text(figure))
    return drawn


def plot_calibration(result: EvaluationResult, order: Sequence[str]) -> list[str]:
    """Predicted over observed (PCOC) of backbone, kernel of all traffic and kernel, for each task,
    ``auto`` and every domain; 1 is calibrated.
    """
    drawn = []
    with mpl.rc_context(STYLE):
        for task in result.overall:
            rows = _rows(result, order, task, "pcoc")
            figure, axes = rows_panel([row.label for row in rows])
            axes.axvline(1, color=GREY, linewidth=1)
            places, before, after = [], [], []
            for place, row in enumerate(rows):
                if is_number(row.backbone) and is_number(row.kernel):
                    places.append(place)
                    before.append(row.backbone)
                    after.append(row.kernel)
                else:
                    note_undefined(axes, place, row.missing)
            between = [(place, row.all) for place, row in enumerate(rows) if is_number(row.all)]
            axes.hlines(places, before, after, color=GREY, linewidth=1, zorder=1)
            sides: list[tuple[str, Sequence[Any], Sequence[int], dict[str, Any]]] = [
                (
                    "backbone",
                    before,
                    places,
                    {"marker": "s", "color": ORANGE, "markerfacecolor": "white"},
                ),
                (
                    "kernel of all traffic",
                    [value for _, value in between],
                    [place for place, _ in between],
                    _ALL_TRAFFIC,
                ),
                ("kernel", after, places, {"marker": "o", "color": BLUE}),
            ]
            for _, values, at, style in sides:
                axes.plot(values, at, linestyle="", markersize=5, **style)
            axes.set_title(task.upper())
            axes.set_xlabel("predicted / observed")
            legend(figure, axes, [(name, style) for name, values, _, style in sides if len(values)])
            drawn.append(svg_text(figure))
    return drawn


def _rows(result: EvaluationResult, order: Sequence[str], task: str, metric: str) -> list[Row]:
    overall = result.overall[task][metric]
    missing = show_undecidable(result, task) or UNDEFINED
    sides = (overall.backbone, overall.all, overall.kernel)
    rows = [Row(_AUTO, True, *sides, UNDEFINED, missing)]
    for name in order:
        domain = result.domains[name]
        cell = domain.tasks[task][metric]
        missing = show_undecidable(domain, task) or UNDEFINED
        sides = (cell.backbone, cell.all, cell.kernel)
        rows.append(Row(short_label(name), domain.active, *sides, cell.ci95, missing))
    return rows


def _points(value: Value, reference: Value) -> float | None:
    if isinstance(value, str) or isinstance(reference, str):
        return None
    return (value - reference) * POINTS


def _points_of_all(axes: Axes, rows: Sequence[Row]) -> None:
    """Marks the gains of the kernel of all traffic; one beyond the edge stands at it."""
    low, high = axes.get_xlim()
    known = [
        (min(max(gain, low), high), place)
        for place, row in enumerate(rows)
        if (gain := row.gain_of_all) is not None
    ]
    if known:
        axes.plot(
            *zip(*known, strict=True), linestyle="", markersize=7, clip_on=False, **_ALL_TRAFFIC
        )


def _gains(axes: Axes, rows: Mapping[int, Row], filled: bool) -> None:
    """Draws gains by place, alike ones as one artist: drawing takes most of a report's time."""
    colour = BLUE if filled else GREY
    low, high = axes.get_xlim()
    points: dict[str, list[tuple[float, int]]] = {"<": [], "o": [], ">": []}
    known = {place: row for place, row in rows.items() if row.gain is not None}
    for place, row in rows.items():
        if row.gain is None:
            note_undefined(axes, place, row.missing)
            continue
        marker = "<" if row.gain < low else ">" if row.gain > high else "o"
        points[marker].append((min(max(row.gain, low), high), place))
    spans = [row.span for row in known.values()]
    axes.hlines(
        list(known),
        [start for start, _ in spans],
        [end for _, end in spans],
        color=colour,
        linewidth=1.6,
    )
    for marker, drawn in points.items():
        if drawn:
            axes.plot(
                *zip(*drawn, strict=True),
                marker,
                color=colour,
                markersize=4,
                markerfacecolor=colour if filled else "white",
                clip_on=False,
            )
