"""Defines ``summary.json``: what one refresh did, and why; and shows it as text."""

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from configs.section import Section, UtcDatetime
from configs.terminal.plain_text import fit, terminal_width, wrap

RELEASED, UNCHANGED, REFUSED = "released", "unchanged", "refused"


class DomainChange(Section):
    """What became of a domain.

    Attributes:
      before: version that was served before the refresh; None where none was.
      after: version that is served now; None where none is.
      outcome: ``activated``, ``kept``, ``deactivated`` or ``off`` (nothing of its own was served,
        and nothing is).
      reason: why, as fine-tuning said.
    """

    before: int | None
    after: int | None
    outcome: Literal["activated", "kept", "deactivated", "off"]
    reason: str


class Auc(Section):
    """AUC on the rows that judge, mean of the tasks over all rows; None where it is undefined.

    Attributes:
      backbone: of the backbone alone.
      before: as rows were served before the refresh.
      after: as they are served with what was decided.
      yesterday: ``after`` of the refresh before, on the rows that judged there.
    """

    backbone: float | None
    before: float | None
    after: float | None
    yesterday: float | None = None


class Model(Section):
    """The exported model: its newest version's folder, and whether this refresh has written it."""

    path: str
    written: bool


class Summary(Section):
    """One refresh.

    Attributes:
      as_of: what its windows count from.
      outcome: ``released`` (something that is served has changed), ``unchanged`` (nothing was worth
        it), or ``refused`` (a threshold is crossed: nothing is released).
      reasons: of a refusal, each in one line.
      notes: what is odd, and did not stop it.
      config: name of the experiment.
      job: its folder.
      data: folder of the dataset; None where there is none.
      windows: split -> its first moment and end, of those that kernels learn from and are judged
        on.
      rows: day -> its rows in these windows.
      rejected: share of the logs' rows that were rejected; None where the dataset was not made.
      backbone: fingerprint of the backbone.
      backbone_days: days from the end of what the backbone learned from to ``as_of``.
      memory: version that was served before and is served now; None where kernels do not remember.
      auc: on the rows that judge; None where it did not come to that.
      domains: what became of each.
      model: what is exported; None without ``--models``, and where nothing was exported yet.
      registry_ahead: whether an export failed, so that servers answer with other kernels or another
        memory than the job says is served; the next refresh exports first of all.
      report: the HTML report; None where there is none.
      seconds: step -> seconds that it took, of the run that finished it.
    """

    as_of: UtcDatetime
    outcome: Literal["released", "unchanged", "refused"]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    config: str
    job: str
    data: str | None = None
    windows: dict[str, tuple[UtcDatetime, UtcDatetime]] = Field(default_factory=dict)
    rows: dict[str, int] = Field(default_factory=dict)
    rejected: float | None = None
    backbone: str
    backbone_days: float
    memory: tuple[int | None, int | None] | None = None
    auc: Auc | None = None
    domains: dict[str, DomainChange] = Field(default_factory=dict)
    model: Model | None = None
    registry_ahead: bool = False
    report: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """The domains that are served by something else now."""
        return [name for name, one in self.domains.items() if one.before != one.after]


def render(summary: Summary) -> str:
    """The summary as lines for people, the outcome first and the reasons under it."""
    return "\n".join(part for line in _lines(summary) for part in wrap(line))


def _lines(summary: Summary) -> Iterator[str]:
    changed = f", {len(summary.changed)} domains changed" if summary.changed else ""
    as_of, outcome = f"{summary.as_of:%Y-%m-%d %H:%M}Z", summary.outcome.upper()
    yield f"{summary.config}, as of {as_of}: {outcome}{changed}"
    for reason in summary.reasons:
        yield f"  refused: {reason}"
    for note in summary.notes:
        yield f"  note: {note}"
    yield f"  backbone: {summary.backbone[:12]}, {summary.backbone_days:.1f} days old"
    if summary.rows:
        shown = ", ".join(f"{day} {rows:,}" for day, rows in summary.rows.items())
        yield f"  rows: {shown}; rejected {summary.rejected or 0.0:.2%}"
    if summary.auc:
        yield f"  AUC on judging rows: {_auc(summary.auc)}"
    if summary.memory:
        before, after = summary.memory
        yield f"  memory: version {after or '-'}, before {before or '-'}"
    if summary.model:
        word = "new" if summary.model.written else "as it was"
        yield f"  model: {summary.model.path} ({word})"
    if summary.registry_ahead:
        yield "  the registry is ahead of what is served: the next refresh exports it"
    if summary.report:
        yield f"  report: {summary.report}"
    if summary.domains:
        table = fit(_table(summary), ("before", "now"), terminal_width() - 2)
        yield from (f"  {line}".rstrip() for line in table)


def _auc(auc: Auc) -> str:
    figures = (
        ("backbone", auc.backbone),
        ("served before", auc.before),
        ("served now", auc.after),
        ("of the refresh before", auc.yesterday),
    )
    return ", ".join(f"{name} {value:.4f}" for name, value in figures if value is not None)


def _table(summary: Summary) -> list[list[str]]:
    rows: Iterable[list[str]] = (
        [name, str(one.before or "-"), str(one.after or "-"), one.outcome, one.reason]
        for name, one in summary.domains.items()
    )
    return [["domain", "before", "now", "outcome", "reason"], *rows]
