"""Writes a job's results as one HTML file that needs nothing else: no network, no script, no second
file.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from configs.domain_names import conditions_of, folder_name
from configs.errors import InputError
from configs.files import read_json
from configs.section import read_section
from preprocessing.profile.data_profile import DataProfile, parse_profile
from trainer.job import Job
from trainer.metrics.results import EvaluationResult
from trainer.reports.data_tables import data_sections
from trainer.reports.domain_plots import plot_calibration, plot_gains
from trainer.reports.explanation_page import EXPLANATION_PAGE
from trainer.reports.html_page import escape, panels, render_page, write_page
from trainer.reports.html_tables import (
    TABLE_STYLE,
    domains_table,
    figures_table,
    order_table,
    overall_table,
    page_table,
    segments_table,
)
from trainer.reports.plots import plot_training
from trainer.reports.reliability_plots import drawn_tasks, plot_reliability
from trainer.reports.text_table import (
    count_domains,
    describe_ancestor,
    describe_auto,
    describe_seen,
    describe_teacher,
    show_figure,
    show_gain,
    show_gain_over_all,
    show_pair,
)


def write_report(job_dir: Path) -> Path:
    """Writes ``<job>/reports/report.html`` from what ``evaluate`` and ``pretrain`` left in the job
    directory.

    Reads ``reports/metrics.json``, whose time is the evaluation's, and where they exist
    ``reports/profile.json`` (of the dataset), ``backbone/history.json`` (training curve) and
    ``backbone/teacher.json`` and ``backbone/ancestor.json``; links the cards of the kernels that
    were judged, and the page of ``explain`` where there is one. The file appears whole or not at
    all.

    Returns:
      The report's path.

    Raises:
      InputError: there is no evaluation to report, or a file does not hold what it should.
    """
    metrics = job_dir / "reports" / "metrics.json"
    if not metrics.exists():
        raise InputError(f"{metrics}: not found; run trainer.task evaluate first")
    result = read_section(metrics, EvaluationResult)
    moment = datetime.fromtimestamp(metrics.stat().st_mtime, UTC)
    teacher, ancestor = Job(job_dir).teacher(), Job(job_dir).ancestor()
    origin = f"The backbone was {describe_teacher(teacher)}." if teacher else ""
    origin = f"The backbone {describe_ancestor(ancestor)}." if ancestor else origin
    history = job_dir / "backbone" / "history.json"
    profile = Job(job_dir).judged_profile
    try:
        page = _page(
            result,
            moment,
            read_json(history) if history.exists() else [],
            {name: _card(job_dir, name, found.version) for name, found in result.domains.items()},
            origin,
            parse_profile(profile.read_bytes(), str(profile)) if profile.exists() else None,
            explained=metrics.with_name(EXPLANATION_PAGE).exists(),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{history}: not in the expected form: {error!r}; run trainer.task pretrain again"
        ) from error
    report = metrics.with_name("report.html")
    write_page(report, page)
    return report


def _card(job_dir: Path, domain: str, version: int | None) -> str:
    """Address of a kernel's card, seen from the report; empty where there is none."""
    try:
        folder = folder_name(domain)
    except ValueError:
        return ""
    if version is None or not (job_dir / "kernels" / folder / str(version) / "card.md").exists():
        return ""
    return f"../kernels/{quote(folder)}/{version}/card.md"  # what is encoded on disk, once more


