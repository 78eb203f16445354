"""Simulated fine-tuning runs whose truth is known: the judging rows of a log, 30 domains, and
kernels that rank as well as they are told to.

A score is the row's true logit and an error, most of which all models share; what is a model's own
is partly the user's and partly the row's. The larger the error, the lower the AUC, so a model's
quality is the spread of its error, and two models of one quality differ without either being
better. Domains, and what answers them otherwise, are as in ``configs/quickstart.yaml``: ``all``, 13
single-topic and 16 cross-topic ones over the same users, decided level by level. With 20 thousand
rows the standard errors are about those of the quickstart.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from configs.domains import BACKBONE, Domain, Topic, enumerate_domains
from configs.training import Activation
from preprocessing.auc import roc_auc
from trainer.evaluation.activation import Evidence
from trainer.kernels.fallback import answering_domain
from trainer.metrics.paired_tests import paired_test

Floats = NDArray[np.float64]
ByTask = Mapping[str, Floats]

TASKS = CLICK, ORDER = "click", "order"
"""What the rows are judged on: a click, and a click with an order, each over all rows."""

ROWS = 20_000
"""Judging rows of a run; its smallest domain has some hundred."""

SHARES = {
    "scene": (0.50, 0.25, 0.17, 0.08),
    "region": (0.45, 0.30, 0.19, 0.06),
    "period": (0.30, 0.25, 0.20, 0.15, 0.10),
}
"""Share of each value of a topic in the requests."""

_TOPICS = {
    topic: Topic(column=topic, values=tuple(map(str, range(len(shares)))))
    for topic, shares in SHARES.items()
}
DOMAINS = enumerate_domains(_TOPICS, (("region", "scene"),))
LEVELS = [[domain for domain in DOMAINS if len(domain.conditions) == depth] for depth in range(3)]
"""Domains that are decided together, from the top down."""

_CANDIDATES = 10  # rows of a request
_MORE_REQUESTS = 0.3  # chance that a user makes another request
_CLICK, _CONVERSION = -2.05, -2.0  # logits: clicks on 15% of rows, orders on 3%
_USER, _ITEM = 0.5, 0.7  # spread of the true logit
_ERROR = {CLICK: 0.9, ORDER: 1.8}  # spread of the backbone's error, in logits
_SHARED = 0.8  # part of an error's variance that all models share,
_OF_BOTH_TASKS = 0.5  # of the rest, part that a model's two tasks have in common,
_OF_USER = 0.4  # and of either, part that is the user's and not the row's
_REFERENCE_ROWS = 200_000
_LARGEST = 3.0  # error that qualities are looked up in, as a multiple of the backbone's


@dataclass(frozen=True)
class Log:
    """Judging rows.

    Attributes:
      user: ``[N]``, ascending from 0.
      request: ``[N]``.
      topics: topic -> value of each row, from 1 on, ``[N]``.
      logits: task -> true logit, ``[N]``.
      shared: task -> error that all models share, of spread 1, ``[N]``.
      labels: task -> 0 or 1, ``[N]``.
    """

    user: NDArray[np.int64]
    request: NDArray[np.int64]
    topics: Mapping[str, NDArray[np.int64]]
    logits: ByTask
    shared: ByTask
    labels: ByTask

    def rows_of(self, domain: Domain) -> NDArray[np.intp]:
        """Places of a domain's rows."""
        inside = [self.topics[topic] == value for topic, value in domain.conditions]
        return np.flatnonzero(np.all(inside, axis=0)) if inside else np.arange(self.user.size)


def draw_log(generator: np.random.Generator, rows: int = ROWS) -> Log:
    """Draws judging rows; region belongs to the user, scene and period to the request."""
    requests = rows // _CANDIDATES
    others = generator.random(requests) >= _MORE_REQUESTS
    user_of_request = np.cumsum(others) - others[0]
    users = int(user_of_request[-1]) + 1
    request = np.repeat(np.arange(requests), _CANDIDATES)
    user = user_of_request[request]
    topics = {}
    for topic, shares in SHARES.items():
        units, count = (user, users) if topic == "region" else (request, requests)
        topics[topic] = 1 + generator.choice(len(shares), count, p=shares)[units]
    normal = generator.standard_normal
    taste, more = (_USER * normal(users)[user] + _ITEM * normal(request.size) for _ in TASKS)
    click = generator.random(request.size) < _sigmoid(_CLICK + taste)
    order = click & (generator.random(request.size) < _sigmoid(_CONVERSION + taste + more))
    return Log(
        user,
        request,
        topics,
        {CLICK: taste, ORDER: 2.0 * taste + more},
        {task: normal(request.size) for task in TASKS},
        {CLICK: click.astype(np.float64), ORDER: order.astype(np.float64)},
    )


def draw_scores(
    log: Log, gains: Mapping[str, float], generator: np.random.Generator
) -> dict[str, Floats]:
    """Task -> scores ``[N]`` of a model that is ``gains[task]`` AUC points above the backbone."""
    size, users = log.user.size, int(log.user[-1]) + 1
    common, *own = (
        np.sqrt(_OF_USER) * generator.standard_normal(users)[log.user]
        + np.sqrt(1.0 - _OF_USER) * generator.standard_normal(size)
        for _ in range(1 + len(TASKS))
    )
    return {
        task: log.logits[task]
        + error_of(task, gains[task])
        * (
            np.sqrt(_SHARED) * log.shared[task]
            + np.sqrt((1.0 - _SHARED) * _OF_BOTH_TASKS) * common
            + np.sqrt((1.0 - _SHARED) * (1.0 - _OF_BOTH_TASKS)) * error
        )
        for task, error in zip(TASKS, own, strict=True)
    }


