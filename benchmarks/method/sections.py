"""A study's results as the sections of its report."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.method.bars import measure
from benchmarks.method.outcome import ACTIVITY, AUTO
from benchmarks.method.results import Metric, Results, absent
from benchmarks.method.study import Column, ReportSection, Study
from configs.domains import ALL

Table = dict[str, Any]

_COST_COLUMNS = ("parameters", "rows", "training", "domains helped")
_COSTS = (
    "Costs: mean over seeds; numbers trained for one domain (for all where a method is one model);"
    " rows to learn from, every planned pass counted, also those that early stopping saves; time of"
    " training, without the pre-training of a backbone that stays frozen and without its one"
    " forward pass, which adapters share. Domains helped: of single and crossed topics, where"
    " validation says so."
)
_READING = (
    "Gain: a method's AUC minus that of what it is compared with, both on the same rows, in AUC"
    " points (AUC x 100). GAUC: the AUC inside each request, averaged by rows. Intervals: 95%, over"
    " users (drawn whole, paired), of the mean over seeds; what a seed changes stands beside it,"
    " seed by seed. A difference is taken under the seeds of both."
)
METRICS: tuple[Metric, ...] = ("auc", "gauc")
"""What is shown of all rows."""

_SHOWN = 4
"""Methods in a plot of domains: more would hide each other."""


def report_of(study: Study, results: Results, command: str) -> dict[str, Any]:
    """What ``report.write_report`` shows."""
    return {
        "study": study.name,
        "title": study.title,
        "description": study.description,
        "command": command,
        "seeds": sorted({seed for _, seed in results.outcomes}),
        "facts": [*study.facts, _READING],
        "sections": [
            {
                "id": section.id,
                "title": section.title,
                "text": section.text,
                **_KINDS[section.kind](study, section, results),
            }
            for section in study.sections
        ],
        "bars": [measure(bar, results) for bar in study.bars],
    }


def _title(study: Study, column: Column) -> str:
    name, _, suffix = column.method.partition("/")
    return column.title or study.methods[name].title + (f" ({suffix})" if suffix else "")


def _methods(study: Study, section: ReportSection, results: Results) -> Table:
    """Methods by mean gain over domains, with what they cost."""
    scope = results.scope(section.cross)
    names = [task.upper() for task in results.tasks]
    columns = [column for name in names for column in (f"{name} gain", "by seed")]
    columns += [f"{name}-{metric.upper()}" for metric in METRICS for name in names]
    tables = []
    for split in study.splits:
        rows = []
        for column in section.rows:
            cells: list[Any] = [_title(study, column)]
            for task in results.tasks:
                found = results.gain(
                    column.method,
                    column.against,
                    split,
                    scope,
                    task,
                    column.activated,
                    section.metric,
                )
                cells += (
                    [found.cell(), " ".join(f"{value:+.2f}" for value in found.seeds)]
                    if found
                    else [None, None]
                )
            for metric in METRICS:
                for task in results.tasks:
                    auto = results.level(column.method, split, AUTO, task, metric)
                    cells.append({"value": auto.value, "unit": "auc"} if auto else None)
            cells += _costs(results, column.method)
            rows.append({"cells": cells, "emphasis": False})
        tables.append(
            {
                "title": f"split '{split}'",
                "note": (
                    f"Gain: mean over {len(scope)} {'cross' if section.cross else 'single'}-topic"
                    f" domains, {section.metric.upper()} points. AUC and GAUC: all rows, each under"
                    f" its most specific active domain. {_COSTS}"
                ),
                "columns": ["method", *columns, *_COST_COLUMNS],
                "rows": rows,
            }
        )
    plots = [
        {
            "kind": "scatter",
            "title": f"{task.upper()}, split '{study.splits[0]}': gain and cost",
            "x_label": "training seconds",
            "y_label": f"mean gain, {section.metric.upper()} points",
            "log_x": True,
            "points": [
                {
                    "name": _title(study, column),
                    "x": seconds,
                    "y": found.value,
                    "low": found.low,
                    "high": found.high,
                }
                for column in section.rows
                if (
                    found := results.gain(
                        column.method,
                        column.against,
                        study.splits[0],
                        scope,
                        task,
                        column.activated,
                        section.metric,
                    )
                )
                and (seconds := results.mean_of(column.method, _training_seconds))
            ],
        }
        for task in results.tasks
    ]
    return {"tables": tables, "plots": plots}


def _log_loss(study: Study, section: ReportSection, results: Results) -> Table:
    """What log loss goes down by, and its share of the first row's."""
    scope, first = results.scope(section.cross), section.rows[0]
    tables = []
    for split in study.splits:
        rows = []
        for column in section.rows:
            cells: list[Any] = [_title(study, column)]
            for task in results.tasks:
                gain = results.gain(
                    column.method, column.against, split, scope, task, column.activated, "log_loss"
                )
                share = results.ratio(
                    column.method,
                    first.method,
                    column.against,
                    split,
                    scope,
                    task,
                    column.activated,
                    "log_loss",
                )
                cells += [
                    gain and gain.cell(),
                    gain and " ".join(f"{value:+.2f}" for value in gain.seeds),
                    share and share.percent(),
                ]
            rows.append({"cells": cells})
        columns = [
            name for task in results.tasks for name in (task.upper(), "by seed", "of the first")
        ]
        tables.append(
            {
                "title": f"split '{split}': what log loss goes down by",
                "note": (
                    f"Mean over {len(scope)} {'cross' if section.cross else 'single'}-topic"
                    " domains, in thousandths of a nat; the share is of the first row's."
                ),
                "columns": ["method", *columns],
                "rows": rows,
            }
        )
    return {"tables": tables, "plots": []}


