"""Decides which kernels are better than what would answer otherwise, over all domains at once.

A domain is two hypotheses, one for each ranking task: that its kernel's AUC (or GAUC) is no better
there. Some of many true hypotheses are always refuted by chance, so their p-values are corrected
for their number (Holm 1979, or Benjamini and Hochberg 1995).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from configs.schema import RANKING_TASKS
from configs.training import Activation
from trainer.evaluation.comparison import PairedRows
from trainer.metrics.paired_bootstrap import significantly_better
from trainer.metrics.paired_tests import PairedTest, paired_test
from trainer.metrics.results import Interval, TaskComparisons
from trainer.metrics.task_metrics import UNDEFINED, Floats


@dataclass(frozen=True)
class Evidence:
    """What the judging rows of a domain say of its kernel.

    Attributes:
      tests: ranking task -> the test against what would answer otherwise; None where undefined.
      positives: ranking task -> how many rows have the label.
    """

    tests: Mapping[str, PairedTest | None]
    positives: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """What the evidence proves of a domain's kernel, corrected for the number of domains.

    Attributes:
      helps: significantly better on one task, and worse on none.
      harms: significantly worse on one task, and better on none.
      reason: in words, one short clause.
    """

    helps: bool
    harms: bool
    reason: str


def gather_evidence(pairs: Iterable[tuple[str, PairedRows]], settings: Activation) -> Evidence:
    """Tests a domain's ranking tasks.

    Args:
      pairs: each task and its rows, as ``trainer.evaluation.comparison.paired_rows`` yields them;
        their ``backbone`` is what the kernel is compared with.
      settings: which metric.
    """
    ranking = {task: pair for task, pair in pairs if task in RANKING_TASKS}
    return Evidence(
        {task: paired_test(*pair, settings.metric) for task, pair in ranking.items()},
        {task: int(pair.labels[pair.weights > 0].sum()) for task, pair in ranking.items()},
    )


def judge(
    evidence: Mapping[str, Evidence], settings: Activation, share: float = 1.0
) -> dict[str, Verdict]:
    """Judges the kernels of domains that are decided together.

    Args:
      evidence: domain -> what its judging rows say.
      settings: level, correction, metric and minimum of positives.
      share: part of the level that these domains may use; 1 by default.

    Returns:
      The verdict of each domain, in the order of ``evidence``.
    """
    level = settings.level * share
    tested = {
        (domain, task): test
        for domain, found in evidence.items()
        for task in RANKING_TASKS
        if (test := found.tests.get(task)) is not None
        and found.positives.get(task, 0) >= settings.minimum_positives
    }
    better = _needed([test.better for test in tested.values()], level, settings.correction)
    worse = _needed([test.worse for test in tested.values()], level, settings.correction)
    rejected = {
        key: (test.better <= need_better, test.worse <= need_worse)
        for (key, test), need_better, need_worse in zip(tested.items(), better, worse, strict=True)
    }
    return {
        domain: _verdict(domain, found, rejected, dict(zip(tested, better, strict=True)), settings)
        for domain, found in evidence.items()
    }


def _needed(values: list[float], level: float, correction: str) -> Floats:
    """What each p-value must not exceed to be significant, ``[len(values)]``.

    Holm and Benjamini-Hochberg compare ordered p-values with rising bounds; a p-value's own bound
    is that of the rank at which the procedure ends, or its own where it is not reached.
    """
    p = np.asarray(values, np.float64)
    count = p.size
    if not count or correction == "none":
        return np.full(count, level)
    rank = np.arange(count)
    ordered = np.sort(p)
    if correction == "holm":
        bounds = level / (count - rank)
        passed = int(np.argmin(np.append(ordered <= bounds, False)))
        return np.full(count, bounds[min(passed, count - 1)])
    bounds = level * (rank + 1) / count
    passed = int(np.max(np.flatnonzero(ordered <= bounds), initial=0))
    return np.full(count, bounds[passed])


def _verdict(
    domain: str,
    found: Evidence,
    rejected: Mapping[tuple[str, str], tuple[bool, bool]],
    needed: Mapping[tuple[str, str], float],
    settings: Activation,
) -> Verdict:
    tasks = [task for task in RANKING_TASKS if (domain, task) in rejected]
    if not tasks:
        return Verdict(False, False, _untested(found, settings))
    half = settings.level / 2
    tests = {task: test for task in RANKING_TASKS if (test := found.tests.get(task)) is not None}
    higher = [task for task in tasks if rejected[domain, task][0]]
    lower = [task for task in tasks if rejected[domain, task][1]]
    name = settings.metric.upper()
    if higher:
        against = [task for task, test in tests.items() if test.worse <= half]
        best = min(higher, key=lambda task: tests[task].better)
        said = (
            f"{best.upper()}-{name} higher (p = {tests[best].better:.2g},"
            f" needed {needed[domain, best]:.2g})"
        )
        if against:
            said += f", but {against[0].upper()}-{name} lower (p = {tests[against[0]].worse:.2g})"
        return Verdict(not against, False, said)
    if lower:
        against = [task for task, test in tests.items() if test.better <= half]
        worst = min(lower, key=lambda task: tests[task].worse)
        said = f"{worst.upper()}-{name} lower (p = {tests[worst].worse:.2g})"
        if against:
            said += f", but {against[0].upper()}-{name} higher (p = {tests[against[0]].better:.2g})"
        return Verdict(False, not against, said)
    best = min(tasks, key=lambda task: tests[task].better)
    return Verdict(
        False,
        False,
        f"no {name} significantly higher ({best.upper()}: p = {tests[best].better:.2g},"
        f" needed {needed[domain, best]:.2g})",
    )


def _untested(found: Evidence, settings: Activation) -> str:
    few = {
        task: count for task, count in found.positives.items() if count < settings.minimum_positives
    }
    if few:
        task = max(few, key=lambda name: few[name])
        return f"too few positives: {few[task]} of {settings.minimum_positives} ({task.upper()})"
    return "no test: too few users, or one outcome alone"


def passes_activation_rule(figures: TaskComparisons) -> bool:
    """Whether a kernel is significantly better than the backbone: CTR- or CTCVR-AUC better, and
    neither worse (our choice).
    """
    intervals = [figures[task]["auc"].ci95 for task in RANKING_TASKS]
    return any(map(significantly_better, intervals)) and not any(
        map(_significantly_worse, intervals)
    )


def _significantly_worse(interval: Interval) -> bool:
    return interval != UNDEFINED and float(interval[1]) < 0.0
