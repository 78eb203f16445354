"""A job's kernels at a glance: a line a domain, as a table or as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from configs import InputError
from configs.terminal.plain_text import fit
from trainer.metrics.results import Comparison
from trainer.metrics.task_metrics import UNDEFINED
from trainer.registry.decision import Decision
from trainer.registry.kernel_manifest import KernelManifest, KernelRecord
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.text_table import show_gain


@dataclass(frozen=True)
class Overview:
    """A domain's line.

    Attributes:
      domain: exact name.
      active: the version that is served; None where no version is.
      versions: all of them, ascending.
      version: the one that the rest is about: the active one, else the newest; None where no kernel
        of the domain was worth storing.
      stored: when it was stored (UTC); None where it is damaged or not there.
      manifest: its manifest; None where it is damaged or not there.
      damage: what is wrong with it; empty where nothing is.
      pinned: whether fine-tuning leaves the domain alone.
      decision: what fine-tuning decided last; None in jobs that are older than decisions.
    """

    domain: str
    active: int | None
    versions: tuple[int, ...]
    version: int | None
    stored: datetime | None
    manifest: KernelManifest | None
    damage: str = ""
    pinned: bool = False
    decision: Decision | None = None

    @property
    def state(self) -> str:
        """Whether and why it is served, in words."""
        pinned = "pinned; " if self.pinned else ""
        if self.damage:
            return f"{pinned}damaged: {self.damage}"
        if self.decision and self.decision.active == self.active:
            return f"{pinned}{self.decision.words}: {self.decision.reason}"
        if self.manifest is None:
            return f"{pinned}no kernel"
        if self.manifest.activated == (self.active is not None):
            words = "activated" if self.manifest.activated else "not activated"
            return f"{pinned}{words}: {self.manifest.reason}"
        by_hand = "activated by hand" if self.active else "deactivated by hand"
        return f"{pinned}{by_hand}; when tuned: {self.manifest.reason}"


def overview(store: KernelStore) -> list[Overview]:
    """The lines of all domains that have a kernel or a decision, or are pinned, by name. The
    version that a line is about is read whole; a damaged one is a line like any other (``kernels
    verify`` looks at all versions, and at what they score).

    Raises:
      InputError: ``active.json``, ``pinned.json`` or ``decisions.json`` is damaged.
    """
    active, pinned, decisions = store.active(), store.pinned(), store.decisions()
    stored = {domain for domain in store.domains() if store.versions(domain)}
    return [
        replace(
            _line(store, domain, active.get(domain), tuple(store.versions(domain))),
            pinned=domain in pinned,
            decision=decisions.get(domain),
        )
        for domain in sorted(stored | pinned | decisions.keys())
    ]


def _line(
    store: KernelStore, domain: str, active: int | None, versions: tuple[int, ...]
) -> Overview:
    version = active or max(versions, default=None)
    if version is None:
        return Overview(domain, None, (), None, None, None)
    try:
        stored, manifest = store.stored_at(domain, version), store.load(domain, version).manifest
    except (InputError, OSError) as error:
        return Overview(domain, active, versions, version, None, None, str(error))
    return Overview(domain, active, versions, version, stored, manifest)


def overview_json(lines: Iterable[Overview], tasks: Sequence[str]) -> list[dict[str, Any]]:
    """JSON-ready: ``domain``, ``active`` (null: no version is served), ``versions``, ``version``
    (what the rest is about), ``stored`` (ISO 8601, UTC), ``rows``, ``gain`` (task -> ``delta`` and
    ``ci95`` of AUC, not in points; null where undefined), ``activated`` and ``reason``, ``pinned``,
    and ``decision`` (what fine-tuning decided last; null in older jobs); from ``stored`` to
    ``activated`` null where the version is damaged, which ``reason`` then says. Where no kernel of
    the domain was worth storing, ``version`` is null, too, and ``versions`` is empty.
    """
    return [
        {
            "domain": line.domain,
            "active": line.active,
            "versions": list(line.versions),
            "version": line.version,
            "stored": line.stored.isoformat(timespec="seconds") if line.stored else None,
            "rows": line.manifest.rows.train if line.manifest else None,
            "gain": {task: _gain_json(line.manifest, task) for task in tasks},
            "activated": line.manifest.activated if line.manifest else None,
            "reason": line.manifest.reason if line.manifest else line.state,
            "pinned": line.pinned,
            "decision": line.decision.model_dump(mode="json", exclude={"definition"})
            if line.decision
            else None,
        }
        for line in lines
    ]


def render_overview(lines: Iterable[Overview], tasks: Sequence[str]) -> str:
    """The table, with the gains of these tasks."""
    titles = ["domain", "active", "versions", "stored", "rows"]
    gains = [f"{task.upper()}-AUC gain" for task in tasks]
    rows = [[*titles, *gains, "on validation"], *(_cells(line, tasks) for line in lines)]
    return "\n".join(fit(rows, ("active", "rows")))


def gain_cell(figure: Comparison | None) -> str:
    """``+1.18 [+1.10, +1.26]`` in AUC points; ``-`` where it was not judged."""
    return "-" if figure is None else show_gain(figure, "auc")


def auc_figure(record: KernelRecord, task: str) -> Comparison | None:
    """A task's AUC figure; None where it was not judged."""
    return record.validation.get(task, {}).get("auc")


def _gain_json(manifest: KernelManifest | None, task: str) -> dict[str, Any] | None:
    figure = auc_figure(manifest, task) if manifest else None
    if figure is None or figure.delta == UNDEFINED:
        return None
    return {
        "delta": figure.delta,
        "ci95": None if figure.ci95 == UNDEFINED else list(figure.ci95),
    }


def _cells(line: Overview, tasks: Sequence[str]) -> list[str]:
    cells = [line.domain, str(line.active or "-"), _runs(line.versions) or "-"]
    if line.manifest is None or line.stored is None:
        return [*cells, "-", "-", *("-" for _ in tasks), line.state]
    gains = [gain_cell(auc_figure(line.manifest, task)) for task in tasks]
    return [
        *cells,
        f"{line.stored:%Y-%m-%d}",
        f"{line.manifest.rows.train:,}",
        *gains,
        line.state,
    ]


def _runs(versions: Iterable[int]) -> str:
    """``1-3, 5``."""
    runs: list[list[int]] = []
    for version in versions:
        if runs and version == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], version]
        else:
            runs.append([version])
    return ", ".join("-".join(map(str, run)) for run in runs)