def _costs(results: Results, method: str) -> list[Any]:
    def helped(outcome: Any) -> float | None:
        return (
            None
            if outcome["active"] is None
            else len([name for name in outcome["active"] if name != ALL])
        )

    reads: list[tuple[Callable[[Any], float | None], str]] = [
        (lambda outcome: outcome["parameters"], "count"),
        (lambda outcome: outcome["rows"], "count"),
        (_training_seconds, "seconds"),
        (helped, ""),
    ]
    found = [(results.mean_of(method, read), unit) for read, unit in reads]
    return [None if value is None else {"value": value, "unit": unit} for value, unit in found]


def _training_seconds(outcome: Any) -> float:
    """Without the forward pass for taps: the first adapter on a tap waits for it, the next ones
    find it made.
    """
    return float(outcome["seconds"]) - float(outcome["notes"].get("taps_seconds", 0.0))


def _domains(study: Study, section: ReportSection, results: Results) -> Table:
    """Every domain under every method, and the average of each topic."""
    tables, plots = [], []
    baseline = Column(method=section.rows[0].against)
    by_topic: dict[str, list[str]] = defaultdict(list)
    for domain in results.domains:
        if len(domain.conditions) == (2 if section.cross else 1):
            by_topic[" x ".join(topic for topic, _ in domain.conditions)].append(domain.name)
    for split in study.splits:
        for task in results.tasks:
            rows = []
            for topic, names in by_topic.items():
                for label, slices in [
                    *((name, [name]) for name in names),
                    (f"mean of {topic}", names),
                ]:
                    cells: list[Any] = [label]
                    zero = (
                        None
                        if label.startswith("mean of ")
                        else results.level(baseline.method, split, label, task)
                    )
                    cells.append({"value": zero.value, "unit": "auc"} if zero else None)
                    for column in section.rows:
                        found = results.gain(
                            column.method, column.against, split, slices, task, column.activated
                        )
                        cells.append(found.cell() if found else None)
                    rows.append(
                        {"cells": cells, "emphasis": label.startswith("mean of "), "group": topic}
                    )
            tables.append(
                {
                    "title": (
                        f"{task.upper()}, split '{split}': {_title(study, baseline)}'s AUC, and"
                        " gains in AUC points"
                    ),
                    "note": "",
                    "columns": [
                        "domain",
                        _title(study, baseline),
                        *(_title(study, column) for column in section.rows),
                    ],
                    "rows": rows,
                }
            )
    for task in results.tasks:
        groups = []
        for name in [name for names in by_topic.values() for name in names]:
            points = [
                {
                    "series": _title(study, column),
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                }
                for column in section.rows[:_SHOWN]
                if (
                    found := results.gain(
                        column.method,
                        column.against,
                        study.splits[0],
                        [name],
                        task,
                        column.activated,
                    )
                )
            ]
            groups.append({"name": name, "points": points})
        plots.append(
            {
                "kind": "forest",
                "title": (
                    f"{task.upper()}, split '{study.splits[0]}', the first"
                    f" {min(_SHOWN, len(section.rows))} methods"
                ),
                "x_label": "gain in AUC points",
                "groups": groups,
            }
        )
    return {"tables": tables, "plots": plots}


