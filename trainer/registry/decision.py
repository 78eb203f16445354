"""What fine-tuning decided of a domain, and why; of kernels that are older than decisions, which
interval of the rule of their day decided.
"""

from typing import Literal

from pydantic import Field

from configs.domain_definitions import Definition
from configs.section import Section
from trainer.metrics.paired_bootstrap import significantly_better
from trainer.metrics.paired_tests import PairedTest
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import UNDEFINED


class Decision(Section):
    """What became of a domain in one run of fine-tuning.

    Attributes:
      outcome: ``activate`` (the new version is served), ``keep`` (what was served stays), or
        ``deactivate`` (nothing of its own is served any more).
      reason: in words, one clause.
      against: what the new kernel was compared with, which is what would answer otherwise: the
        version served before (``version 3``), else the domain above (``all``, ``region=r1``,
        ``backbone``).
      version: the new version; None where none was stored.
      active: the version that is served after the run; None where none is.
      tests: task -> the test of the new kernel against that, on the judging rows; None where it is
        undefined. Empty where there was no new kernel.
      positives: task -> how many of the judging rows have its label, of the tasks that are tested;
        empty where there was no new kernel, and in decisions that are older than it.
      definition: which rows are the domain's, so that a server knows it also where no kernel was
        worth storing; None in decisions that are older than it, and in manifests, which hold it
        themselves.
    """

    outcome: Literal["activate", "keep", "deactivate"]
    reason: str
    against: str
    version: int | None = None
    active: int | None = None
    tests: dict[str, PairedTest | None] = Field(default_factory=dict)
    positives: dict[str, int] = Field(default_factory=dict)
    definition: Definition | None = None

    @property
    def answering(self) -> str:
        """What answers the domain after the run: ``version 3``, or the domain above."""
        if self.active is not None:
            return f"version {self.active}"
        return "the domain above" if self.against.startswith("version ") else self.against

    @property
    def words(self) -> str:
        """``activated``, ``kept``, ``not activated`` (nothing was served before) or
        ``deactivated``.
        """
        if self.outcome == "keep":
            return "not activated" if self.active is None else "kept"
        return f"{self.outcome}d"


def interval_reason(figures: dict[str, Comparison]) -> str:
    """Which 95% intervals of the AUC gains over the backbone lie above 0, or below it; else that
    none does: the rule by which kernels were activated before there were decisions.

    Args:
      figures: task over all rows -> AUC.
    """
    if not figures:
        return "not judged"
    better = [task for task, figure in figures.items() if significantly_better(figure.ci95)]
    worse = [task for task, figure in figures.items() if _below(figure)]
    said = [
        f"{_names(tasks)} {word}" for tasks, word in ((better, "higher"), (worse, "lower")) if tasks
    ]
    if said:
        return ", but ".join(said)
    if all(figure.ci95 == UNDEFINED for figure in figures.values()):
        return "no interval: too few users or one outcome alone"
    return f"no interval of {_names(list(figures))} lies above 0"


def _below(figure: Comparison) -> bool:
    return figure.ci95 != UNDEFINED and float(figure.ci95[1]) < 0.0


def _names(tasks: list[str]) -> str:
    """``CLICK-AUC`` or ``CLICK- and ORDER-AUC``."""
    return f"{'- and '.join(task.upper() for task in tasks)}-AUC"
