"""A study's plots as SVG text. A series keeps its colour and marker in all of a report's plots
where that leaves them apart.

Plots, each with a ``kind``, a ``title``, axis labels and no other text than names:

- ``curve``: ``{"series": [{"name", "x": [numbers or texts], "y", "low", "high"}], "reference":
  [{"name", "y"}], "log_x"}``;
- ``forest``: ``{"groups": [{"name", "points": [{"series", "value", "low", "high"}]}]}``, one row
  for each group;
- ``scatter``: ``{"points": [{"name", "x", "y", "low", "high"}], "log_x"}``.

Low and high are the ends of an interval, and may be missing; a value that is None is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from benchmarks.method.text import interval, is_finite, plain
from trainer.reports.plots import BLUE, GREY, ORANGE, STYLE, gain_range, note_undefined, svg_text

_COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, without the yellow that white paper swallows."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("--", ":", "-.")
_WIDTH, _NAME_WIDTH = 9.5, 36


class _Look(NamedTuple):
    """How a series looks: from the eighth on, with colours used up, dashed and hollow."""

    colour: str
    marker: str
    hollow: bool

    def marks(self) -> dict[str, Any]:
        """What a marker looks like, for any line of matplotlib."""
        fill = "white" if self.hollow else self.colour
        return {
            "color": self.colour,
            "marker": self.marker,
            "markersize": 5,
            "markeredgewidth": 1,
            "markerfacecolor": fill,
        }


def draw_plot(plot: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """A plot as SVG text.

    Args:
      plot: as the module describes it.
      known: names of a report's series in order, as ``series_names`` gives them, so that each looks
        the same in every plot.

    Raises:
      ValueError: a kind of plot that there is not.
    """
    draw = {"curve": _draw_curve, "forest": _draw_forest, "scatter": _draw_scatter}.get(
        plot["kind"]
    )
    if draw is None:
        raise ValueError(
            f"plot '{plot['title']}': kind: expected curve, forest or scatter; received"
            f" '{plot['kind']}'"
        )
    with mpl.rc_context(STYLE):
        return svg_text(draw(plot, _looks(series_names([plot]), known)))


def series_names(plots: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of all series, each once, in the order in which they come."""
    names: dict[str, None] = {}
    for plot in plots:
        if plot["kind"] == "forest":
            found = [point["series"] for group in plot["groups"] for point in group["points"]]
        else:
            found = [
                item["name"] for item in plot["series" if plot["kind"] == "curve" else "points"]
            ]
        names |= dict.fromkeys(found)
    return list(names)


