"""What fine-tuning decided, domain by domain."""

from collections.abc import Iterable
from dataclasses import dataclass

from configs.schema import RANKING_TASKS
from trainer.metrics.formatting import align
from trainer.registry.decision import decision, reason
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.overview import auc_figure, gain_cell


@dataclass(frozen=True)
class Outcome:
    """What became of a domain.

    Attributes:
      domain: its name.
      version: of the kernel that was stored; None where the domain has no rows.
      record: what was stored of it; None where there is no kernel.
      active: the version that is served after the run; None where none is.
    """

    domain: str
    version: int | None = None
    record: KernelRecord | None = None
    active: int | None = None


def render_outcomes(outcomes: Iterable[Outcome]) -> str:
    """A table: domain, version, rows learned from, gains on validation in AUC points with their
    95% intervals, and what was decided and why.
    """
    gains = [f"{task.upper()}-AUC gain" for task in RANKING_TASKS]
    rows = [["domain", "version", "rows", *gains, "decision"]]
    rows += [_cells(outcome) for outcome in outcomes]
    return "\n".join(line.rstrip() for line in align(rows, ("version", "rows")))


def _cells(outcome: Outcome) -> list[str]:
    record = outcome.record
    if record is None:
        nothing = ["-" for _ in RANKING_TASKS]
        return [outcome.domain, "-", "0", *nothing, "no kernel: no rows in the window"]
    return [
        outcome.domain,
        str(outcome.version),
        f"{record.rows.train:,}",
        *(gain_cell(auc_figure(record, task)) for task in RANKING_TASKS),
        f"{decision(record)}: {reason(record)}{_served(outcome)}",
    ]


def _served(outcome: Outcome) -> str:
    """What goes on being served where the new version is not."""
    if outcome.active in (None, outcome.version):
        return ""
    return f"; version {outcome.active} stays active"
