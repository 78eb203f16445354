"""How often the rule of activation errs, what it misses, and what other rules would have cost.

Simulated runs of 30 domains (``benchmarks.reliability.simulated_runs``) are decided as fine-tuning
decides them. Where no kernel brings anything, every activation is an error. Where some do, a rule
is judged by its regret: how many AUC points of a row, over the domains' rows, it lost against who
knows the truth. Errors and regret pull apart, since what is no better costs nothing either; so the
rule to take is that of the least regret among those whose errors are bounded.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from benchmarks.figures.report import Sections, table
from benchmarks.reliability.expected_gain import chances_of_a_gain
from benchmarks.reliability.simulated_runs import (
    CLICK,
    DOMAINS,
    LEVELS,
    ORDER,
    ROWS,
    TASKS,
    Outcome,
    Rule,
    Run,
    draw_log,
    draw_scores,
    evidence_of,
)
from benchmarks.speed.options import Figures, Options
from configs.domains import ALL
from configs.training import Activation
from trainer.evaluation.activation import Evidence, judge

Gains = Mapping[str, Mapping[str, float]]

_RUNS, _RUNS_QUICK = 400, 4
_RUNS_WITH_GAINS, _RUNS_WITH_GAINS_QUICK = 100, 2
_TESTS, _TESTS_QUICK = 4_000, 20
_SIZES = (0, 500, 1_500, 3_000, 6_000)
"""Judging rows from which a size of domain begins, in the table of power."""
_POSITIVES = (5, 10, 20, 50)
_POSITIVES_A_ROW = 0.034
_TEST_LEVEL = 0.005
_BIGGEST, _SMALLEST = 4.0, -4.0  # gains that ``simulated_runs`` can give a kernel


def _corrected(correction: Literal["holm", "benjamini_hochberg", "none"]) -> Rule:
    settings = Activation(correction=correction)

    def rule(evidence: Mapping[str, Evidence], share: float) -> list[str]:
        verdicts = judge(evidence, settings, share)
        return [domain for domain, verdict in verdicts.items() if verdict.helps]

    return rule


def _probable(threshold: float) -> Rule:
    def rule(evidence: Mapping[str, Evidence], share: float) -> list[str]:
        chances = chances_of_a_gain(evidence, Activation())
        return [domain for domain, chance in chances.items() if chance > threshold]

    return rule


def _never(evidence: Mapping[str, Evidence], share: float) -> list[str]:
    return []


RULES: dict[str, Rule] = {
    "never": _never,
    "none": _corrected("none"),
    "holm": _corrected("holm"),
    "benjamini_hochberg": _corrected("benjamini_hochberg"),
    "probable_gain": _probable(0.95),
    "expected_gain": _probable(0.5),
}
"""``none``, ``holm`` and ``benjamini_hochberg`` are ``finetune.activation.correction``, each at its
own level; ``probable_gain`` and ``expected_gain`` ask for a 95% chance of a gain, and for more than
half a chance, under empirical Bayes.
"""


_RULE_TITLES = {
    "never": "never activate",
    "none": "no correction, 5%",
    "holm": "Holm, 5%",
    "benjamini_hochberg": "Benjamini-Hochberg, 10% (default)",
    "probable_gain": "95% chance of a gain (empirical Bayes)",
    "expected_gain": "more than half a chance (empirical Bayes)",
}


def _both(gain: float) -> dict[str, float]:
    return dict.fromkeys(TASKS, float(np.clip(gain, _SMALLEST, _BIGGEST)))


def _each(draw: Callable[[str], float]) -> Gains:
    return {domain.name: _both(draw(domain.name)) for domain in DOMAINS}


SCENARIOS: dict[str, Callable[[np.random.Generator], Gains]] = {
    "no_gain": lambda random: _each(lambda _: 0.0),
    "one_point": lambda random: _each(
        lambda domain: float(domain != ALL and random.random() < 0.5)
    ),
    "few_large": lambda random: _each(
        lambda domain: 2.0 if domain != ALL and random.random() < 0.15 else -0.1
    ),
    "many_small": lambda random: _each(lambda _: random.normal(0.4, 0.3)),
    "some_harm": lambda random: _each(
        lambda _: random.normal(0.6, 0.3) if random.random() < 0.5 else random.normal(-0.7, 0.4)
    ),
    "on_top_of_all": lambda random: _each(
        lambda domain: 1.8 if domain == ALL else random.normal(2.0, 0.4)
    ),
    "one_task_for_the_other": lambda random: {
        domain.name: {CLICK: 1.0, ORDER: -1.5} if random.random() < 0.5 else _both(0.5)
        for domain in DOMAINS
    },
}
"""True gains of the kernels over the backbone, in AUC points, drawn for each run: none; one point
in every second domain; two in few, where the rest lose a little; small ones of unequal size; harm
in half of the domains; a kernel of all traffic that brings most, as on the quickstart; clicks won
and orders lost.
"""

_SCENARIO_TITLES = {
    "one_point": "one point in half",
    "few_large": "two points in few",
    "many_small": "many small",
    "some_harm": "harm in half",
    "on_top_of_all": "on top of `all`",
    "one_task_for_the_other": "one task for the other",
}


def measure(options: Options) -> Figures:
    """See the module."""
    return figures(options.quick)


def figures(quick: bool = False) -> Figures:
    """Everything that the module is about, as one flat object.

    ``no_gain_runs_with_errors_RULE_ratio`` is the share of runs without any gain in which the rule
    activated a kernel, ``_low_ratio`` and ``_high_ratio`` its 95% interval.
    ``SCENARIO_false_RULE_ratio`` is the share of what it activated that added nothing, mean over
    runs. ``power_RULE_from_ROWS_ratio`` is the share of domains with a gain of one point that it
    activated, by their judging rows. ``SCENARIO_regret_RULE_points`` is what it lost, and
    ``..._interval_points`` the half width of that mean's 95% interval.
    ``test_size_POSITIVES_ratio`` is how much more often than it says a test calls a kernel better,
    or worse, that is neither.

    Args:
      quick: a few runs of a small log, which show that everything runs.
    """
    found: Figures = {"domains": len(DOMAINS)}
    with _workers(quick) as each:
        for scenario in SCENARIOS:
            without = scenario == "no_gain"
            many, few = (
                (_RUNS, _RUNS_QUICK) if without else (_RUNS_WITH_GAINS, _RUNS_WITH_GAINS_QUICK)
            )
            jobs = [(scenario, seed, quick) for seed in range(few if quick else many)]
            runs = each(_decided, jobs)
            found |= {f"{scenario}_runs": len(runs)} | _scenario_figures(scenario, runs)
        tests = _TESTS_QUICK if quick else _TESTS
        sizes = each(_test_size, [(positives, tests) for positives in _POSITIVES])
    return found | {
        f"test_size_{positives}_ratio": size
        for positives, size in zip(_POSITIVES, sizes, strict=True)
    }


def tables(figures: Figures) -> Sections:
    """A line for each rule: its errors, its regret in every scenario with gains, and its power by
    size of domain.
    """
    rows = [
        (title, _errors(figures, rule), *_regrets(figures, rule), _powers(figures, rule))
        for rule, title in _RULE_TITLES.items()
    ]
    columns = ["rule", "runs with an error", *_SCENARIO_TITLES.values(), "power at one point"]
    return {"rules": [table("rules", columns, rows)]}


def _errors(figures: Figures, rule: str) -> str:
    share, low, high = (
        100 * float(figures[f"no_gain_runs_with_errors_{rule}{end}_ratio"])
        for end in ("", "_low", "_high")
    )
    return f"{share:.1f}% [{low:.1f}, {high:.1f}]"


def _regrets(figures: Figures, rule: str) -> list[str]:
    found = (figures[f"{scenario}_regret_{rule}_points"] for scenario in _SCENARIO_TITLES)
    return [f"{float(regret):.2f}" for regret in found]


def _powers(figures: Figures, rule: str) -> str:
    """Of all sizes; "-" where no domain is of one."""
    found = (figures.get(f"power_{rule}_from_{low}_ratio") for low in _SIZES)
    return " / ".join("-" if one is None else f"{100 * float(one):.0f}" for one in found) + "%"


@contextmanager
def _workers(quick: bool) -> Iterator[Callable[[Any, list[Any]], list[Any]]]:
    """``map`` over processes, spawned since the section ``day_two`` calls this beside TensorFlow's
    threads; in this one for a quick run, which takes less than their start.
    """
    if quick:
        yield lambda function, jobs: [function(job) for job in jobs]
        return
    with get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        yield lambda function, jobs: pool.map(function, jobs, chunksize=1)


class _Decided:
    """A rule's outcome in a run, reduced to what is counted, and small enough to be sent."""

    def __init__(self, outcome: Outcome, best: float) -> None:
        self.activated, self.errors = len(outcome.added), outcome.errors
        self.regret = best - outcome.worth
        run = outcome.run
        self.with_gain = [
            (int(run.log.rows_of(domain).size), domain.name in outcome.added)
            for level in LEVELS
            for domain in level
            if run.worth(domain.name) == 1.0
        ]


