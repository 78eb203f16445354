"""What ``evaluate`` finds, as ``reports/metrics.json`` holds it.

A figure is a number or ``"undefined"`` (a slice that holds one class). A domain's tasks stand in
JSON beside its rows: ``{"rows", "active", "ctr": {metric: {...}}, "cvr": ..., "ctcvr": ...}``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    SerializerFunctionWrapHandler,
    Strict,
    model_serializer,
    model_validator,
)

from configs.domains import is_single_topic
from configs.schema import TASK_NAMES
from configs.section import Section
from trainer.metrics.task_metrics import METRICS, UNDEFINED, mean_defined, to_json

T = TypeVar("T")
Number = Annotated[float, Strict()]

Figure = Number | Literal["undefined"]
"""A metric as JSON holds it."""

Interval = tuple[Number, Number] | Literal["undefined"]
"""``(low, high)`` of a difference, at 95%."""


def _complete(names: Iterable[str]) -> Callable[[dict[str, T]], dict[str, T]]:
    """A check that a dictionary has exactly these keys."""
    expected = tuple(names)

    def check(values: dict[str, T]) -> dict[str, T]:
        if set(values) != set(expected):
            raise ValueError(
                f"expected {', '.join(expected)}, received {', '.join(values) or 'nothing'}"
            )
        return values

    return check


ByMetric = Annotated[dict[str, T], AfterValidator(_complete(METRICS))]
"""One of something for each of ``METRICS``."""

ByTask = Annotated[dict[str, T], AfterValidator(_complete(TASK_NAMES))]
"""One of something for each of ``TASK_NAMES``."""


class Pair(Section):
    """A metric under the backbone and under kernels, on the same rows."""

    backbone: Figure
    kernel: Figure


class Comparison(Pair):
    """A pair with its difference: ``delta`` is kernel - backbone, ``ci95`` its interval."""

    delta: Figure
    ci95: Interval


TaskComparisons = dict[str, dict[str, Comparison]]
"""Task -> metric -> comparison."""


class DomainResult(Section):
    """A kernel against the backbone on a domain's rows.

    Attributes:
      rows: how many rows the domain has in the split.
      active: whether its kernel is served; where not, the nearest active kernel above it
        answers.
      tasks: figures of the active kernel, else of the newest.
    """

    rows: int
    active: bool
    tasks: ByTask[ByMetric[Comparison]]

    @model_validator(mode="before")
    @classmethod
    def _gather_tasks(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "tasks" in values:
            return values
        tasks = {name: values[name] for name in TASK_NAMES if name in values}
        return {name: values[name] for name in values if name not in tasks} | {"tasks": tasks}

    @model_serializer(mode="wrap")
    def _lay_out_tasks(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        shown: dict[str, Any] = handler(self)
        tasks: dict[str, Any] = shown.pop("tasks")
        return shown | tasks


class MeanGain(Section):
    """The mean difference over single-topic domains.

    Attributes:
      delta: mean over the domains in which the difference is defined.
      ci95: of the mean; "undefined" also where it was not worked out.
      domains: how many domains these are.
      off: how many of them have no active kernel of their own.
    """

    delta: Figure
    ci95: Interval
    domains: int
    off: int


class EvaluationResult(Section):
    """An evaluation of one split.

    Attributes:
      split: its name.
      overall: every row under its most specific active domain.
      domains: by name, in the order of the config.
      oracle: of the true probabilities, the best that a model can reach; None where they are not
        at hand.
      mean: over single-topic domains; None in files that are older than it.
    """

    split: str
    overall: ByTask[ByMetric[Pair]]
    domains: dict[str, DomainResult]
    oracle: ByTask[ByMetric[Figure]] | None = None
    mean: ByTask[ByMetric[MeanGain]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Gives what ``metrics.json`` holds."""
        return self.model_dump(mode="json")

    def mean_gain(self, task: str, metric: str = "auc") -> MeanGain:
        """The mean gain of single-topic domains; in older results without an interval."""
        return self.mean[task][metric] if self.mean else mean_gain(self.domains, task, metric)


def mean_gain(
    domains: Mapping[str, DomainResult],
    task: str,
    metric: str = "auc",
    ci95: Interval = UNDEFINED,
) -> MeanGain:
    """The mean difference over the single-topic domains in which it is defined.

    Args:
      domains: by name.
      task: one of ``TASK_NAMES``.
      metric: one of ``METRICS``; AUC by default.
      ci95: the mean's interval, where it is known.
    """
    deltas = [
        (domain.tasks[task][metric].delta, domain.active)
        for name, domain in domains.items()
        if is_single_topic(name)
    ]
    known = [(delta, active) for delta, active in deltas if delta != UNDEFINED]
    return MeanGain(
        delta=to_json(mean_defined(float(delta) for delta, _ in known)),
        ci95=ci95,
        domains=len(known),
        off=sum(not active for _, active in known),
    )
