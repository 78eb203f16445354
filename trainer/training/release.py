"""Makes releases of trained kernels: judges them beside what is served, decides, stores, and serves
what was decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs import Experiment, InputError
from configs.domain_definitions import Definition, definition_of
from configs.domains import Domain, Topic
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.evaluation.comparison import compare
from trainer.evaluation.deciding import Answering, Candidate, decide
from trainer.evaluation.proposal import Approve, Proposal
from trainer.kernels.gate import GATE
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.kernels.scoring import score_rows
from trainer.registry.decision import Decision
from trainer.registry.golden_scores import GoldenRows
from trainer.registry.history import Origin
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.kernel_registry import KernelStore, StoredKernel
from trainer.registry.routes import definition
from trainer.training.judging_users import judging_rows
from trainer.training.outcome import Outcome


@dataclass(frozen=True)
class Trained:
    """What training left of a domain.

    Attributes:
      domain: the domain.
      definition: which rows are its.
      rows: that it learned from; 0 where the window has none.
      kernel: with its gate; None where there are no rows, and where none was better than the one
        that training began with.
      start: name of what training began with.
    """

    domain: Domain
    definition: Definition
    rows: int
    kernel: KernelWeights | None = None
    start: str = ""

    @classmethod
    def nothing(cls, domain: Domain, topics: Mapping[str, Topic]) -> "Trained":
        """What is left of a domain that the window has no row of."""
        return cls(domain, definition_of(domain, topics), 0)


@dataclass(frozen=True)
class Released:
    """What all releases of a run share.

    Attributes:
      experiment: settings.
      store: where they go.
      shape: of the run's kernels.
      validation: rows with judges (``judging_users.with_judges``).
      key: of the run, by which they were drawn.
      golden: rows that every version is scored on.
      data: folder of the dataset, for the history; empty where it does not matter.
    """

    experiment: Experiment
    store: KernelStore
    shape: KernelShape
    validation: BackboneOutputs
    key: str
    golden: GoldenRows
    data: str = ""

    def answering(self, name: str, weights: KernelWeights, gain: float) -> Answering:
        """A kernel of the run's shape as one that can answer."""
        return Answering(
            name, gain, lambda rows: score_rows(self.shape, weights, self.validation, rows)
        )

    def windows(self) -> dict[str, list[str]]:
        """First moment and end of the rows that a kernel learned from and is judged on."""
        settings = self.experiment.finetune
        splits = {
            "train": self.experiment.splits[settings.split],
            "validation": self.experiment.splits[settings.validation],
        }
        return {
            part: [split.start.isoformat(), split.end.isoformat()] for part, split in splits.items()
        }


def check_shapes(store: KernelStore, shape: KernelShape, tuned: set[str], pinned: set[str]) -> None:
    """Kernels of different shapes cannot share a bank: refuses to begin what could not be exported.
    (``release`` sees to the domains that are tuned.)

    Args:
      store: of the job.
      shape: of the run's kernels.
      tuned: domains that are about to get new kernels.
      pinned: those that are left alone.

    Raises:
      InputError: an active kernel of another domain has another shape, or is damaged.
    """
    for domain, version in store.active().items():
        if domain in tuned:
            continue
        tune_it = "unpin and tune it" if domain in pinned else "tune all domains"
        try:
            stored = store.load(domain, version).shape
        except InputError as error:
            raise InputError(
                f"the active kernel of '{domain}' cannot be read: {error}; {tune_it}, or deactivate"
                " it"
            ) from None
        if stored != shape:
            raise InputError(
                f"the active kernel of '{domain}' has another shape than this config's kernels;"
                f" {tune_it}, or deactivate it"
            )


def release(
    run: Released, trained: Sequence[Trained], approve: Approve | None = None
) -> list[Outcome]:
    """Decides what a run's domains are served by, stores the new kernels with the decision, and
    serves what was decided. Returns the outcomes in order.

    Args:
      run: what all of them share.
      trained: of each domain.
      approve: called with what is proposed, before anything is stored; nothing is where it raises.
    """
    before = run.store.active()
    releases = {one.domain.name: _Release.of(run, one, before) for one in trained}
    others = {
        domain: run.answering(domain, kernel.weights, kernel.measured_gain)
        for domain, version in before.items()
        if domain not in releases
        for kernel in [run.store.load(domain, version)]
    }
    candidates = [one.candidate for one in releases.values()]
    decisions = decide(run.experiment, run.validation, candidates, others)
    if approve:
        approve(Proposal.of(run.experiment, run.validation, candidates, decisions, others))
    stored = {name: one.stored(run, decisions[name]) for name, one in releases.items()}
    final = run.store.decide(stored, before, Origin(run.key, run.data))
    return [
        Outcome(name, one.trained.rows, one.record, final[name], before=one.active)
        for name, one in releases.items()
    ]


