"""Fine-tuning: the backbone runs once, frozen, over the window; the kernels of all domains train
on its stored taps; then it is decided what answers each domain from now on.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domains import ALL, Domain, named_domains
from configs.errors import first_names
from trainer.ancestry.ancestor import inherited_kernels
from trainer.backbone.frozen_pass import (
    BackboneOutputs,
    Chosen,
    in_domain,
    open_frozen,
    run_frozen,
)
from trainer.backbone.model import read_tap
from trainer.backbone.stored_taps import window_rows
from trainer.data.dataset import Columns, Dataset
from trainer.evaluation.proposal import Approve, Proposal
from trainer.evaluation.provenance import seen_by_backbone, seen_by_kernel
from trainer.job import Job
from trainer.kernels.kernel import KernelShape, KernelWeights, Rows, user_columns
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.registry.golden_scores import GoldenRows, keep_requests
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import topics_with
from trainer.training.domain_training import DomainTraining
from trainer.training.gate_fitting import with_support
from trainer.training.judging_users import run_key, with_judges
from trainer.training.kernel_training import scaling_rows
from trainer.training.outcome import Outcome
from trainer.training.release import Released, Trained, check_shapes, release
from trainer.training.warm_start import possible_starts, stored_kernels


@dataclass(frozen=True)
class FineTuning:
    """A run of fine-tuning, before anything of it is trained.

    Attributes:
      experiment: settings, and all domains.
      job: of the backbone.
      domains: that are tuned, none of them pinned.
      dataset: opened, with the keys of memory where kernels remember.
      backbone: frozen.
      store: of the job's kernels.
      shape: of the kernels.
      start: stored kernels that domains may start from, less their gates.
      inherited: kernels of an older backbone that domains start from which have none here.
      golden: rows that every version is scored on.
    """

    experiment: Experiment
    job: Job
    domains: list[Domain]
    dataset: Dataset
    backbone: keras.Model
    store: KernelStore
    shape: KernelShape
    start: dict[str, KernelWeights]
    inherited: dict[str, KernelWeights]
    golden: GoldenRows

    @classmethod
    def open(
        cls, experiment: Experiment, data: Path, job: Job, domains: list[Domain]
    ) -> "FineTuning":
        """Opens dataset and backbone, and warns of what is odd about them. Raises ``InputError``
        as ``finetune`` does, before the forward passes, which take most of the wait.
        """
        store, tuned = KernelStore(job), {domain.name for domain in domains}
        topics_with(store, job.experiment(), experiment, tuned)
        dataset, backbone = open_frozen(experiment, data, job, memory=experiment.memory)
        for topic, value in dataset.topics.values_without_rows():
            print(f"warning: topic '{topic}': no row of {data} has '{value}'", file=sys.stderr)
        _tell_seen(store, job.experiment(), experiment)
        dataset.tell_unknown(experiment.finetune.split, learned=True)
        dataset.tell_unknown(experiment.finetune.validation)
        keep_requests(dataset, job)
        golden = GoldenRows.open(job, backbone)
        shape = KernelShape.of(
            experiment.kernel,
            read_tap(backbone.output, experiment.kernel.tap).shape[-1],
            experiment.memory,
            len(experiment.tasks.towers),
        )
        shape = with_support(shape, experiment, dataset.fitted)
        check_shapes(store, shape, tuned, store.pinned())
        start = stored_kernels(store, shape, possible_starts(experiment.finetune.warm_start, tuned))
        inherited = inherited_kernels(job, shape)
        return cls(
            experiment, job, domains, dataset, backbone, store, shape, start, inherited, golden
        )

    def rows(self) -> tuple[BackboneOutputs, BackboneOutputs]:
        """The window and the validation rows, with what they remember and with judges: only those
        that these domains read, where nothing reads the others.
        """
        experiment, keep = self.experiment, user_columns(self.shape)
        tap = experiment.kernel.tap
        split, judging = experiment.finetune.split, experiment.finetune.validation
        read = judged = None  # every row
        tuned = {domain.name for domain in self.domains}
        if not _reads_every_row(experiment, tuned, self.start):
            read = _rows_of(self.domains, scaling_rows(self.dataset.rows(split)))
            judged = _rows_of(self.domains)
        title, model = "taps of the window", self.backbone
        window = window_rows(self.job, experiment, model, self.dataset, tap, title, keep, read)
        title = "taps of validation"
        validation = run_frozen(model, self.dataset, judging, tap, title, keep, judged)
        if remembered := self._memory():
            both = remembered.of({split: window, judging: validation})
            window, validation = both[split], both[judging]
        return window, with_judges(validation, run_key(experiment, self.dataset))

    def release(
        self,
        trained: Mapping[str, Trained],
        validation: BackboneOutputs,
        approve: Approve | None = None,
    ) -> list[Outcome]:
        """Stores and serves what is remembered, then the kernels.

        Args:
          trained: every tuned domain, and all traffic where it was trained for their sake.
          validation: the rows that judge, all of these domains.
          approve: as ``trainer.training.release.release`` has it.

        Returns:
          The outcomes in the order of ``domains``, all traffic before them where it is none.
        """
        decided = [domain.name for domain in self.domains]
        if ALL in trained and ALL not in {*decided, *self.store.pinned()}:
            decided.insert(0, ALL)
        settings = self.experiment.finetune

        def before_they_are_stored(proposal: Proposal) -> None:
            if approve:
                approve(proposal)
            # before the kernels that read it, and not before they have been trained
            if remembered := self._memory():
                remembered.serve([settings.split, settings.validation])

        key = run_key(self.experiment, self.dataset)
        data = str(self.dataset.folder)
        run = Released(self.experiment, self.store, self.shape, validation, key, self.golden, data)
        outcomes = release(run, [trained[name] for name in decided], before_they_are_stored)
        _tell_undecided(self.store, outcomes)
        return outcomes

    def _memory(self) -> RowMemory | None:
        memory = self.experiment.memory
        if memory is None:
            return None
        return RowMemory(self.experiment, self.dataset, MemoryStore(self.job), memory)


def finetune(
    experiment: Experiment,
    data: Path,
    job: Job,
    names: list[str],
    approve: Approve | None = None,
) -> list[Outcome]:
    """Trains a kernel for every named domain (every domain where none is named) that is not pinned,
    stores those that have learned something, and decides what is served. Where the domains start
    from the kernel of all traffic and none is stored, that is trained and decided, too.

    The validation split is halved by user: one half decides when a kernel stops, the other judges
    it (``judging_users``). A new kernel is served where it is significantly better than what would
    answer its domain otherwise, and a version that is served no longer is where it is significantly
    worse than the domain above it (``trainer.evaluation.deciding``).

    Args:
      experiment: settings, and all domains.
      data: folder of the dataset.
      job: of the backbone.
      names: of the domains.
      approve: called with what is proposed, before anything is stored or served; where it raises,
        nothing is. None for no such question.

    Returns:
      What was decided of each domain, in the order in which they were named; all traffic before
      them where it was not named, the pinned ones after them.

    Raises:
      InputError: an unknown domain, no finished backbone, a dataset that the backbone was not
        trained for, or an active kernel that these could not be served beside.
    """
    wanted = named_domains(experiment.domains, names, "--domains")
    job.check_finished()
    domains, held = without_pinned(wanted, KernelStore(job))
    if not domains:
        return held
    run = FineTuning.open(experiment, data, job, domains)
    window, validation = run.rows()
    logs = job.logs / "finetune"
    training = DomainTraining(
        experiment, run.start, logs, run.shape, window, validation, run.inherited
    )
    training.train(domains)
    return [*run.release(training.trained, validation, approve), *held]


def without_pinned(
    wanted: Sequence[Domain], store: KernelStore
) -> tuple[list[Domain], list[Outcome]]:
    """The domains that a run may tune, and what becomes of the others, which are pinned."""
    pinned, active = store.pinned(), store.active()
    held = [Outcome.pinned(d.name, active.get(d.name)) for d in wanted if d.name in pinned]
    return [domain for domain in wanted if domain.name not in pinned], held


def _tell_seen(store: KernelStore, trained_with: Experiment, experiment: Experiment) -> None:
    """Says where the rows that judge taught the backbone, or a kernel that is served."""
    split = experiment.splits[experiment.finetune.validation]
    seen_before = seen_by_backbone(trained_with, split, store.job.learned_before())
    learned = ["the backbone"] if "train" in seen_before else []
    for domain, version in store.active().items():
        try:
            seen = seen_by_kernel(store.manifest(domain, version), trained_with, split)
        except InputError:  # damaged: `release` says so
            continue
        learned += [f"the active kernel of '{domain}'"] if "train" in seen else []
    if learned:
        print(
            f"warning: {first_names(learned)} learned from days of split"
            f" '{experiment.finetune.validation}', which judges here: comparisons are flattered",
            file=sys.stderr,
        )


def _tell_undecided(store: KernelStore, outcomes: list[Outcome]) -> None:
    """Names the active kernels that were judged beside a domain above them which answers otherwise
    now.
    """
    decided = {outcome.domain for outcome in outcomes}
    changed = {outcome.domain for outcome in outcomes if outcome.changed}
    undecided = [
        name
        for name in store.active()
        if name not in decided and changed.intersection(Domain(name).parents) - {name}
    ]
    if undecided:
        print(
            f"note: what answers above {', '.join(undecided)} has changed; they were not tuned in"
            " this run, so they were not compared with it",
            file=sys.stderr,
        )


def _reads_every_row(
    experiment: Experiment, tuned: set[str], start: dict[str, KernelWeights]
) -> bool:
    """Whether kernels train on, or are judged by, rows of other domains than those that are
    tuned.
    """
    settings = experiment.finetune
    trains_all = ALL in tuned or (settings.warm_start != "none" and ALL not in start)
    return trains_all or settings.mixing != "none"


def _rows_of(domains: list[Domain], also: Rows | None = None) -> Chosen:
    """The rows of any of these domains, and those of the split that are asked for beside them."""

    def chosen(columns: Columns, first: int) -> npt.NDArray[np.bool_]:
        rows = len(columns["row/weight"])
        wanted = np.zeros(rows, bool)
        for domain in domains:
            wanted |= in_domain(columns, domain, rows)
        if also is not None:
            wanted[also[(also >= first) & (also < first + rows)] - first] = True
        return wanted

    return chosen
