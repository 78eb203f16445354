"""A job's results as one HTML file that needs nothing else: no network, no script, no second
file.
"""

import base64
import html
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.schema import TASK_NAMES
from trainer.job import read_json
from trainer.metrics.task_metrics import METRICS
from trainer.reports.plots import plot_calibration, plot_gains, plot_training
from trainer.reports.text_table import (
    METRIC_TITLES,
    POINTS,
    mean_gain,
    show_figure,
    show_gain,
    show_pair,
)

_STYLE = """
:root { color-scheme: light dark;
  --text: #1b1b1b; --page: #fff; --faint: #555; --line: #ddd; --strong: #888; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e4e4; --page: #16181a; --faint: #a5a5a5; --line: #3a3d40; --strong: #777; }
  img { filter: invert(.9) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { max-width: 48rem; } p.note { color: var(--faint); margin-top: .2rem; }
img { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .82rem; }
caption { text-align: left; font-weight: 600; padding: .8rem 0 .3rem; font-size: .95rem; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { border-bottom: 2px solid var(--strong); } tbody th { font-weight: 500; }
td small { color: var(--faint); } .off { color: var(--faint); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; }
dt { color: var(--faint); font-size: .85rem; } dd { margin: 0; font-size: 1.2rem; }
"""


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
    history, active = job_dir / "backbone" / "history.json", job_dir / "kernels" / "active.json"
    try:
        page = _page(
            read_json(metrics),
            read_json(history) if history.exists() else [],
            read_json(active) if active.exists() else {},
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{job_dir}: its metrics, history or active kernels are not in the expected form:"
            f" {error!r}; run them again"
        ) from error
    report = metrics.with_name("report.html")
    write_page(report, page)
    return report


def write_page(path: Path, page: str) -> None:
    """Writes a page whole or not at all.

    Raises:
      InputError: the file cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(page, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)


def render_page(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole HTML page, whose policy lets a browser load nothing that is not in the page itself.

    Args:
      title: plain text.
      sections: HTML, in order.
      style: rules after those that every report shares.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = (
        f'<meta charset=utf-8><meta http-equiv=Content-Security-Policy content="{policy}">'
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style>"
    )
    return (
        f"<!DOCTYPE html>\n<html lang=en><head>{head}</head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def image(svg: str, description: str) -> str:
    """An ``img`` element that holds a drawing.

    Args:
      svg: the drawing.
      description: plain text for those who do not see it.
    """
    # As an image of its own, because the ids inside two inline drawings of one page would clash.
    drawing = re.sub(r"<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    return (
        f'<img alt="{escape(description)}"'
        f' src="data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}">'
    )


def escape(value: object) -> str:
    """A value's text for HTML, inside elements and quoted attributes."""
    return html.escape(str(value))


def _page(
    result: Mapping[str, Any], history: Sequence[Mapping[str, Any]], active: Mapping[str, Any]
) -> str:
    domains: Mapping[str, Mapping[str, Any]] = result["domains"]
    order = _by_topic(domains)
    sections = [
        f"<h1>Backbone and kernels on split '{escape(result['split'])}'</h1>",
        _summary(result),
        "<h2>Gain by domain</h2>",
        (
            "<p class=note>Kernel minus backbone, with 95% intervals from resampled users. Filled:"
            " the domain's kernel is active; hollow: it is not, and the domain serves the backbone."
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
        conditions = [condition.partition("=") for condition in name.split(",")]
        values = [
            (not value.isdecimal(), int(value) if value.isdecimal() else 0, value)
            for _, _, value in conditions
        ]
        return (
            len(conditions) if "=" in name else 0,
            [topic for topic, _, _ in conditions],
            values,
        )

    return sorted(domains, key=key)


def _summary(result: Mapping[str, Any]) -> str:
    domains, oracle = result["domains"], result.get("oracle")
    facts = [
        (
            "domains with an active kernel",
            f"{sum(bool(domain['active']) for domain in domains.values())} of {len(domains)}",
        )
    ]
    for task in ("ctr", "ctcvr"):
        mean, count = mean_gain(domains, task)
        facts.append((f"overall {task.upper()}-AUC", show_pair(result["overall"][task]["auc"])))
        shown = "undefined" if mean is None else f"{mean * POINTS:+.2f} points"
        facts.append((f"mean gain of {count} single-topic domains, {task.upper()}-AUC", shown))
        if oracle:
            facts.append(
                (f"best reachable {task.upper()}-AUC", show_figure(oracle.get(task, {}).get("auc")))
            )
    return (
        "<dl>"
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
        )
        + "</dl>"
    )


def _overall_table(result: Mapping[str, Any]) -> str:
    oracle = result.get("oracle") or {}
    rows = []
    for task in TASK_NAMES:
        best = oracle.get(task, {})
        cells = []
        for metric in METRICS:
            reachable = (
                f"<br><small>true probabilities: {escape(show_figure(best[metric]))}</small>"
                if metric in best
                else ""
            )
            cells.append(
                f"<td>{escape(show_pair(result['overall'][task][metric]))}{reachable}</td>"
            )
        rows.append(f"<tr><th scope=row>{task.upper()}</th>{''.join(cells)}</tr>")
    return _table(
        "Overall: every row under its most specific active domain",
        ["task", *METRIC_TITLES.values()],
        rows,
    )


def _domain_table(
    task: str,
    domains: Mapping[str, Mapping[str, Any]],
    order: Iterable[str],
    active: Mapping[str, Any],
) -> str:
    rows = []
    for name in order:
        domain = domains[name]
        version = f" (version {escape(active[name])})" if name in active else ""
        serves = (
            f"kernel{version}"
            if domain["active"]
            else "<span class=off>off (serves the backbone)</span>"
        )
        cells = [
            f"<td>{escape(show_pair(domain[task][metric]))}<br>"
            f"<small>{escape(show_gain(domain[task][metric], metric))}</small></td>"
            for metric in METRICS
        ]
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th><td>{domain['rows']:,}</td>"
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