@dataclass(frozen=True)
class _Release:
    """A trained domain on its way to a release.

    Attributes:
      trained: what training left.
      candidate: for ``decide``.
      record: of the new kernel, less its decision; None where there is none.
      known: the version that holds the new kernel already; None where none does.
      active: the version that is served now.
    """

    trained: Trained
    candidate: Candidate
    record: KernelRecord | None
    known: int | None
    active: int | None

    @classmethod
    def of(cls, run: Released, trained: Trained, before: Mapping[str, int]) -> "_Release":
        """Judges a trained kernel against the backbone, and looks at what is served."""
        name = trained.domain.name
        rows = judging_rows(run.validation, trained.domain)
        active = before.get(name)
        served, gone = _served(run, trained, active)
        kernel, known = trained.kernel, None
        if kernel is not None:
            known = run.store.version_with(name, kernel, trained.definition)
        if kernel is None:
            why = "; ".join(filter(None, (_why_none(run, trained), gone)))
            candidate = Candidate(trained.domain, rows, None, served, why, bool(gone))
            return cls(trained, candidate, None, None, active)
        logits = score_rows(run.shape, kernel, run.validation, rows)
        figures = compare(run.experiment, run.validation, rows, logits)
        record = KernelRecord.model_validate(_content(run, trained, len(rows), figures))
        new = run.answering("the new kernel", kernel, record.measured_gain)
        if known is not None and known == active:
            served = new  # the same run once more
        candidate = Candidate(trained.domain, rows, new, served, gone, bool(gone))
        return cls(trained, candidate, record, known, active)

    def stored(self, run: Released, decision: Decision) -> Decision:
        """Stores the new kernel where no version holds it yet; gives the decision with the numbers
        of versions.
        """
        name, version = self.trained.domain.name, self.known
        if self.record is not None and self.trained.kernel is not None and version is None:
            record = KernelRecord.model_validate(
                _given(self.record)
                | {"activated": decision.outcome == "activate", "decision": decision}
            )
            scores = run.golden.scores_for(run.shape, self.trained.kernel)
            version = run.store.add(name, self.trained.kernel, record, scores)
        active = {"activate": version, "keep": self.active, "deactivate": None}[decision.outcome]
        numbers = {"version": version, "active": active}
        return decision.model_copy(update=numbers | {"definition": self.trained.definition})


def _served(run: Released, trained: Trained, version: int | None) -> tuple[Answering | None, str]:
    """The kernel that is served now, and why it cannot go on being served, whatever its figures."""
    if version is None:
        return None, ""
    name = f"version {version}"
    try:
        kernel: StoredKernel = run.store.load(trained.domain.name, version)
        means = definition(kernel.manifest, run.store.job.experiment())
    except InputError as error:
        return None, f"{name}, which was served, cannot be read: {error}"
    if kernel.shape != run.shape:
        return None, f"{name}, which was served, has another shape than this run's kernels"
    if means != trained.definition:
        return None, f"{name}, which was served, was tuned for other rows than this config's"
    return run.answering(name, kernel.weights, kernel.measured_gain), ""


def _why_none(run: Released, trained: Trained) -> str:
    if not trained.rows:
        return f"no rows in split '{run.experiment.finetune.split}'"
    return f"no better than {trained.start}, from which it started"


def _content(
    run: Released, trained: Trained, judged: int, figures: Mapping[str, Any]
) -> dict[str, Any]:
    experiment, kernel = run.experiment, trained.kernel or {}
    return {
        "shape": run.shape.to_json(),
        "definition": trained.definition,
        "seed": experiment.seed,
        "kernel": experiment.kernel.model_dump(mode="json"),
        "finetune": experiment.finetune.model_dump(mode="json"),
        "rows": {"train": trained.rows, "validation": judged},  # the half that judges
        "windows": run.windows(),
        "validation": figures,
        "ranking": experiment.tasks.ranking,
        "judges": run.key,
        **({GATE: np.asarray(kernel[GATE]).tolist()} if GATE in kernel else {}),
    }


def _given(record: KernelRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.model_fields_set}
