"""A comparison as an HTML page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from operations.drift.drift_result import DriftResult, FeatureDrift
from operations.drift.drift_text import calibration_cells, describe_rows, feature_cells
from trainer.reports.html_page import escape, panels, render_page, write_page
from trainer.reports.html_tables import TABLE_STYLE, table_of
from trainer.reports.plots import BLUE, GREY, ORANGE, STYLE, rows_panel, short_label, svg_text

_TITLE = "Drift"
_DRAWN = 20
_MOST_TIMES = 6.0
"""The drawing ends at so many times the threshold: one feature that is far out would flatten all
others.
"""


def write_drift_page(result: DriftResult, path: Path) -> None:
    """Writes the page. Raises ``InputError`` where the file cannot be written."""
    sections = [
        f"<h1>{_TITLE}</h1>",
        f"<p class=note>First: {escape(describe_rows(result.first))}. Other:"
        f" {escape(describe_rows(result.other))}.</p>",
        *_found(result),
        *_features(result),
        *_model(result),
    ]
    write_page(path, render_page(_TITLE, filter(None, sections), TABLE_STYLE))


def _found(result: DriftResult) -> list[str]:
    lines = "".join(f"<li>{escape(line)}</li>" for line in result.lines)
    return [f"<ul>{lines}</ul>" if lines else "<p>Nothing has drifted.</p>"]


def _features(result: DriftResult) -> list[str]:
    thresholds = result.thresholds
    left_out = "".join(
        f"<li>{escape(name)}: {escape(why)}</li>" for name, why in result.not_compared.items()
    )
    return [
        "<h2>Features</h2>",
        (
            "<p class=note>The distance is the population stability index; what chance gives"
            " between samples of these sizes stands beside it, and is taken off in the drawing,"
            " where long bars are cut."
            f" Drift is a distance above {thresholds.distance:g}, a change of missing values of"
            f" {thresholds.missing:.0%}, {thresholds.out_of_vocabulary:.0%} more values outside the"
            f" vocabulary, or a value of {thresholds.value:.0%} that is new or gone, each only"
            " where chance does not explain it.</p>"
        ),
        _drawing(result),
        table_of("Both sides, first -> other", feature_cells(result)),
        f"<p class=note>Not compared:</p><ul>{left_out}</ul>" if left_out else "",
    ]


def _drawing(result: DriftResult) -> str:
    drawn = [one for one in result.features if one.beyond_chance is not None]
    drawn = sorted(drawn, key=lambda one: -(one.beyond_chance or 0.0))[:_DRAWN]
    if not drawn:
        return ""
    return panels(
        [_distances(drawn, result.thresholds.distance)],
        ["distance beyond chance of the features that are furthest apart"],
        "the figures are in the table below",
    )


def _distances(drawn: Sequence[FeatureDrift], threshold: float) -> str:
    with mpl.rc_context(STYLE):
        figure, axes = rows_panel([short_label(one.feature) for one in drawn])
        values = [one.beyond_chance or 0.0 for one in drawn]
        colours = [ORANGE if one.reasons else BLUE for one in drawn]
        axes.barh(range(len(drawn)), values, height=0.6, color=colours)
        axes.axvline(threshold, color=GREY, linewidth=1)
        axes.set_xlim(0.0, min(1.05 * max(*values, threshold), _MOST_TIMES * threshold))
        axes.set_xlabel("distance; line: threshold")
        return svg_text(figure)


def _model(result: DriftResult) -> list[str]:
    if result.age is None:
        return []
    tasks = [["task", "new", "zero-shot", "served"]]
    for name, of in result.age.tasks.items():
        figures = (of.new, of.zero_shot, of.served)
        tasks.append([name.upper(), *(f"{figure:.4f}" for figure in figures)])
    return [
        "<h2>Age of the backbone</h2>",
        f"<p>{escape(result.age.says[:1].upper() + result.age.says[1:])}.</p>",
        table_of(
            "AUC: zero-shot on validation rows when it was new, and today; as served today", tasks
        ),
        "<h2>Calibration by domain</h2>",
        (
            "<p class=note>Predicted over observed, as rows are served; a domain has drifted where"
            f" the ratio is further from 1 than {result.thresholds.calibration:g}, and than chance"
            " among its users explains.</p>"
        ),
        table_of("Domains", calibration_cells(result)) if result.calibration else "",
    ]
