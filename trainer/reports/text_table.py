"""The result of ``evaluate`` as plain text for a terminal, and the texts of figures that a table
and the report both show. AUC differences are shown in points, that is x 100.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.domains import ALL
from configs.terminal.plain_text import (
    fit_page,
    page_width,
    printable,
    rows_fitted,
    wrap_page,
)
from trainer.metrics.decidable import in_words
from trainer.metrics.formatting import METRIC_TITLES, PAGE_TITLES, POINTS, is_number
from trainer.metrics.results import (
    Comparison,
    DomainComparison,
    DomainResult,
    EvaluationResult,
    Figure,
    Interval,
    MeanGain,
    PageResult,
    Pair,
    SegmentResult,
)
from trainer.metrics.task_metrics import EVERY_METRIC, UNDEFINED

_INDENT = "  "
_MOST_SCORES = 4


def render_table(result: EvaluationResult) -> str:
    """The table that ``evaluate`` prints, as wide as a page: of each domain what it is and
    what answers it, and a line for each target over all rows.
    """
    lines = [
        *wrap_page(
            f"split '{result.split}': {listed(result.ranked)}, backbone -> kernel; gains in AUC"
            " points with 95% intervals, over the backbone"
            + (" and over the kernel of all traffic" if result.has_all else "")
        ),
        "",
        *_gain_lines(result, _about_domains(result), result.domains),
    ]
    if not all(domain.active for domain in result.domains.values()):
        lines += ["", *wrap_page("off: the kernel is not active (the figures are its own)")]
    lines += ["", "mean gain of single-topic domains, in AUC points", *_mean_lines(result), ""]
    lines += wrap_page(f"overall: every row under {describe_auto(result)} (auto)")
    if result.rows is not None:
        lines += wrap_page(count_outcomes(result.rows, result.positives, tuple(result.overall)))
    lines += fit_page(overall_cells(result))
    if cells := order_cells(result):
        lines += ["", *fit_page(cells)]
    if result.page:
        title = f"{describe_pages(result.page)}, auto"
        lines += ["", *wrap_page(title), *fit_page(page_cells(result.page))]
    for column, values in (result.segments or {}).items():
        about = {
            name: f"{column}={name}: {count_outcomes(found.rows, found.positives, result.ranked)}"
            for name, found in values.items()
        }
        title = f"segments of {column}: rows as they are served (auto), backbone -> kernel"
        lines += ["", *wrap_page(show_name(title)), *_gain_lines(result, about, values)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def listed(tasks: Sequence[str]) -> str:
    """``CLICK-AUC and ORDER-AUC``."""
    *others, last = (f"{task.upper()}-AUC" for task in tasks)
    return " and ".join(filter(None, (", ".join(others), last)))


def show_name(name: str) -> str:
    """A domain's name, in which a character that cannot be printed is a replacement character."""
    return printable(name)


def show_figure(figure: Figure | None) -> str:
    """``0.6301`` or ``undefined``."""
    return f"{figure:.4f}" if is_number(figure) else UNDEFINED


def show_pair(cell: Pair) -> str:
    """``0.6301 -> 0.6612``: backbone and kernel."""
    if not is_number(cell.backbone) and not is_number(cell.kernel):
        return UNDEFINED
    return f"{show_figure(cell.backbone)} -> {show_figure(cell.kernel)}"


def show_gain(cell: Comparison | MeanGain, metric: str) -> str:
    """``+3.11 [+2.80, +3.40]``: difference to the backbone and its interval, in points for AUC and
    GAUC, in the metric's own unit otherwise.
    """
    return show_difference(cell.delta, cell.ci95, metric)


def show_gain_over_all(cell: DomainComparison | MeanGain, metric: str) -> str:
    """As ``show_gain``, of the difference to the kernel of all traffic."""
    return show_difference(cell.delta_all, cell.ci95_all, metric)


def count_domains(mean: MeanGain) -> str:
    """``13 single-topic domains (2 off)`` or ``13 of 18 single-topic domains, which are decidable
    (2 off)``: what a mean gain is over.
    """
    every = mean.domains + (mean.undecided or 0)
    kind = f"single-topic domain{'' if every == 1 else 's'}"
    if mean.undecided:
        kind += ", which are decidable"
    return f"{_of_all(mean)} {kind}{_off(mean)}"


def count_outcomes(rows: int, positives: Mapping[str, int] | None, tasks: Sequence[str]) -> str:
    """``16,290 rows, 2,700 CLICK and 480 ORDER positives``; rows alone where that is all that is
    known.
    """
    if not positives:
        return f"{rows:,} rows"
    *shown, last = (f"{positives[task]:,} {task.upper()}" for task in tasks)
    return f"{rows:,} rows, {' and '.join(filter(None, (', '.join(shown), last)))} positives"