def error_of(task: str, gain: float) -> float:
    """The spread of the error of a model that is ``gain`` AUC points above the backbone.

    Raises:
      ValueError: no error leads there.
    """
    errors, aucs = _auc_by_error()[task]
    base = np.interp(-_ERROR[task], -errors, aucs)
    if not aucs[0] <= base + gain <= aucs[-1]:
        raise ValueError(
            f"a gain of {gain} {task.upper()} points is out of reach; expected"
            f" {aucs[0] - base:.1f} to {aucs[-1] - base:.1f}"
        )
    return float(np.interp(base + gain, aucs, errors))


@cache
def _auc_by_error() -> dict[str, tuple[Floats, Floats]]:
    """Task -> spreads of the error, descending, and the AUC that each leads to, ascending."""
    log = draw_log(np.random.default_rng(0), _REFERENCE_ROWS)
    found = {}
    for task in TASKS:
        errors = _ERROR[task] * np.linspace(_LARGEST, 0.0, 31)
        aucs = [
            100.0 * (roc_auc(log.labels[task], log.logits[task] + error * log.shared[task]) or 0.0)
            for error in errors
        ]
        found[task] = (errors, np.maximum.accumulate(aucs))
    return found


def evidence_of(
    log: Log, rows: NDArray[np.intp], reference: ByTask, kernel: ByTask, settings: Activation
) -> Evidence:
    """What rows say of a kernel against what would answer otherwise."""
    labels = {task: log.labels[task][rows] for task in TASKS}
    tests = {
        task: paired_test(
            labels[task],
            reference[task][rows],
            kernel[task][rows],
            None,
            log.request[rows],
            log.user[rows],
            settings.metric,
            settings.drift,
        )
        for task in TASKS
    }
    return Evidence(tests, {task: int(labels[task].sum()) for task in TASKS})


Rule = Callable[[Mapping[str, Evidence], float], Iterable[str]]
"""``(evidence by domain, share of the level) -> domains whose kernel is activated``."""


@dataclass
class Run:
    """A run: its rows, what its kernels are worth, and every test that was asked of it.

    Attributes:
      log: the judging rows.
      gains: domain -> task -> AUC points of its kernel above the backbone, in truth.
      generator: of the models' errors.
      settings: of the tests.
    """

    log: Log
    gains: Mapping[str, Mapping[str, float]]
    generator: np.random.Generator
    settings: Activation = field(default_factory=Activation)
    _scores: dict[str, ByTask] = field(default_factory=dict)
    _found: dict[tuple[str, str], Evidence] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nothing = dict.fromkeys(TASKS, 0.0)
        for model in (BACKBONE, *(domain.name for domain in DOMAINS)):
            gains = self.gains.get(model, nothing)
            self._scores[model] = draw_scores(self.log, gains, self.generator)

    def evidence(self, domain: Domain, reference: str) -> Evidence:
        """What the domain's rows say of its kernel against another model."""
        key = (domain.name, reference)
        if key not in self._found:
            self._found[key] = evidence_of(
                self.log,
                self.log.rows_of(domain),
                self._scores[reference],
                self._scores[domain.name],
                self.settings,
            )
        return self._found[key]

    def worth(self, model: str) -> float:
        """True AUC points of a model above the backbone, mean of the tasks."""
        return float(np.mean(list(self.gains[model].values()))) if model in self.gains else 0.0

    def decide(self, rule: Rule) -> "Outcome":
        """Decides every domain, level by level; each level has the same share of the error."""
        active: dict[str, float] = {}
        added: dict[str, float] = {}
        for level in LEVELS:
            references = {domain: answering_domain(domain, active) for domain in level}
            evidence = {domain.name: self.evidence(domain, references[domain]) for domain in level}
            chosen = set(rule(evidence, 1.0 / len(LEVELS)))
            for domain in level:
                if domain.name in chosen:
                    tests = evidence[domain.name].defined().values()
                    active[domain.name] = float(np.mean([test.delta for test in tests] or [0.0]))
                    added[domain.name] = self.worth(domain.name) - self.worth(references[domain])
        return Outcome(
            self, added, {domain: answering_domain(domain, active) for domain in DOMAINS}
        )

    def best(self) -> "Outcome":
        """What is decided by who knows the truth: a kernel that is better is activated."""
        active: dict[str, float] = {}
        for domain in (domain for level in LEVELS for domain in level):
            worth = self.worth(domain.name)
            if worth > self.worth(answering_domain(domain, active)):
                active[domain.name] = worth
        return Outcome(self, {}, _answers(active))


@dataclass(frozen=True)
class Outcome:
    """What a rule made of a run.

    Attributes:
      run: the run.
      added: activated domain -> AUC points that this added, in truth.
      answers: domain -> what answers it in the end.
    """

    run: Run
    added: Mapping[str, float]
    answers: Mapping[Domain, str]

    @property
    def errors(self) -> int:
        """Activated kernels that add nothing."""
        return sum(gain <= 0.0 for gain in self.added.values())

    @property
    def worth(self) -> float:
        """AUC points above the backbone of a row, mean over the domains' rows."""
        rows = [self.run.log.rows_of(domain).size for domain in self.answers]
        return float(
            np.average([self.run.worth(name) for name in self.answers.values()], weights=rows)
        )


def _answers(active: Mapping[str, float]) -> dict[Domain, str]:
    return {domain: answering_domain(domain, active) for domain in DOMAINS}


def _sigmoid(logits: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-logits))