def _decided(job: tuple[str, int, bool]) -> dict[str, _Decided]:
    scenario, seed, quick = job
    random = np.random.default_rng([seed, *scenario.encode()])
    gains = SCENARIOS[scenario](random)
    run = Run(draw_log(random, ROWS // 10 if quick else ROWS), gains, random)
    best = run.best().worth
    return {name: _Decided(run.decide(rule), best) for name, rule in RULES.items()}


def _scenario_figures(scenario: str, runs: list[dict[str, _Decided]]) -> Figures:
    found: Figures = {}
    for rule in RULES:
        outcomes = [run[rule] for run in runs]
        if scenario == "no_gain":
            wrong = sum(outcome.errors > 0 for outcome in outcomes)
            interval = binomtest(wrong, len(outcomes)).proportion_ci()
            name = f"no_gain_runs_with_errors_{rule}"
            found[f"{name}_ratio"] = wrong / len(outcomes)
            found[f"{name}_low_ratio"] = float(interval.low)
            found[f"{name}_high_ratio"] = float(interval.high)
            continue
        shares = [outcome.errors / max(outcome.activated, 1) for outcome in outcomes]
        found[f"{scenario}_activated_{rule}"] = _mean(o.activated for o in outcomes)
        found[f"{scenario}_false_{rule}_ratio"] = _mean(shares)
        regrets = [outcome.regret for outcome in outcomes]
        found[f"{scenario}_regret_{rule}_points"] = _mean(regrets)
        half = 1.96 * float(np.std(regrets, ddof=1)) / len(regrets) ** 0.5
        found[f"{scenario}_regret_{rule}_interval_points"] = half
        if scenario == "one_point":
            found |= _power(rule, [case for o in outcomes for case in o.with_gain])
    return found


def _power(rule: str, cases: list[tuple[int, bool]]) -> Figures:
    found: Figures = {}
    for low, high in zip(_SIZES, (*_SIZES[1:], ROWS + 1), strict=True):
        hits = [activated for rows, activated in cases if low <= rows < high]
        if hits:
            found[f"power_{rule}_from_{low}_ratio"] = _mean(hits)
    return found


def _test_size(job: tuple[int, int]) -> float:
    """How often, over how often it should, the test of orders of a single domain with about as many
    positives finds at one half of a percent that a kernel is better, or worse, which is neither.
    """
    positives, tests = job
    random = np.random.default_rng(positives)
    equal, rows = _both(0.0), int(positives / _POSITIVES_A_ROW)
    below = 0
    for _ in range(tests):
        log = draw_log(random, rows)
        one, other = (draw_scores(log, equal, random) for _ in range(2))
        test = evidence_of(log, np.arange(log.user.size), one, other, Activation()).tests[ORDER]
        below += test is not None and min(test.better, test.worse) <= _TEST_LEVEL
    return below / (2 * tests * _TEST_LEVEL)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