def show_undecidable(
    found: DomainResult | SegmentResult | EvaluationResult, task: str
) -> str | None:
    """``undecidable (4 positives)``; None where a task is decidable."""
    outcomes = (found.undecided or {}).get(task)
    return in_words(outcomes) if outcomes else None


def show_served(domain: DomainResult) -> str:
    """``kernel, version 3`` or ``off, all answers``: what answers rows that name a domain."""
    if domain.active:
        return "kernel" + ("" if domain.version is None else f", version {domain.version}")
    return f"off, {domain.served_domain or 'the nearest active one above'} answers"


def show_decision(domain: DomainResult) -> str:
    """Why a domain is served as it is: what fine-tuning decided, or that it was changed by hand
    since; empty where nothing is known.
    """
    decision = domain.decision
    if decision is None:
        return "never tuned" if domain.version is None and domain.seen is not None else ""
    if (decision.active is not None) == domain.active:
        return decision.reason
    return f"{'activated' if domain.active else 'deactivated'} by hand; before: {decision.reason}"


def describe_seen(result: EvaluationResult) -> str | None:
    """One line that says who was trained or judged by days of the split before; None where nobody
    was, or where it is not known.
    """
    kernels = [domain.seen or () for domain in result.domains.values() if domain.version]
    said = []
    for part, did in (("train", "learned from"), ("validation", "were stopped or judged by")):
        count = sum(part in seen for seen in kernels)
        who = ["the backbone"] if part in (result.backbone_seen or ()) else []
        who += [f"{count} of {len(kernels)} kernels"] if count else []
        if who:
            said.append(f"{' and '.join(who)} {did}")
    if not said:
        return None
    return (
        f"split '{result.split}' overlaps days that {', and '.join(said)}: its figures flatter them"
    )


def describe_auto(result: EvaluationResult) -> str:
    """What answers a row under ``auto``, in words."""
    if result.compose is None:
        return "its most specific active domain"
    return f"its active domain, or its single-topic ones together (compose {result.compose:g})"


def describe_teacher(record: Mapping[str, Any]) -> str:
    """Who taught a backbone, in words; ``record`` is ``trainer.job.Job.teacher``'s."""
    kernels = ", ".join(f"{name} {found['version']}" for name, found in record["kernels"].items())
    with_them = f"with kernels (domain and version) {kernels}" if kernels else "without kernels"
    together = f", together (compose {record['compose']:g})" if "compose" in record else ""
    return f"taught by {record['job']}: backbone {record['backbone'][:12]} {with_them}{together}"


def describe_ancestor(record: Mapping[str, Any]) -> str:
    """What a backbone went on from, in words; ``record`` is ``trainer.job.Job.ancestor``'s."""
    older = len(record["ancestors"]) - 1
    more = f", which had gone on {older} time{'s' if older > 1 else ''}" if older else ""
    start = record["learned"][0][0][:10]
    return (
        f"went on from {record['job']}: backbone {record['backbone'][:12]}{more}; with it, it has"
        f" learned since {start}"
    )


def overall_cells(result: EvaluationResult) -> list[list[str]]:
    """Titles, and a line for each task and what serves its rows: backbone, kernel of all traffic,
    auto, and the true probabilities where they are known.
    """
    shown = shown_metrics(result)
    rows = [["task", "served by", *(METRIC_TITLES[metric] for metric in shown)]]
    for task, cells in result.overall.items():
        if few := show_undecidable(result, task):
            rows.append([task.upper(), few, *("" for _ in shown)])
            continue
        sides = {"backbone": {metric: cell.backbone for metric, cell in cells.items()}}
        if result.has_all:
            sides["all"] = {metric: cell.all for metric, cell in cells.items()}
        sides["auto"] = {metric: cell.kernel for metric, cell in cells.items()}
        if result.oracle:
            sides["best reachable"] = result.oracle[task]
        rows += [
            [
                task.upper(),
                side,
                *(show_figure(found[name]) if name in found else "-" for name in shown),
            ]
            for side, found in sides.items()
        ]
    return rows


def order_cells(result: EvaluationResult) -> list[list[str]]:
    """Titles, and a line for each task that predicts amounts; nothing where none does."""
    if not result.order_agreement:
        return []
    rows = [["order of amounts: pairs right", "backbone", "all", "auto"]]
    for task, cell in result.order_agreement.items():
        figures = (show_figure(side) for side in (cell.backbone, cell.all, cell.kernel))
        rows.append([task.upper(), *figures])
    return rows