def _looks(names: Sequence[str], known: Sequence[str]) -> dict[str, _Look]:
    slots = [known.index(name) if name in known else place for place, name in enumerate(names)]
    if len({slot % len(_COLOURS) for slot in slots}) < min(len(names), len(_COLOURS)):
        slots = list(range(len(names)))  # two of the few would share a colour
    count = len(_COLOURS)
    looks = [
        _Look(
            _COLOURS[slot % count],
            _MARKERS[(slot + slot // (2 * count)) % count],
            slot // count % 2 == 1,
        )
        for slot in slots
    ]
    return dict(zip(names, looks, strict=True))


def _draw_curve(plot: Mapping[str, Any], looks: Mapping[str, _Look]) -> Figure:
    figure, axes = _frame(plot)
    series = plot["series"]
    places = list(dict.fromkeys(x for item in series for x in item["x"]))
    named = any(isinstance(x, str) for x in places)
    where = {x: place for place, x in enumerate(places)} if named else {x: x for x in places}
    for number, item in enumerate(series):
        ends = [item.get(end) or [None] * len(item["y"]) for end in ("low", "high")]
        cells = [
            (where[x], {"value": y, "low": low, "high": high})
            for x, y, low, high in zip(item["x"], item["y"], *ends, strict=True)
        ]
        aside = min(4.0, 24.0 / len(series)) * (number - (len(series) - 1) / 2)
        _draw_series(
            axes,
            cells,
            looks[item["name"]],
            item["name"],
            "--" if looks[item["name"]].hollow else "-",
            aside,
        )
    for number, reference in enumerate(plot.get("reference") or ()):
        if is_finite(reference["y"]):
            style = _DASHES[number % len(_DASHES)]
            axes.axhline(
                reference["y"],
                color=GREY,
                linewidth=1.2,
                linestyle=style,
                label=_short(reference["name"]),
                zorder=1,
            )
    if named:
        axes.set_xticks(range(len(places)), labels=[_short(x) for x in places])
        if sum(len(str(x)) + 2 for x in places) > 90:
            axes.tick_params(axis="x", labelrotation=30)
    else:
        _scale_x(axes, [x for x in places if is_finite(x)], bool(plot.get("log_x")))
    _add_legend(figure, axes)
    return figure


def _draw_scatter(plot: Mapping[str, Any], looks: Mapping[str, _Look]) -> Figure:
    figure, axes = _frame(plot)
    named: set[str] = set()
    for point in plot["points"]:
        if is_finite(point["x"]) and is_finite(point["y"]):
            label = "" if point["name"] in named else point["name"]
            named.add(point["name"])
            _draw_series(
                axes,
                [(point["x"], {**point, "value": point["y"]})],
                looks[point["name"]],
                label,
                "",
            )
    _scale_x(
        axes,
        [point["x"] for point in plot["points"] if is_finite(point["x"])],
        bool(plot.get("log_x")),
        at_values=False,
    )
    _add_legend(figure, axes)
    return figure


def _draw_forest(plot: Mapping[str, Any], looks: Mapping[str, _Look]) -> Figure:
    groups, step = plot["groups"], 0.8 / max(len(looks), 1)
    columns = max(
        1, min(len(looks), 120 // (max((len(_short(name)) for name in looks), default=0) + 8))
    )
    height = (
        0.9 + 0.18 * -(-len(looks) // columns) + max(len(groups), 1) * (0.16 + 0.1 * len(looks))
    )
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    points = [
        (row, point)
        for row, group in enumerate(groups)
        for point in group["points"]
        if is_finite(point["value"])
    ]
    axes.set_xlim(
        gain_range([interval(point) or (point["value"], point["value"]) for _, point in points])
    )
    low, high = axes.get_xlim()
    axes.axvline(0, color=GREY, linewidth=1, zorder=1)
    offsets = {name: step * (place - (len(looks) - 1) / 2) for place, name in enumerate(looks)}
    for row, point in points:
        look, place = looks[point["series"]], row + offsets[point["series"]]
        if ends := interval(point):
            axes.plot(ends, [place, place], color=look.colour, linewidth=1.4, solid_capstyle="butt")
        marker = "<" if point["value"] < low else ">" if point["value"] > high else look.marker
        shown = min(max(point["value"], low), high)
        axes.plot(
            shown,
            place,
            linestyle="",
            clip_on=False,
            zorder=3,
            **(look.marks() | {"marker": marker}),
        )
    for row, group in enumerate(groups):
        if not any(is_finite(point["value"]) for point in group["points"]):
            note_undefined(axes, row)
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color=GREY, alpha=0.1, linewidth=0, zorder=0)
    for name, look in looks.items():
        axes.plot([], [], linewidth=1.4, label=_short(name), **look.marks())
    axes.set_yticks(range(len(groups)), labels=[_short(group["name"]) for group in groups])
    axes.set_ylim(max(len(groups), 1) - 0.5, -0.5)
    axes.set_xlabel(plain(plot["x_label"]))
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if looks:
        figure.legend(loc="outside upper left", ncols=columns, frameon=False)
    return figure


def _frame(plot: Mapping[str, Any]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(plain(plot["x_label"]))
    axes.set_ylabel(plain(plot["y_label"]))
    axes.grid(alpha=0.25)
    return figure, axes


def _draw_series(
    axes: Axes,
    cells: Sequence[tuple[float, Mapping[str, Any]]],
    look: _Look,
    name: str,
    style: str,
    aside: float = 0.0,
) -> None:
    """A line in a style (``-``, none where empty) through the values that there are, and their
    intervals; ``aside`` is in 1/72 inch.

    Series at equal x stand beside each other, so that their intervals do not cover each other.
    """
    shift = axes.transData + ScaledTranslation(aside / 72, 0, axes.figure.dpi_scale_trans)
    known = [
        (x, cell["value"] if is_finite(x) and is_finite(cell["value"]) else float("nan"))
        for x, cell in cells
    ]
    if not any(is_finite(y) for _, y in known):
        return
    spans = [(x, end) for x, cell in cells if is_finite(x) for end in interval(cell) or ()]
    for (x, low), (_, high) in zip(spans[::2], spans[1::2], strict=True):
        axes.add_artist(
            Line2D(
                [x, x], [low, high], color=look.colour, linewidth=1.2, alpha=0.7, transform=shift
            )
        )
    line = Line2D(*zip(*known, strict=True), transform=shift, zorder=3)
    line.set(label=_short(name) if name else "_", linewidth=1.4, linestyle=style, **look.marks())
    axes.add_artist(line)
    # Given by hand, because a line that stands aside does not say where its values are.
    axes.update_datalim([spot for spot in (*known, *spans) if is_finite(spot[1])])
    axes.autoscale_view()


def _scale_x(
    axes: Axes, values: Sequence[float], logarithmic: bool, at_values: bool = True
) -> None:
    """Sets the scale, and ticks at the values themselves where these are few and apart."""
    positive = [value for value in values if value > 0]
    if logarithmic and positive:
        if len(positive) < len(values):
            axes.set_xscale(
                "symlog", linthresh=min(positive), linscale=0.5
            )  # a sweep may begin at 0
        else:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _show_tick(value)))
    ticks = sorted(set(values))
    scale = axes.xaxis.get_transform()
    spots = [float(spot) for spot in scale.transform(ticks)] if ticks else []
    gaps = [right - left for left, right in pairwise(spots)]
    if gaps:
        margin = 0.06 * (spots[-1] - spots[0])
        axes.set_xlim(*scale.inverted().transform([spots[0] - margin, spots[-1] + margin]))
    if at_values and 2 <= len(ticks) <= 12 and min(gaps) >= 0.05 * (spots[-1] - spots[0]):
        axes.set_xticks(ticks, labels=[_show_tick(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())


def _show_tick(value: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (1e4 if letter == "k" else factor):
            return f"{value / factor:g}{letter}"
    return f"{value:g}"


def _add_legend(figure: Figure, axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", frameon=False)
    else:
        axes.annotate(
            "nothing measured", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY
        )


def _short(name: object) -> str:
    shown = plain(name)
    return shown if len(shown) <= _NAME_WIDTH else f"{shown[: _NAME_WIDTH - 3]}..."