def _curve(study: Study, section: ReportSection, results: Results) -> Table:
    """Along a setting: the mean gain over domains, or the share of a reference's gain on all
    rows, each under its active domain.
    """
    tables, plots = [], []
    split = study.splits[0]
    for task in results.tasks:
        series, rows = [], []
        for curve in section.curves:
            xs: list[Any] = []
            bands: list[list[float | None]] = [[], [], []]
            for point in curve.points:
                if point.reference:
                    found = results.ratio(
                        point.method, point.reference, point.against, split, [AUTO], task
                    )
                else:
                    found = results.gain(
                        point.method,
                        point.against,
                        split,
                        results.scope(section.cross),
                        task,
                        point.activated,
                    )
                x = point.x if point.x is not None else _title(study, point)
                xs.append(x)
                for band, value in zip(
                    bands,
                    (found.value, found.low, found.high) if found else (None,) * 3,
                    strict=True,
                ):
                    band.append(value)
                if found:
                    shown = found.percent() if section.shares else found.cell()
                    rows.append({"cells": [curve.title, str(x), shown]})
            series.append(
                {"name": curve.title, "x": xs, "y": bands[0], "low": bands[1], "high": bands[2]}
            )
        label = "share of the gap closed" if section.shares else "mean gain, AUC points"
        plots.append(
            {
                "kind": "curve",
                "title": f"{task.upper()}, split '{split}'",
                "x_label": section.x_label,
                "y_label": label,
                "log_x": section.log_x,
                "series": series,
                "reference": [{"name": "zero-shot", "y": 0.0}],
            }
        )
        tables.append(
            {
                "title": f"{task.upper()}, split '{split}': {label}",
                "note": "",
                "columns": ["series", section.x_label or "setting", label],
                "rows": rows,
            }
        )
    return {"tables": tables, "plots": plots}


def _slices(
    study: Study, section: ReportSection, results: Results, slices: dict[str, list[str]], note: str
) -> Table:
    tables = []
    for split in study.splits:
        for task in results.tasks:
            rows = []
            for column in section.rows:
                found = [
                    results.gain(
                        column.method, column.against, split, names, task, column.activated
                    )
                    for names in slices.values()
                ]
                rows.append(
                    {
                        "cells": [
                            _title(study, column),
                            *(value.cell() if value else None for value in found),
                        ]
                    }
                )
            title = f"{task.upper()}, split '{split}': gain in AUC points"
            tables.append(
                {"title": title, "note": note, "columns": ["method", *slices], "rows": rows}
            )
    return {"tables": tables, "plots": []}


def _activity(study: Study, section: ReportSection, results: Results) -> Table:
    """All rows, by how many rows of their user the window holds."""
    slices = {label: [f"{ALL}|activity={label}"] for label in ACTIVITY}
    return _slices(
        study,
        section,
        results,
        slices,
        "Columns: rows of the user in the fine-tuning window. Domain 'all'.",
    )


def _absent(study: Study, section: ReportSection, results: Results) -> Table:
    """Users the window never saw, domain by domain."""
    scope = results.scope(section.cross)
    slices = {"mean": [absent(name) for name in scope]} | {
        name: [absent(name)] for name in (ALL, *scope)
    }
    return _slices(
        study, section, results, slices, "Rows of users of whom the fine-tuning window has no row."
    )


def _notes(study: Study, section: ReportSection, results: Results) -> Table:
    """Figures that the methods noted themselves."""
    rows: list[dict[str, Any]] = []
    names: list[str] = []
    for column in section.rows:
        for seed in results.seeds(column.method):
            noted = results.outcomes[column.method, seed]["notes"].get(section.note or "", {})
            names = names or list(noted)
            rows.append(
                {
                    "cells": [
                        f"{_title(study, column)}, seed {seed}",
                        *(noted.get(name) for name in names),
                    ]
                }
            )
    return {
        "tables": [
            {"title": section.note or "", "note": "", "columns": ["method", *names], "rows": rows}
        ],
        "plots": [],
    }


_KINDS = {
    "methods": _methods,
    "log_loss": _log_loss,
    "domains": _domains,
    "curve": _curve,
    "activity": _activity,
    "absent": _absent,
    "notes": _notes,
}
