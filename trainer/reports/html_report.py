"""Writes a job's results as one HTML file that needs nothing else: no network, no script, no second
file.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.domains import conditions_of
from configs.errors import InputError
from configs.files import read_json
from configs.schema import RANKING_TASKS, TASK_NAMES
from configs.section import read_section
from trainer.metrics.formatting import METRIC_TITLES
from trainer.metrics.results import DomainResult, EvaluationResult
from trainer.metrics.task_metrics import METRICS
from trainer.reports.html_page import escape, image, render_page, write_page
from trainer.reports.plots import plot_calibration, plot_gains, plot_training
from trainer.reports.text_table import count_domains, show_figure, show_gain, show_pair


def write_report(job_dir: Path) -> Path:
    """Writes ``<job>/reports/report.html`` from what ``evaluate`` and ``pretrain`` left in the job
    directory.

    Reads ``reports/metrics.json``, and where they exist ``backbone/history.json`` (training curve)
    and ``kernels/active.json`` (versions). The file appears whole or not at all.

    Returns:
      The report's path.

    Raises:
      InputError: there is no evaluation to report, or a file does not hold what it should.
    """
    metrics = job_dir / "reports" / "metrics.json"
    if not metrics.exists():
        raise InputError(f"{metrics}: not found; run trainer.task evaluate first")
    result = read_section(metrics, EvaluationResult)
    history, active = job_dir / "backbone" / "history.json", job_dir / "kernels" / "active.json"
    try:
        page = _page(
            result,
            read_json(history) if history.exists() else [],
            read_json(active) if active.exists() else {},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{job_dir}: its history or active kernels are not in the expected form: {error!r}; run"
            " them again"
        ) from error
    report = metrics.with_name("report.html")
    write_page(report, page)
    return report


def _page(
    result: EvaluationResult, history: Sequence[Mapping[str, Any]], active: Mapping[str, Any]
) -> str:
    domains = result.domains
    order = _by_topic(domains)
    sections = [
        f"<h1>Backbone and kernels on split '{escape(result.split)}'</h1>",
        _summary(result),
        "<h2>Gain by domain</h2>",
        (
            "<p class=note>Kernel minus backbone, with 95% intervals from resampled users. Filled:"
            " the domain's kernel is active; hollow: it is not, and the nearest active one above"
            " answers."
            " A triangle stands at the edge for a gain beyond it.</p>"
        ),
        image(
            plot_gains(domains, order),
            "Gain in CTR-AUC and CTCVR-AUC of every domain; the figures are in the tables below",
        ),
        "<h2>Calibration</h2>",
        (
            "<p class=note>Predicted over observed positives (PCOC): 1 is calibrated, above 1"
            " promises too much.</p>"
        ),
        image(
            plot_calibration(domains, order),
            "PCOC of backbone and kernel for every domain; the figures are in the tables below",
        ),
        "<h2>Training of the backbone</h2>",
        (
            image(plot_training(history), "Loss and validation AUC against the training step")
            if history
            else "<p>No training history in this job.</p>"
        ),
        "<h2>All figures</h2>",
        (
            "<p class=note>Each cell: backbone -&gt; kernel; below it the difference and its 95%"
            " interval, in points (x 100) for AUC and GAUC. Higher is better for AUC and GAUC,"
            " lower for log loss and NE (log loss over the entropy of the base rate), nearer to 1"
            " for PCOC. Versions are the ones active when this page was written.</p>"
        ),
        _overall_table(result),
        *(_domain_table(task, domains, order, active) for task in TASK_NAMES),
    ]
    return render_page("Backbone and kernels", sections)


def _by_topic(domains: Iterable[str]) -> list[str]:
    """``all``, then topic by topic, then cross-topic; inside a topic the values in counting
    order (9 before 25).
    """

    def key(name: str) -> tuple[int, list[str], list[tuple[bool, int, str]]]:
        conditions = conditions_of(name)
        values = [
            (not value.isdecimal(), int(value) if value.isdecimal() else 0, value)
            for _, value in conditions
        ]
        return len(conditions), [topic for topic, _ in conditions], values

    return sorted(domains, key=key)


def _summary(result: EvaluationResult) -> str:
    domains, oracle = result.domains, result.oracle
    facts = [
        (
            "domains with an active kernel",
            f"{sum(domain.active for domain in domains.values())} of {len(domains)}",
        )
    ]
    for task in RANKING_TASKS:
        mean = result.mean_gain(task)
        facts += [
            (f"overall {task.upper()}-AUC", show_pair(result.overall[task]["auc"])),
            (
                f"mean gain of {count_domains(mean)}, {task.upper()}-AUC points",
                show_gain(mean, "auc"),
            ),
        ]
        if oracle:
            facts.append((f"best reachable {task.upper()}-AUC", show_figure(oracle[task]["auc"])))
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
        )
        + "</dl>"
    )


def _overall_table(result: EvaluationResult) -> str:
    rows = []
    for task in TASK_NAMES:
        cells = []
        for metric in METRICS:
            reachable = (
                "<br><small>true probabilities:"
                f" {escape(show_figure(result.oracle[task][metric]))}</small>"
                if result.oracle
                else ""
            )
            cells.append(f"<td>{escape(show_pair(result.overall[task][metric]))}{reachable}</td>")
        rows.append(f"<tr><th scope=row>{task.upper()}</th>{''.join(cells)}</tr>")
    return _table(
        "Overall: every row under its most specific active domain",
        ["task", *METRIC_TITLES.values()],
        rows,
    )


def _domain_table(
    task: str,
    domains: Mapping[str, DomainResult],
    order: Iterable[str],
    active: Mapping[str, Any],
) -> str:
    rows = []
    for name in order:
        domain = domains[name]
        version = f" (version {escape(active[name])})" if name in active else ""
        serves = (
            f"kernel{version}"
            if domain.active
            else "<span class=off>off (the nearest active one above answers)</span>"
        )
        cells = [
            f"<td>{escape(show_pair(domain.tasks[task][metric]))}<br>"
            f"<small>{escape(show_gain(domain.tasks[task][metric], metric))}</small></td>"
            for metric in METRICS
        ]
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th><td>{domain.rows:,}</td>"
            f"<td>{serves}</td>{''.join(cells)}</tr>"
        )
    return _table(
        f"{task.upper()} by domain", ["domain", "rows", "serves", *METRIC_TITLES.values()], rows
    )


def _table(caption: str, header: Iterable[str], rows: Iterable[str]) -> str:
    titles = "".join(f"<th scope=col>{escape(title)}</th>" for title in header)
    return (
        f"<div class=wide><table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{titles}</tr></thead>\n<tbody>" + "\n".join(rows) + "</tbody></table></div>"
    )
