"""A study's results as the sections of its report."""

from collections import defaultdict
from typing import Any

from benchmarks.method.outcome import ACTIVITY, AUTO, TASKS
from benchmarks.method.results import Results, absent
from benchmarks.method.study import Bar, Column, ReportSection, Study
from configs.domains import ALL

Table = dict[str, Any]

_METHOD_COLUMNS = ("CTR gain", "CTCVR gain", "CTR-AUC", "CTCVR-AUC", "parameters", "rows", "seconds", "domains helped")


def report_of(study: Study, results: Results, command: str) -> dict[str, Any]:
    """What ``report.write_report`` shows."""
    return {
        "study": study.name,
        "title": study.title,
        "description": study.description,
        "command": command,
        "seeds": sorted({seed for _, seed in results.outcomes}),
        "facts": list(study.facts),
        "sections": [
            {"id": section.id, "title": section.title, "text": section.text, **_KINDS[section.kind](study, section, results)}
            for section in study.sections
        ],
        "bars": [_bar(bar, results) for bar in study.bars],
    }


def _title(study: Study, column: Column) -> str:
    name, _, suffix = column.method.partition("/")
    return column.title or study.methods[name].title + (f" ({suffix})" if suffix else "")


def _methods(study: Study, section: ReportSection, results: Results) -> Table:
    """Methods by mean gain over domains, with what they cost."""
    scope = results.scope(section.cross)
    tables = []
    for split in study.splits:
        rows = []
        for column in section.rows:
            cells: list[Any] = [_title(study, column)]
            for task in TASKS:
                found = results.gain(column.method, column.against, split, scope, task, column.activated)
                cells.append(found.cell() if found else None)
            for task in TASKS:
                auto = results.auc(column.method, split, AUTO, task)
                cells.append({"value": auto.value, "unit": "auc"} if auto else None)
            cells += _costs(results, column.method)
            rows.append({"cells": cells, "emphasis": False})
        tables.append(
            {
                "title": f"split '{split}'",
                "note": f"Gain: mean over {len(scope)} {'cross' if section.cross else 'single'}-topic domains, AUC points. "
                "AUC: all rows, each under its most specific active domain. Costs: mean over seeds; numbers trained for one domain "
                "(for all where a method is one model), rows learned from with every pass counted, seconds of training.",
                "columns": ["method", *_METHOD_COLUMNS],
                "rows": rows,
            }
        )
    forest = [
        {
            "kind": "scatter",
            "title": f"{task.upper()}: gain and cost",
            "x_label": "training seconds",
            "y_label": "mean gain, AUC points",
            "log_x": True,
            "points": [
                {"name": _title(study, column), "x": seconds, "y": found.value, "low": found.low, "high": found.high}
                for column in section.rows
                if (found := results.gain(column.method, column.against, study.splits[0], scope, task, column.activated))
                and (seconds := results.mean_of(column.method, lambda outcome: outcome["seconds"]))
            ],
        }
        for task in TASKS
    ]
    return {"tables": tables, "plots": forest}


def _costs(results: Results, method: str) -> list[Any]:
    figures: list[Any] = []
    for key, unit in (("parameters", "count"), ("rows", "count"), ("seconds", "seconds")):
        value = results.mean_of(method, lambda outcome, key=key: outcome[key])  # type: ignore[misc]
        figures.append(None if value is None else {"value": value, "unit": unit})
    active = results.mean_of(method, lambda outcome: len([name for name in outcome["active"] or [] if name != ALL]))
    return [*figures, None if active is None else {"value": active, "unit": "count"}]


def _domains(study: Study, section: ReportSection, results: Results) -> Table:
    """Every domain under every method, and the average of each topic."""
    tables, plots = [], []
    by_topic: dict[str, list[str]] = defaultdict(list)
    for domain in results.domains:
        if len(domain.conditions) == (2 if section.cross else 1):
            by_topic[" x ".join(topic for topic, _ in domain.conditions)].append(domain.name)
    for split in study.splits:
        for task in TASKS:
            rows = []
            for topic, names in by_topic.items():
                for label, slices in [*((name, [name]) for name in names), (f"mean of {topic}", names)]:
                    cells: list[Any] = [label]
                    zero = results.auc(section.rows[0].against, split, slices[0], task) if len(slices) == 1 else None
                    cells.append({"value": zero.value, "unit": "auc"} if zero else None)
                    for column in section.rows:
                        found = results.gain(column.method, column.against, split, slices, task, column.activated)
                        cells.append(found.cell() if found else None)
                    rows.append({"cells": cells, "emphasis": label.startswith("mean of "), "group": topic})
            tables.append(
                {
                    "title": f"{task.upper()}-AUC, split '{split}': gain over zero-shot in AUC points",
                    "note": "",
                    "columns": ["domain", "zero-shot", *(_title(study, column) for column in section.rows)],
                    "rows": rows,
                }
            )
    for task in TASKS:
        groups = []
        for name in [name for names in by_topic.values() for name in names]:
            points = [
                {"series": _title(study, column), "value": found.value, "low": found.low, "high": found.high}
                for column in section.rows[:4]
                if (found := results.gain(column.method, column.against, study.splits[0], [name], task, column.activated))
            ]
            groups.append({"name": name, "points": points})
        plots.append(
            {"kind": "forest", "title": f"{task.upper()}, split '{study.splits[0]}'", "x_label": "gain in AUC points", "groups": groups}
        )
    return {"tables": tables, "plots": plots}


