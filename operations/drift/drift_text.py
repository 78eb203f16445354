"""A comparison as plain text, and the cells of its tables."""

from configs.terminal.plain_text import fit, printable, wrap
from operations.drift.drift_result import DriftResult, FeatureDrift, RowsRead, Shares

_MOST_DOMAINS = 20


def render_text(result: DriftResult) -> str:
    """What has drifted, a line each, then the tables."""
    lines = [f"first: {describe_rows(result.first)}", f"other: {describe_rows(result.other)}", ""]
    lines += [f"drift: {line}" for line in result.lines] or ["no drift"]
    if result.age and not result.age.pretrain:
        lines.append(result.age.says)
    cells = feature_cells(result)
    lines = [part for line in lines for part in wrap(line)]
    lines += ["", *fit(cells, cells[0][1:-1])]
    if result.calibration:
        cells = calibration_cells(result, _MOST_DOMAINS)
        lines += ["", *fit(cells, cells[0][2:])]
    for name, why in result.not_compared.items():
        lines += wrap(f"not compared: {name}: {why}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def describe_rows(side: RowsRead) -> str:
    """``runs/data (test): 12,345 rows``."""
    what = ", ".join(side.splits) if side.kind == "dataset" else "log of requests"
    return f"{printable(side.path)} ({what}): {side.rows:,} rows"


def feature_cells(result: DriftResult) -> list[list[str]]:
    """Titles, and a line for each feature."""
    titles = [
        "feature",
        "distance",
        "by chance",
        "missing",
        "outside vocabulary",
        "mean",
        "drift",
    ]
    return [titles, *map(_feature_row, result.features)]


def calibration_cells(result: DriftResult, most: int | None = None) -> list[list[str]]:
    """Titles, and a line for each domain and task, those furthest from 1 first.

    Args:
      result: of the comparison.
      most: lines; all where None.
    """
    cells = sorted(result.calibration or (), key=lambda one: (not one.drifted, -_far(one.ratio)))
    titles = ["domain", "task", "rows", "positives", "predicted", "observed", "ratio", "drift"]
    return [
        titles,
        *(
            [
                printable(one.domain),
                one.task.upper(),
                f"{one.rows:,}",
                f"{one.positives:,}",
                f"{one.predicted:.4g}",
                f"{one.observed:.4g}",
                f"{one.ratio:.2f}",
                "yes" if one.drifted else "",
            ]
            for one in cells[:most]
        ),
    ]


def _far(ratio: float) -> float:
    return max(ratio, 1.0 / ratio) if ratio > 0 else float("inf")


def _feature_row(feature: FeatureDrift) -> list[str]:
    return [
        printable(feature.feature),
        _number(feature.distance),
        _number(feature.by_chance),
        _both(feature.missing, "{:.1%}"),
        _both(feature.out_of_vocabulary, "{:.1%}"),
        _both(feature.mean, "{:.4g}"),
        ", ".join(feature.reasons),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _both(pair: Shares | None, form: str) -> str:
    if pair is None or not (pair.first or pair.other):
        return ""
    return f"{form.format(pair.first)} -> {form.format(pair.other)}"
