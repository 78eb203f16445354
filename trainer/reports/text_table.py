"""The result of ``evaluate`` as plain text for a terminal, and the texts of figures that a table
and the report both show. AUC differences are shown in points, that is x 100.
"""

import textwrap
from collections.abc import Mapping

from configs.schema import RANKING_TASKS, TASK_NAMES
from trainer.metrics.formatting import METRIC_TITLES, POINTS, align, is_number
from trainer.metrics.results import (
    Comparison,
    DomainResult,
    EvaluationResult,
    Figure,
    MeanGain,
    Pair,
)
from trainer.metrics.task_metrics import METRICS, UNDEFINED

_WIDTH = 80
_INDENT = "  "


def render_table(result: EvaluationResult) -> str:
    """The table that ``evaluate`` prints, at most 80 columns wide: two lines a domain, one for CTR
    and one for CTCVR. A name too long for its column stands above the two.
    """
    lines = [
        *_wrap(
            f"split '{result.split}': CTR-AUC and CTCVR-AUC, backbone -> kernel; gain in AUC points"
            " with its 95% interval"
        ),
        "",
        *_domain_lines(result.domains),
    ]
    if not all(domain.active for domain in result.domains.values()):
        lines += _wrap(
            "off: the kernel is not active, the nearest active one above it answers (figures are"
            " the kernel's own)"
        )
    lines += ["", "mean gain of single-topic domains, in AUC points", *_mean_lines(result), ""]
    lines += ["overall (each row under its most specific active domain), backbone -> kernel"]
    lines += align(_overall_cells(result))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def show_figure(figure: Figure | None) -> str:
    """``0.6301`` or ``undefined``."""
    return f"{figure:.4f}" if is_number(figure) else UNDEFINED


def show_pair(cell: Pair) -> str:
    """``0.6301 -> 0.6612``: backbone and kernel."""
    if not is_number(cell.backbone) and not is_number(cell.kernel):
        return UNDEFINED
    return f"{show_figure(cell.backbone)} -> {show_figure(cell.kernel)}"


def show_gain(cell: Comparison | MeanGain, metric: str) -> str:
    """``+3.11 [+2.80, +3.40]``: difference and interval, in points for AUC and GAUC, in the
    metric's own unit otherwise.
    """
    if isinstance(cell.delta, str):
        return UNDEFINED
    shown = (
        UNDEFINED
        if isinstance(cell.ci95, str)
        else ", ".join(_signed(end, metric) for end in cell.ci95)
    )
    return f"{_signed(cell.delta, metric)} [{shown}]"


def count_domains(mean: MeanGain) -> str:
    """``13 single-topic domains (2 off)``: what a mean gain is over."""
    off = f" ({mean.off} off)" if mean.off else ""
    return f"{mean.domains} single-topic domain{'' if mean.domains == 1 else 's'}{off}"


def _signed(difference: float, metric: str) -> str:
    return f"{difference * POINTS:+.2f}" if metric in ("auc", "gauc") else f"{difference:+.4f}"


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent)


def _domain_lines(domains: Mapping[str, DomainResult]) -> list[str]:
    figures = [["task", "backbone -> kernel", "gain"]]
    for domain in domains.values():
        for task in RANKING_TASKS:
            cell = domain.tasks[task]["auc"]
            figures.append([task.upper(), show_pair(cell), show_gain(cell, "auc")])
    header, *right = align(figures)
    width = _WIDTH - len(header) - len(_INDENT)
    lines = [f"{'domain':<{width}}{_INDENT}{header}"]
    for index, (name, domain) in enumerate(domains.items()):
        left = [name, f"{_INDENT}{domain.rows:,} rows, {'kernel' if domain.active else 'off'}"]
        if len(name) > width:
            lines += _wrap(name, _INDENT)
            left = [left[1], ""]
        start = index * len(RANKING_TASKS)
        cells = zip(left, right[start : start + len(RANKING_TASKS)], strict=True)
        lines += [f"{words:<{width}}{_INDENT}{shown}" for words, shown in cells]
    return lines


def _mean_lines(result: EvaluationResult) -> list[str]:
    means = {task: result.mean_gain(task) for task in RANKING_TASKS}
    return align(
        [
            [task.upper(), show_gain(mean, "auc"), f"over {count_domains(mean)}"]
            for task, mean in means.items()
        ]
    )


def _overall_cells(result: EvaluationResult) -> list[list[str]]:
    rows = [["metric", *(task.upper() for task in TASK_NAMES)]]
    for metric in METRICS:
        pairs = (show_pair(result.overall[task][metric]) for task in TASK_NAMES)
        rows.append([METRIC_TITLES[metric], *pairs])
    if result.oracle:
        best = (show_figure(result.oracle[task]["auc"]) for task in TASK_NAMES)
        rows.append(["best reachable AUC", *best])
    return rows