def _curve(study: Study, section: ReportSection, results: Results) -> Table:
    """Mean gain, or the share of the reachable gap that is closed, along a setting."""
    tables, plots = [], []
    split = study.splits[0]
    for task in TASKS:
        series, rows = [], []
        for curve in section.curves:
            xs: list[Any] = []
            bands: list[list[float | None]] = [[], [], []]
            for point in curve.points:
                if section.gap:
                    suffix = point.against.partition(".")[2]
                    found = results.ratio(point.method, section.gap + (f".{suffix}" if suffix else ""), point.against, split, [AUTO], task)
                else:
                    found = results.gain(point.method, point.against, split, results.scope(section.cross), task, point.activated)
                x = point.x if point.x is not None else _title(study, point)
                xs.append(x)
                for band, value in zip(bands, (found.value, found.low, found.high) if found else (None,) * 3, strict=True):
                    band.append(value)
                rows.append({"cells": [curve.title, str(x), found.cell("" if section.gap else "points") if found else None]})
            series.append({"name": curve.title, "x": xs, "y": bands[0], "low": bands[1], "high": bands[2]})
        label = "share of the gap closed" if section.gap else "mean gain, AUC points"
        plots.append(
            {
                "kind": "curve",
                "title": task.upper(),
                "x_label": section.x_label,
                "y_label": label,
                "log_x": section.log_x,
                "series": series,
                "reference": [{"name": "zero-shot", "y": 0.0}],
            }
        )
        tables.append(
            {"title": f"{task.upper()}: {label}", "note": "", "columns": ["series", section.x_label or "setting", label], "rows": rows}
        )
    return {"tables": tables, "plots": plots}


def _slices(study: Study, section: ReportSection, results: Results, slices: dict[str, list[str]], note: str) -> Table:
    tables = []
    for split in study.splits:
        for task in TASKS:
            rows = []
            for column in section.rows:
                found = [results.gain(column.method, column.against, split, names, task, column.activated) for names in slices.values()]
                rows.append({"cells": [_title(study, column), *(value.cell() if value else None for value in found)]})
            title = f"{task.upper()}-AUC gain, split '{split}'"
            tables.append({"title": title, "note": note, "columns": ["method", *slices], "rows": rows})
    return {"tables": tables, "plots": []}


def _activity(study: Study, section: ReportSection, results: Results) -> Table:
    """All rows, by how many rows of their user the window holds."""
    slices = {label: [f"{ALL}|activity={label}"] for label in ACTIVITY}
    return _slices(study, section, results, slices, "Columns: rows of the user in the fine-tuning window. Domain 'all'.")


def _absent(study: Study, section: ReportSection, results: Results) -> Table:
    """Users the window never saw, domain by domain."""
    scope = results.scope(section.cross)
    slices = {"mean": [absent(name) for name in scope]} | {name: [absent(name)] for name in (ALL, *scope)}
    return _slices(study, section, results, slices, "Rows of users of whom the fine-tuning window has no row.")


def _notes(study: Study, section: ReportSection, results: Results) -> Table:
    """Figures that the methods noted themselves."""
    rows: list[dict[str, Any]] = []
    names: list[str] = []
    for column in section.rows:
        for seed in results.seeds(column.method):
            noted = results.outcomes[column.method, seed]["notes"].get(section.note or "", {})
            names = names or list(noted)
            rows.append({"cells": [f"{_title(study, column)}, seed {seed}", *(noted.get(name) for name in names)]})
    return {"tables": [{"title": section.note or "", "note": "", "columns": ["method", *names], "rows": rows}], "plots": []}


_KINDS = {
    "methods": _methods,
    "domains": _domains,
    "curve": _curve,
    "activity": _activity,
    "absent": _absent,
    "notes": _notes,
}


def _bar(bar: Bar, results: Results) -> dict[str, Any]:
    """One bar: what was asked, what was measured, and whether it is met (None: not measured)."""
    shown, met = [], []
    for task, least in zip(TASKS, bar.at_least, strict=True):
        scope = [AUTO] if bar.overall else results.scope()
        if bar.kind in ("never_worse", "absent_never_worse"):
            names = [absent(name) for name in scope] if bar.kind == "absent_never_worse" else scope
            found = {name: results.gain(bar.method, bar.against, bar.split, [name], task, bar.activated) for name in names}
            known = {name: value for name, value in found.items() if value}
            worse = [name for name, value in known.items() if value.high < 0]
            shown.append(f"{task.upper()}: {len(worse)} of {len(known)} below" + (f" ({', '.join(worse)})" if worse else ""))
            met.append(not worse if known else None)
            continue
        if bar.kind in ("recovered", "gap_closed"):
            slices = [AUTO] if bar.kind == "gap_closed" else scope
            value = results.ratio(bar.method, bar.reference or "", bar.against, bar.split, slices, task)
            text = f"{value.value:.0%} [{value.low:.0%}, {value.high:.0%}]" if value else "not measured"
        else:
            value = results.gain(bar.method, bar.against, bar.split, scope, task, bar.activated)
            text = f"{value.value:+.2f} [{value.low:+.2f}, {value.high:+.2f}]" if value else "not measured"
        shown.append(f"{task.upper()}: {text}")
        met.append(None if value is None else value.value >= least and (value.low > 0 or least < 0))
    asked = "none significantly below" if bar.kind.endswith("worse") else f">= {bar.at_least[0]:g} / {bar.at_least[1]:g}"
    return {"bar": bar.bar, "asked": asked, "measured": "; ".join(shown), "met": None if None in met else all(met)}