def _page(
    result: EvaluationResult,
    moment: datetime,
    history: Sequence[Mapping[str, Any]],
    cards: Mapping[str, str],
    taught: str,
    profile: DataProfile | None,
    *,
    explained: bool,
) -> str:
    order = _by_topic(result.domains)
    seen = describe_seen(result)
    both = "; the diamond is the kernel of all traffic on the same rows" if result.has_all else ""
    third = ", then those to the kernel of all traffic (all)" if result.has_all else ""
    sections = [
        f"<h1>Backbone and kernels on split '{escape(result.split)}'</h1>",
        (
            f"<p class=note>Evaluated {moment:%Y-%m-%d %H:%M} UTC"
            + (f" under config <code>{escape(result.config[:12])}</code>" if result.config else "")
            + ".</p>"
        ),
        f"<p><strong>{escape(seen)}.</strong></p>" if seen else "",
        (
            f"<p><a href={EXPLANATION_PAGE}>What the model reads</a>: the AUC that is lost without"
            " each input, overall and by domain.</p>"
            if explained
            else ""
        ),
        _summary(result),
        "<h2>Gain by domain</h2>",
        (
            "<p class=note>Kernel minus backbone, with 95% intervals from resampled users. Filled:"
            " the domain's kernel is active; hollow: it is off, and another answers"
            f"{both}. A triangle stands at the edge for a gain beyond it; auto is every row under"
            f" {describe_auto(result)}.</p>"
        ),
        panels(
            plot_gains(result, order),
            [f"Gain in {task.upper()}-AUC of every domain" for task in result.ranked],
        ),
        "<h2>Calibration</h2>",
        (
            "<p class=note>Predicted over observed positives (PCOC): 1 is calibrated, above 1"
            " promises too much.</p>"
        ),
        panels(
            plot_calibration(result, order),
            [f"PCOC of {task.upper()} for every domain" for task in result.overall],
        ),
        *_reliability(result),
        "<h2>Training of the backbone</h2>",
        f"<p>{escape(taught)}</p>" if taught else "",
        (
            panels(
                plot_training(history),
                ["Loss against the training step", "Validation AUC against the training step"],
            )
            if history
            else "<p>No training history in this job.</p>"
        ),
        "<section><h2>Domains</h2>",
        (
            "<p class=note>What answers rows that name a domain, the kernel that is judged here,"
            " and why it serves or does not.</p>"
        ),
        domains_table(result, order, cards),
        "<h2>All figures</h2>",
        (
            "<p class=note>Each cell of a domain: backbone -&gt; kernel, active or not; below it"
            f" the difference and its 95% interval{third}, in points (x 100) for AUC and GAUC."
            " Higher is better for AUC and GAUC, lower for log loss and NE (log loss over the"
            " entropy of the base rate), nearer to 1 for PCOC. Overall, auto is every row under"
            f" {describe_auto(result)}.</p>"
        ),
        overall_table(result),
        order_table(result),
        page_table(result.page) if result.page else "",
        *(figures_table(task, result, order) for task in result.overall),
        *_segments(result),
        *(data_sections(profile) if profile else []),
        "</section>",
    ]
    return render_page("Backbone and kernels", filter(None, sections), TABLE_STYLE)


def _reliability(result: EvaluationResult) -> list[str]:
    """Nothing where no task has a curve."""
    tasks = drawn_tasks(result)
    if not tasks:
        return []
    return [
        (
            "<p class=note>All rows by what was predicted, in ten bins of equal weight: the mean"
            " prediction against the observed rate, or the mean amount. On the grey line"
            " predictions are right; the error is the mean distance to it (expected calibration"
            " error).</p>"
        ),
        panels(
            plot_reliability(result),
            [f"Reliability curves of {task.upper()}" for task in tasks],
            "the figures are in metrics.json",
        ),
    ]


def _segments(result: EvaluationResult) -> list[str]:
    """Nothing where the config names no column."""
    if not result.segments:
        return []
    return [
        "<h2>Segments</h2>",
        (
            f"<p class=note>Rows by a raw column's value, every row under {describe_auto(result)}:"
            " backbone -&gt; kernel, and the differences as above. Of text the most"
            " frequent values stand alone; numbers are in quarters.</p>"
        ),
        *(segments_table(column, result) for column in result.segments),
    ]


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
    for task in result.ranked:
        name, mean, cell = (
            f"{task.upper()}-AUC",
            result.mean_gain(task),
            result.overall[task]["auc"],
        )
        if result.has_all:
            sides = map(show_figure, (cell.backbone, cell.all, cell.kernel))
            facts.append((f"overall {name}: backbone, all traffic, auto", " -> ".join(sides)))
        else:
            facts.append((f"overall {name}: backbone, auto", show_pair(cell)))
        gain = f"mean gain of {count_domains(mean)}, {name} points"
        facts.append((gain, show_gain(mean, "auc")))
        if result.has_all:
            facts.append(
                ("the same over the kernel of all traffic", show_gain_over_all(mean, "auc"))
            )
        if oracle:
            facts.append((f"best reachable {name}", show_figure(oracle[task]["auc"])))
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
        )
        + "</dl>"
    )
