"""What fine-tuning decided, domain by domain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from configs.terminal.plain_text import fit
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.overview import auc_figure, gain_cell


@dataclass(frozen=True)
class Outcome:
    """What became of a domain.

    Attributes:
      domain: its name.
      rows: that its kernel learned from.
      record: of the new kernel; None where there is none.
      decision: what was decided; None where the domain is pinned.
      note: why nothing was decided; empty where something was.
      before: the version that was served before the run; None where none was.
    """

    domain: str
    rows: int
    record: KernelRecord | None
    decision: Decision | None
    note: str = ""
    before: int | None = None

    @property
    def changed(self) -> bool:
        """Whether the run changed what the domain is served by."""
        return self.decision is not None and self.decision.active != self.before

    @classmethod
    def pinned(cls, domain: str, active: int | None) -> "Outcome":
        """Of a domain that is left alone."""
        stays = f"version {active} stays active" if active else "it stays off"
        return cls(domain, 0, None, None, f"pinned: {stays}; kernels unpin lets it be tuned")


def render_outcomes(outcomes: Iterable[Outcome], tasks: Sequence[str]) -> str:
    """A table: domain, version, rows learned from, gains of these tasks over the backbone on
    validation in AUC points with their 95% intervals, and what was decided and why.
    """
    gains = [f"{task.upper()}-AUC gain" for task in tasks]
    rows = [["domain", "version", "rows", *gains, "decision"]]
    rows += [_cells(outcome, tasks) for outcome in outcomes]
    return "\n".join(fit(rows, ("version", "rows")))


def _cells(outcome: Outcome, tasks: Sequence[str]) -> list[str]:
    decision = outcome.decision
    return [
        outcome.domain,
        str(decision.version or "-") if decision else "-",
        f"{outcome.rows:,}" if decision else "-",
        *(_gain(outcome, task) for task in tasks),
        _decided(decision) if decision else outcome.note,
    ]


def _gain(outcome: Outcome, task: str) -> str:
    """Of a task that has too few positives to be tested where others have enough, none."""
    record, decision = outcome.record, outcome.decision
    if record and decision and decision.tests and decision.tests.get(task) is None:
        return "undecidable"
    return gain_cell(auc_figure(record, task) if record else None)


def _decided(decision: Decision) -> str:
    said = f"{decision.words}: {decision.reason}"
    return said if decision.outcome == "activate" else f"{said}; {decision.answering} answers"
