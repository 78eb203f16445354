"""A study's bars: what was asked, what was measured, and whether it is met."""

from typing import Any

from benchmarks.method.outcome import AUTO
from benchmarks.method.results import Estimate, Results, absent
from benchmarks.method.study import Bar
from benchmarks.method.text import show_cell

_UNMEASURED = "not measured"


def measure(bar: Bar, results: Results) -> dict[str, Any]:
    """One bar: what was asked, what was measured, and whether it is met (None: not measured)."""
    shown, met = [], []
    least = bar.least(results.tasks)
    for task, number in least.items():
        text, reached = _of_task(bar, results, task, number)
        shown.append(f"{task.upper()}: {text}")
        met.append(reached)
    return {
        "bar": bar.bar,
        "asked": _asked(bar, list(least.values())),
        "measured": "; ".join(shown),
        "met": None if None in met else all(met),
    }


def _of_task(bar: Bar, results: Results, task: str, least: float) -> tuple[str, bool | None]:
    """What a task's figure is, and whether it is what was asked."""
    scope = results.scope()
    if bar.kind in ("never_worse", "absent_never_worse"):
        return _each_domain(bar, results, task)
    if bar.kind in ("recovered", "gap_closed"):
        slices = [AUTO] if bar.kind == "gap_closed" else scope
        share = results.ratio(
            bar.method, bar.reference or "", bar.against, bar.split, slices, task, bar.activated
        )
        if share is None:
            return _UNMEASURED, None
        return share.percent(), share.value >= least and share.above_zero
    if bar.kind == "level":
        level = results.level(bar.method, bar.split, bar.slice, task, bar.metric)
        if level is None:
            return _UNMEASURED, None
        return show_cell(level.cell("auc")), level.value >= least
    gain = results.gain(bar.method, bar.against, bar.split, scope, task, bar.activated, bar.metric)
    if gain is None:
        return _UNMEASURED, None
    return show_cell(gain.cell()), _reached(bar, gain, least)


def _reached(bar: Bar, gain: Estimate, least: float) -> bool:
    if bar.kind == "not_below":
        return gain.high >= 0
    return gain.value >= least and gain.above_zero


def _each_domain(bar: Bar, results: Results, task: str) -> tuple[str, bool | None]:
    """How many single-topic domains lie significantly below what they are compared with."""
    scope = results.scope()
    names = [absent(name) for name in scope] if bar.kind == "absent_never_worse" else scope
    found = {
        name: results.gain(bar.method, bar.against, bar.split, [name], task, bar.activated)
        for name in names
    }
    known = {name: value for name, value in found.items() if value}
    if not known:
        return _UNMEASURED, None
    worse = [name for name, value in known.items() if value.high < 0]
    lowest = min(known, key=lambda name: known[name].value)
    text = f"{len(worse)} of {len(known)} below, lowest {lowest} {show_cell(known[lowest].cell())}"
    return text + (f" (below: {', '.join(worse)})" if worse else ""), not worse


def _asked(bar: Bar, asked: list[float]) -> str:
    """What a measurement must reach; a gain or a share must also lie above 0, with its interval
    and under every seed.
    """
    metric = f"{bar.metric.upper()} " if bar.metric != "auc" else ""
    if bar.kind == "not_below":
        return f"{metric}not significantly below"
    if bar.kind.endswith("worse"):
        return "none significantly below"
    if not any(asked):
        return f"{metric}above 0: interval and every seed"
    if bar.kind == "level":
        return f"{metric}>= {' / '.join(f'{least:.4f}' for least in asked)}"
    if bar.kind == "gain":
        return f"{metric}>= {' / '.join(f'{least:g}' for least in asked)} points"
    return f">= {' / '.join(f'{least:.0%}' for least in asked)}"
