"""The result of ``evaluate`` as plain text for a terminal, and the figures that a table and the
report both show.

The result, as ``reports/metrics.json`` holds it: ``{"split", "overall": {task: {metric:
{"backbone", "kernel"}}}, "domains": {name: {"rows", "active", task: {metric: {"backbone", "kernel",
"delta", "ci95"}}}}, "oracle": {task: {metric: value}} or null}``; a figure is a number or
``"undefined"``. AUC differences are shown in points, that is x 100.
"""

from collections.abc import Mapping
from typing import Any

from configs.domains import is_single_topic
from configs.schema import TASK_NAMES
from trainer.metrics.formatting import METRIC_TITLES, POINTS, align, is_number
from trainer.metrics.task_metrics import METRICS

_HEADLINE = ("ctr", "ctcvr")
_NAME_WIDTH = 30


def render_table(result: Mapping[str, Any]) -> str:
    """The table that ``evaluate`` prints, about 130 columns wide at most; longer names are cut.

    Args:
      result: the evaluation as described above.
    """
    domains: Mapping[str, Mapping[str, Any]] = result["domains"]
    lines = [
        (
            f"split '{result['split']}': AUC backbone -> kernel; gain in AUC points with its 95%"
            " interval"
        ),
        "",
    ]
    header = ["domain", "rows", "serves"]
    for task in _HEADLINE:
        header += [f"{task.upper()}-AUC", "gain"]
    lines += align([header, *(_domain_cells(name, domain) for name, domain in domains.items())])
    if not all(domain["active"] for domain in domains.values()):
        lines += [
            "off: the kernel is not active, the domain serves the backbone (figures are the"
            " kernel's own)"
        ]
    lines += [
        "",
        *_mean_gain_lines(domains),
        "",
        "overall (each row under its most specific active domain), backbone -> kernel",
    ]
    lines += align(_overall_cells(result))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def mean_gain(
    domains: Mapping[str, Mapping[str, Any]], task: str, metric: str = "auc"
) -> tuple[float | None, int]:
    """The mean difference over single-topic domains in which it is defined, and the number of
    these; ``(None, 0)`` without any.
    """
    deltas = [
        domain[task][metric]["delta"] for name, domain in domains.items() if is_single_topic(name)
    ]
    known = [delta for delta in deltas if is_number(delta)]
    return (sum(known) / len(known), len(known)) if known else (None, 0)


def show_figure(figure: Any) -> str:
    """``0.6301`` or ``undefined``."""
    return f"{figure:.4f}" if is_number(figure) else "undefined"


def show_pair(cell: Mapping[str, Any]) -> str:
    """``0.6301 -> 0.6612``: backbone and kernel."""
    if not is_number(cell["backbone"]) and not is_number(cell["kernel"]):
        return "undefined"
    return f"{show_figure(cell['backbone'])} -> {show_figure(cell['kernel'])}"


def show_gain(cell: Mapping[str, Any], metric: str) -> str:
    """``+3.11 [+2.80, +3.40]``: difference and interval, in points for AUC and GAUC, in the
    metric's own unit otherwise.
    """
    if not is_number(cell["delta"]):
        return "undefined"
    interval = cell["ci95"]
    shown = (
        "undefined"
        if isinstance(interval, str)
        else ", ".join(_signed(end, metric) for end in interval)
    )
    return f"{_signed(cell['delta'], metric)} [{shown}]"


def _signed(difference: float, metric: str) -> str:
    return f"{difference * POINTS:+.2f}" if metric in ("auc", "gauc") else f"{difference:+.4f}"


def _domain_cells(name: str, domain: Mapping[str, Any]) -> list[str]:
    shown = name if len(name) <= _NAME_WIDTH else name[: _NAME_WIDTH - 3] + "..."
    cells = [shown, f"{domain['rows']:,}", "kernel" if domain["active"] else "off"]
    for task in _HEADLINE:
        cells += [show_pair(domain[task]["auc"]), show_gain(domain[task]["auc"], "auc")]
    return cells


def _mean_gain_lines(domains: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for task in _HEADLINE:
        mean, count = mean_gain(domains, task)
        shown = (
            "undefined"
            if mean is None
            else f"{mean * POINTS:+.2f} AUC points over {count} domain{'s' if count > 1 else ''}"
        )
        lines.append(f"mean gain of single-topic domains, {task.upper()}: {shown}")
    return lines


def _overall_cells(result: Mapping[str, Any]) -> list[list[str]]:
    oracle = result.get("oracle")
    rows = [["task", *METRIC_TITLES.values()]]
    if oracle:
        rows[0].append("best reachable AUC")
    for task in TASK_NAMES:
        row = [task.upper(), *(show_pair(result["overall"][task][metric]) for metric in METRICS)]
        if oracle:
            row.append(show_figure(oracle.get(task, {}).get("auc")))
        rows.append(row)
    return rows