def describe_pages(page: PageResult) -> str:
    """What the metrics of pages are of, in a line."""
    own = [f"{name} by {text}" for name, text in page.scores.items() if name != ALL]
    more = f" and {len(own) - _MOST_SCORES} domains more" if len(own) > _MOST_SCORES else ""
    others = f" ({', '.join(own[:_MOST_SCORES])}{more})" if own else ""
    return f"pages: requests by score{others}, gains by '{page.label}', the first {page.top} rows"


def page_cells(page: PageResult) -> list[list[str]]:
    """Titles, and a line for each metric of pages."""
    rows = [["metric", "backbone", "all", "auto", "over backbone", "requests"]]
    for name, cell in page.metrics.items():
        figures = [show_figure(side) for side in (cell.backbone, cell.all, cell.kernel)]
        gain = show_difference(cell.delta, cell.ci95, "auc")
        rows.append([PAGE_TITLES[name], *figures, gain, f"{cell.requests:,}"])
    return rows


def shown_metrics(result: EvaluationResult) -> list[str]:
    """The metrics of any task, in the order of tables."""
    return [
        name for name in EVERY_METRIC if any(name in cells for cells in result.overall.values())
    ]


def show_difference(delta: Figure, ci95: Interval, metric: str = "auc") -> str:
    """``+3.11 [+2.80, +3.40]``, in points for AUC and GAUC, in the metric's own unit otherwise."""
    if isinstance(delta, str):
        return UNDEFINED
    interval = ci95 if isinstance(ci95, str) else ", ".join(_signed(end, metric) for end in ci95)
    return f"{_signed(delta, metric)} [{interval}]"


def _signed(difference: float, metric: str) -> str:
    return f"{difference * POINTS:+.2f}" if metric in ("auc", "gauc") else f"{difference:+.4f}"


def _of_all(mean: MeanGain) -> str:
    """``13``, or ``13 of 18`` where some are undecidable."""
    return f"{mean.domains}" + (f" of {mean.domains + mean.undecided}" if mean.undecided else "")


def _off(mean: MeanGain) -> str:
    return f" ({mean.off} off)" if mean.off else ""


def _gain_lines(
    result: EvaluationResult,
    about: Mapping[str, str],
    found: Mapping[str, DomainResult] | Mapping[str, SegmentResult],
) -> list[str]:
    """Titles, and of each domain or segment what ``about`` says of it, a line for each target over
    all rows that is decidable there, and one for the others.
    """
    table, owners = [[f"{_INDENT}task", "backbone -> kernel", "over backbone", "over all"]], []
    few: dict[str, list[str]] = {name: [] for name in found}
    for name, of in found.items():
        for task in result.ranked:
            if words := show_undecidable(of, task):
                few[name].append(f"{task.upper()}: {words}")
                continue
            cell = of.tasks[task]["auc"]
            gains = [show_gain(cell, "auc"), show_gain_over_all(cell, "auc")]
            table.append([_INDENT + task.upper(), show_pair(cell), *gains])
            owners.append(name)
    shown = table if result.has_all else [cells[:-1] for cells in table]
    header, *rows = rows_fitted(shown, page_width())
    lines = [*header]
    for name in found:
        lines += wrap_page(show_name(about[name]), _INDENT * 2)
        for owner, row in zip(owners, rows, strict=True):
            lines += row if owner == name else []
        lines += wrap_page(_INDENT + "; ".join(few[name]), _INDENT) if few[name] else []
    return lines


def _about_domains(result: EvaluationResult) -> dict[str, str]:
    """Domain -> ``scene=home: 16,290 rows, 2,700 CLICK and 480 ORDER positives; kernel, version
    1``, and why it is off where it is.
    """
    found = {}
    for name, domain in result.domains.items():
        counts = count_outcomes(domain.rows, domain.positives, result.ranked)
        reason = "" if domain.active else show_decision(domain)
        found[name] = f"{name}: {counts}; {show_served(domain)}{f': {reason}' if reason else ''}"
    return found


def _mean_lines(result: EvaluationResult) -> list[str]:
    rows = [["task", "over backbone", "over all", "domains"]]
    means = {task: result.mean_gain(task) for task in result.ranked}
    for task, mean in means.items():
        gains = [show_gain(mean, "auc"), show_gain_over_all(mean, "auc")]
        rows.append([task.upper(), *gains, f"{_of_all(mean)}{_off(mean)}"])
    lines = fit_page(rows if result.has_all else [[*cells[:2], cells[3]] for cells in rows])
    if any(mean.undecided for mean in means.values()):
        lines += wrap_page("2 of 3: in 2 domains of 3 the task is decidable")
    return lines
