"""Judges a kernel against the backbone on the rows of a domain."""

from configs.schema import RANKING_TASKS
from trainer.metrics.paired_bootstrap import significantly_better
from trainer.metrics.results import Interval, TaskComparisons
from trainer.metrics.task_metrics import UNDEFINED


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
