"""Why a kernel was activated or not, in words: which interval of the activation rule decided."""

from configs.schema import RANKING_TASKS
from trainer.metrics.paired_bootstrap import significantly_better
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import UNDEFINED
from trainer.registry.kernel_manifest import KernelRecord


def decision(record: KernelRecord) -> str:
    """``activated`` or ``not activated``, as the manifest says."""
    return "activated" if record.activated else "not activated"


def reason(record: KernelRecord) -> str:
    """Which 95% intervals of the AUC gains lie above 0, or below it; else that none does."""
    figures = {
        task: record.validation[task]["auc"]
        for task in RANKING_TASKS
        if "auc" in record.validation.get(task, {})
    }
    if not figures:
        return "not judged"
    better = [task for task, figure in figures.items() if _above(figure)]
    worse = [task for task, figure in figures.items() if _below(figure)]
    said = [
        f"{_names(tasks)} {word}" for tasks, word in ((better, "higher"), (worse, "lower")) if tasks
    ]
    if said:
        return ", but ".join(said)
    if all(figure.ci95 == UNDEFINED for figure in figures.values()):
        return "no interval: too few users or one outcome alone"
    return f"no interval of {_names(list(figures))} lies above 0"


def _above(figure: Comparison) -> bool:
    return significantly_better(figure.ci95)


def _below(figure: Comparison) -> bool:
    return figure.ci95 != UNDEFINED and float(figure.ci95[1]) < 0.0


def _names(tasks: list[str]) -> str:
    """``CTR-AUC`` or ``CTR- and CTCVR-AUC``."""
    return f"{'- and '.join(task.upper() for task in tasks)}-AUC"
