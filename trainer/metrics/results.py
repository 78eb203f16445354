"""What ``evaluate`` finds, as ``reports/metrics.json`` holds it.

A figure is a number or ``"undefined"`` (a slice that holds one class). A domain's targets stand in
JSON beside its rows, by the names that the config gives them: ``{"rows", "active", ...,
"click": {metric: {...}}, "order": ...}``.

There are two references: the backbone, and the kernel of all traffic (``all``: the active version
of its kernel, else the newest). Keys that came later have defaults, so older files are read.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)

from configs.domains import is_single_topic
from configs.section import Section
from trainer.metrics.task_metrics import AMOUNT_METRICS, METRICS, UNDEFINED, mean_defined, to_json

T = TypeVar("T")
Number = Annotated[float, Strict()]

Figure = Number | Literal["undefined"]
"""A metric as JSON holds it."""

Interval = tuple[Number, Number] | Literal["undefined"]
"""``(low, high)`` of a difference, at 95%."""


def _complete(*sets: tuple[str, ...]) -> Callable[[dict[str, T]], dict[str, T]]:
    """A check that a dictionary has exactly the keys of one of the sets."""

    def check(values: dict[str, T]) -> dict[str, T]:
        if not any(set(values) == set(names) for names in sets):
            expected = ", or ".join(", ".join(names) for names in sets)
            raise ValueError(f"expected {expected}; received {', '.join(values) or 'nothing'}")
        return values

    return check


ByMetric = Annotated[dict[str, T], AfterValidator(_complete(METRICS, AMOUNT_METRICS))]
"""One of something for each of ``METRICS``; of an amount, of ``AMOUNT_METRICS``."""

ByTask = dict[str, T]
"""One of something for each target (``configs.prediction.tasks.Tasks.targets``)."""


def ranked(names: Iterable[str], ranking: Sequence[str] | None) -> tuple[str, ...]:
    """The targets over all rows among those of a result or a manifest.

    Args:
      names: all of them, in their order.
      ranking: as the file says; None where it is older than other tasks. Then there are three, the
        second of which is defined on the rows where the first's label is 1.
    """
    return tuple(names)[::2] if ranking is None else tuple(ranking)


class Pair(Section):
    """A metric under the backbone and under kernels, on the same rows."""

    backbone: Figure
    kernel: Figure


class RoutedFigures(Pair):
    """A pair, and the metric with every row under the kernel of all traffic; "undefined" where
    there is no such kernel.
    """

    all: Figure = UNDEFINED


class Comparison(Pair):
    """A pair with its difference: ``delta`` is kernel - backbone, ``ci95`` its interval."""

    delta: Figure
    ci95: Interval


TaskComparisons = dict[str, dict[str, Comparison]]
"""Task -> metric -> comparison."""


class DomainComparison(Comparison):
    """A comparison with both references.

    Attributes:
      all: the metric of the domain's rows under the kernel of all traffic.
      delta_all: kernel - all, 0 for the domain ``all`` itself.
      ci95_all: interval of ``delta_all``, from the same draws of users as ``ci95``.
    """

    all: Figure = UNDEFINED
    delta_all: Figure = UNDEFINED
    ci95_all: Interval = UNDEFINED


DomainComparisons = dict[str, dict[str, DomainComparison]]
"""Task -> metric -> comparison with both references."""

Seen = tuple[Literal["train", "validation"], ...]
"""How rows that are judged were used before: to learn from, or to stop, choose and judge."""


class DomainDecision(Section):
    """What fine-tuning last decided about a domain.

    Attributes:
      outcome: of its new kernel: activate; keep what is served; or deactivate what is served.
      reason: in words.
      against: what the new kernel was compared with: a version, a domain above, or ``backbone``.
      version: of the new kernel; None where none was stored.
      active: the version that was served afterwards; None where none was.
    """

    outcome: Literal["activate", "keep", "deactivate"]
    reason: str
    against: str
    version: int | None
    active: int | None


class Outcomes(Section):
    """How many rows that count have a label, and how many have it not."""

    positives: int
    negatives: int


class _OfTasks(Section):
    """What has its tasks beside its other keys in JSON."""

    tasks: ByTask[ByMetric[DomainComparison]]

    @model_validator(mode="before")
    @classmethod
    def _gather_tasks(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "tasks" in values:
            return values
        tasks = {name: values[name] for name in values if name not in cls.model_fields}
        return {name: values[name] for name in values if name not in tasks} | {"tasks": tasks}

    @model_serializer(mode="wrap")
    def _lay_out_tasks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = handler(self)
        tasks: dict[str, Any] = shown.pop("tasks")
        return shown | tasks


class DomainResult(_OfTasks):
    """A kernel against both references on a domain's rows.

    Attributes:
      rows: how many rows the domain has in the split.
      active: whether its kernel is served.
      served_domain: whose kernel answers rows that name the domain: its own where it is active,
        else the nearest active one above it, else ``backbone``; ``auto`` where no export would know
        the domain, since it was never tuned.
      version: of the kernel that is judged: the active one, else the newest; None where there is
        none.
      decision: what fine-tuning last decided; None where it was never asked to.
      seen: whether the split overlaps the windows in which the kernel learned and was judged.
      positives: task -> how many of the rows have its label.
      undecided: of the tasks with too few outcomes of a kind, how many there are; they have no
        figure.
      tasks: figures of that kernel.

    In results that are older than them ``served_domain``, ``version``, ``decision``, ``seen``,
    ``positives`` and ``undecided`` are None.
    """

    rows: int
    active: bool
    served_domain: str | None = None
    version: int | None = None
    decision: DomainDecision | None = None
    seen: Seen | None = None
    positives: ByTask[int] | None = None
    undecided: ByTask[Outcomes] | None = None


class SegmentResult(_OfTasks):
    """What serves a segment's rows (each as ``auto`` serves it) against both
    references. A segment is a value of a raw column.

    Attributes:
      rows: of the segment in the split.
      positives: as a domain has them, and the next two.
      undecided: see there.
      tasks: see there; ``kernel`` is what serves.
    """

    rows: int
    positives: ByTask[int]
    undecided: ByTask[Outcomes]


class CalibrationBin(Section):
    """Rows whose predictions are near each other.

    Attributes:
      predicted: mean prediction, by sample weight.
      observed: mean label, or amount.
      rows: how many there are.
      positives: how many of them have the label; of amounts, more than the typical one.
    """

    predicted: Number
    observed: Number
    rows: int
    positives: int


class Calibration(Section):
    """How far predictions of a task can be taken at their word.

    Attributes:
      ece: expected calibration error: the mean over the bins, by weight, of the distance between
        what is predicted and what is observed.
      bins: at most ten, of equal weight, by the prediction, ascending.
    """

    ece: Figure
    bins: tuple[CalibrationBin, ...]


class CalibrationPair(Section):
    """The calibration of all rows under the backbone, and as they are served."""

    backbone: Calibration
    kernel: Calibration


class MeanGain(Section):
    """The mean difference over single-topic domains.

    Attributes:
      delta: mean over the domains in which the difference is defined.
      ci95: of the mean; "undefined" also where it was not worked out.
      domains: how many domains these are.
      off: how many of them have no active kernel of their own.
      delta_all: mean difference to the kernel of all traffic, over the same domains.
      ci95_all: of ``delta_all``.
      undecided: how many others are left out since they have too few outcomes of a kind; None in
        files that are older than it.
    """

    delta: Figure
    ci95: Interval
    domains: int
    off: int
    delta_all: Figure = UNDEFINED
    ci95_all: Interval = UNDEFINED
    undecided: int | None = None


class PageComparison(RoutedFigures):
    """A metric of pages under the backbone, the kernel of all traffic and as they are served.

    Attributes:
      delta: kernel - backbone.
      ci95: of ``delta``, from resampled users.
      requests: in which the metric is defined.
    """

    delta: Figure
    ci95: Interval
    requests: int


class PageResult(Section):
    """How the score orders requests.

    Attributes:
      label: column of what there is to gain.
      top: how many rows a page shows.
      scores: domain -> the expression that ranks its pages; ``all`` has that of all others.
      metrics: ``ndcg`` and ``recall`` of the first ``top`` rows, ``mrr``, ``gauc``.
    """

    label: str
    top: int
    scores: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, PageComparison]


class EvaluationResult(Section):
    """An evaluation of one split.

    Attributes:
      split: its name.
      overall: every row as ``auto`` serves it.
      domains: by name, in the order of the config.
      oracle: of the true probabilities, the best that a model can reach; None where they are not
        at hand.
      mean: over single-topic domains; None in files that are older than it.
      config: sha256 of the experiment that judged; None in files that are older than it.
      backbone_seen: whether the split overlaps the windows in which the backbone learned and was
        chosen; None in files that are older than it.
      ranking: the targets that are defined on all rows; None in files that are older than it.
      page: how the score orders requests; None where the config does not ask for it.
      rows: of the split; None in files that are older than it, and so the next two.
      positives: task -> how many of the rows have its label.
      undecided: of the tasks with too few outcomes of a kind in all rows, how many there are.
      segments: column -> value -> what serves its rows; None where the config names no column.
      calibration: of all rows; None in files that are older than it, and so the next.
      order_agreement: of the tasks that predict amounts
        (``trainer.metrics.calibration.order_agreement``).
      compose: share of the changes that kernels add up in what serves the rows
        (``configs.training.Routing``); None where the most specific domain's answers alone.
    """

    split: str
    overall: ByTask[ByMetric[RoutedFigures]]
    domains: dict[str, DomainResult]
    oracle: ByTask[ByMetric[Figure]] | None = None
    mean: ByTask[ByMetric[MeanGain]] | None = None
    config: str | None = None
    backbone_seen: Seen | None = None
    ranking: tuple[str, ...] | None = None
    page: PageResult | None = None
    rows: int | None = None
    positives: ByTask[int] | None = None
    undecided: ByTask[Outcomes] | None = None
    segments: dict[str, dict[str, SegmentResult]] | None = None
    calibration: ByTask[CalibrationPair] | None = None
    order_agreement: ByTask[RoutedFigures] | None = None
    compose: float | None = None

    @property
    def ranked(self) -> tuple[str, ...]:
        """The targets that are defined on all rows."""
        return ranked(self.overall, self.ranking)

    @model_validator(mode="after")
    def _of_the_same_tasks(self) -> "EvaluationResult":
        parts: dict[str, Iterable[str] | None] = {
            "oracle": self.oracle,
            "mean": self.mean,
            "positives": self.positives,
            "calibration": self.calibration,
        }
        for column, values in (self.segments or {}).items():
            parts |= {f"segments.{column}.{name}": found.tasks for name, found in values.items()}
        for name, domain in self.domains.items():
            parts |= {
                f"domains.{name}": domain.tasks,
                f"domains.{name}.positives": domain.positives,
            }
        for part, names in parts.items():
            if names is not None and set(names) != set(self.overall):
                raise ValueError(
                    f"{part}: expected {', '.join(self.overall)}; received"
                    f" {', '.join(names) or 'nothing'}"
                )
        return self

    def to_json(self) -> dict[str, Any]:
        """Gives what ``metrics.json`` holds; ``compose`` is not there where it is None."""
        return self.model_dump(mode="json", exclude={"compose"} if self.compose is None else None)

    @property
    def has_all(self) -> bool:
        """Whether there is a kernel of all traffic to compare with; False in older results."""
        cells = (metrics["auc"] for metrics in self.overall.values())
        return any(cell.all != UNDEFINED for cell in cells)

    def mean_gain(self, task: str, metric: str = "auc") -> MeanGain:
        """The mean gain of single-topic domains; in older results without an interval."""
        return self.mean[task][metric] if self.mean else mean_gain(self.domains, task, metric)


def mean_gain(domains: Mapping[str, DomainResult], task: str, metric: str = "auc") -> MeanGain:
    """The mean differences over the single-topic domains in which they are decidable and defined,
    without intervals.

    Args:
      domains: by name.
      task: name of a target.
      metric: one of the task's; AUC by default.
    """
    single = [domain for name, domain in domains.items() if is_single_topic(name)]
    known = [
        (cell, domain.active)
        for domain in single
        if (cell := domain.tasks[task][metric]).delta != UNDEFINED
    ]
    asked = [domain.undecided for domain in single if domain.undecided is not None]
    return MeanGain(
        delta=_mean(cell.delta for cell, _ in known),
        ci95=UNDEFINED,
        domains=len(known),
        off=sum(not active for _, active in known),
        undecided=sum(task in undecided for undecided in asked) if asked else None,
        delta_all=_mean(cell.delta_all for cell, _ in known),
    )


def _mean(figures: Iterable[Figure]) -> Figure:
    """Of the figures that are defined; undefined where none is."""
    return to_json(mean_defined(None if isinstance(f, str) else f for f in figures))
