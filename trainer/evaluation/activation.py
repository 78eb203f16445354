"""Decides which kernels are better than what would answer otherwise, over all domains at once.

A domain is judged on all targets over all rows. Its p-value is the smallest of theirs, times
their number (Bonferroni), and the domains' p-values are corrected for the number of domains (Holm
1979, or Benjamini and Hochberg 1995). ``benchmarks.reliability --section activation_rules`` says
how often the rule errs and what it misses, beside other rules.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from configs.training import Activation
from trainer.evaluation.comparison import PairedRows
from trainer.metrics.paired_tests import PairedTest, paired_test

_DOUBT = 0.15
"""One-sided p-value of another task, about one standard error, from which a difference is not
trusted: where clicks are won and orders lost, it halves what is activated wrongly and costs nothing
elsewhere (measured by simulation).
"""


@dataclass(frozen=True)
class Evidence:
    """What the judging rows of a domain say of its kernel.

    Attributes:
      tests: ranking task -> the test against what would answer otherwise; None where undefined.
      positives: ranking task -> how many rows have the label.
    """

    tests: Mapping[str, PairedTest | None]
    positives: Mapping[str, int]

    def defined(self) -> dict[str, PairedTest]:
        """The tests that are defined, by task."""
        return {task: test for task, test in self.tests.items() if test is not None}


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


def gather_evidence(
    pairs: Iterable[tuple[str, PairedRows]],
    ranking: Collection[str],
    settings: Activation,
    days: float = 1.0,
) -> Evidence:
    """Tests a domain's ranking tasks.

    Args:
      pairs: each task and its rows, as ``trainer.evaluation.comparison.paired_rows`` yields them;
        their ``backbone`` is what the kernel is compared with.
      ranking: the tasks that are tested (``configs.prediction.tasks.Tasks.ranking``).
      settings: which metric, and how it drifts.
      days: that the rows are of; 1 by default.
    """
    drift = settings.drift / np.sqrt(max(days, 1.0))
    tested = {task: pair for task, pair in pairs if task in ranking}
    return Evidence(
        {task: paired_test(*pair, settings.metric, drift) for task, pair in tested.items()},
        {task: int(pair.labels[pair.weights > 0].sum()) for task, pair in tested.items()},
    )


def judge(
    evidence: Mapping[str, Evidence], settings: Activation, share: float = 1.0
) -> dict[str, Verdict]:
    """Judges the kernels of domains that are decided together.

    A task is tested where it has enough positives. A significant difference of one task counts for
    nothing where another task has gone the opposite way by more than about a standard error,
    which guards against harm (our choice).

    Args:
      evidence: domain -> what its judging rows say.
      settings: level, correction, metric and minimum of positives.
      share: part of the level that these domains may use; 1 by default, and always without a
        correction.

    Returns:
      The verdict of each domain, in the order of ``evidence``.
    """
    better = _prove(evidence, settings, share, lambda test: test.better)
    worse = _prove(evidence, settings, share, lambda test: test.worse)
    return {
        domain: _verdict(found, better.get(domain), worse.get(domain), settings)
        for domain, found in evidence.items()
    }


@dataclass(frozen=True)
class _Proof:
    """What speaks most for a direction in a domain.

    Attributes:
      task: whose test has the smallest p-value.
      p: that p-value.
      needed: what it must not exceed to be significant.
    """

    task: str
    p: float
    needed: float

    @property
    def holds(self) -> bool:
        return self.p <= self.needed


def _prove(
    evidence: Mapping[str, Evidence],
    settings: Activation,
    share: float,
    p_of: Callable[[PairedTest], float],
) -> dict[str, _Proof]:
    """The proof of every domain that has a tested task."""
    p_values = {
        domain: {
            task: p_of(test)
            for task, test in found.defined().items()
            if found.positives[task] >= settings.minimum_positives
        }
        for domain, found in evidence.items()
    }
    smallest = {
        domain: min(tested.values()) * len(tested) for domain, tested in p_values.items() if tested
    }
    level = settings.bound * (1.0 if settings.correction == "none" else share)
    bound = _bound(list(smallest.values()), level, settings.correction)
    return {
        domain: _Proof(
            task=min(p_values[domain], key=p_values[domain].__getitem__),
            p=min(p_values[domain].values()),
            needed=bound / len(p_values[domain]),
        )
        for domain in smallest
    }


def _bound(p_values: list[float], level: float, correction: str) -> float:
    """What a p-value must not exceed to be significant among these.

    Holm goes up the ordered p-values as long as each is within its bound, Benjamini and Hochberg
    take the last that is. Either then rejects all up to there, which are those within the bound
    where it ended.
    """
    ordered, count = np.sort(p_values), len(p_values)
    if not count or correction == "none":
        return level
    rank = np.arange(count)
    if correction == "holm":
        bounds = level / (count - rank)
        (failed,) = np.nonzero(ordered > bounds)
        return float(bounds[failed[0] if failed.size else -1])
    bounds = level * (rank + 1) / count
    (passed,) = np.nonzero(ordered <= bounds)
    return float(bounds[passed[-1] if passed.size else 0])


def _verdict(
    found: Evidence, better: _Proof | None, worse: _Proof | None, settings: Activation
) -> Verdict:
    if better is None or worse is None:
        return Verdict(False, False, _untested(found, settings))
    name = settings.metric.upper()
    tests = found.defined()
    if better.holds:
        lower = {task: test.worse for task, test in tests.items() if test.worse <= _DOUBT}
        return Verdict(not lower, False, _said(name, "higher", better, "lower", lower))
    if worse.holds:
        higher = {task: test.better for task, test in tests.items() if test.better <= _DOUBT}
        return Verdict(False, not higher, _said(name, "lower", worse, "higher", higher))
    return Verdict(False, False, f"no {name} significantly higher ({_figures(better)})")


def _said(name: str, word: str, proof: _Proof, other_word: str, against: dict[str, float]) -> str:
    """``CLICK-AUC higher (p = 0.0004, needed 0.0017), but ORDER-AUC lower (p = 0.02)``."""
    said = f"{proof.task.upper()}-{name} {word} ({_figures(proof)})"
    others = [f"{task.upper()}-{name} {other_word} (p = {p:.2g})" for task, p in against.items()]
    return ", but ".join([said, *others])


def _figures(proof: _Proof) -> str:
    return f"p = {proof.p:.2g}, needed {proof.needed:.2g}"


def _untested(found: Evidence, settings: Activation) -> str:
    task = max(found.positives, key=found.positives.__getitem__)
    if found.positives[task] < settings.minimum_positives:
        few = f"{found.positives[task]} of {settings.minimum_positives} ({task.upper()})"
        return f"too few positives: {few}"
    return "no test: too few users, or one outcome alone"
