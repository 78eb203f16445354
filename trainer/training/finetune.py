"""Fine-tuning: the backbone runs once, frozen, over the window; the kernels of all domains train
on its stored taps; then it is decided what answers each domain from now on.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domain_definitions import Definition, definition_of
from configs.domains import ALL, Domain, named_domains
from configs.errors import first_names
from trainer.backbone.frozen_pass import (
    BackboneOutputs,
    Chosen,
    in_domain,
    open_frozen,
    run_frozen,
)
from trainer.backbone.model import read_tap
from trainer.backbone.stored_taps import window_rows
from trainer.data.dataset import Columns
from trainer.evaluation.provenance import seen_by_backbone, seen_by_kernel
from trainer.job import Job
from trainer.kernels.kernel import KernelShape, KernelWeights, Rows, user_columns
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.registry.golden_scores import GoldenRows, keep_requests
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import topics_with
from trainer.training.gate_fitting import with_gate, with_support
from trainer.training.judging_users import run_key, stopping_rows, with_judges
from trainer.training.kernel_training import scaling_rows, train_kernels
from trainer.training.outcome import Outcome
from trainer.training.release import Released, Trained, check_shapes, release
from trainer.training.warm_start import (
    initial_kernels,
    levels,
    possible_starts,
    start_name,
    stored_kernels,
)


def finetune(experiment: Experiment, data: Path, job: Job, names: list[str]) -> list[Outcome]:
    """Trains a kernel for every named domain (every domain where none is named) that is not pinned,
    stores those that have learned something, and decides what is served. Where the domains start
    from the kernel of all traffic and none is stored, that is trained and decided, too.

    The validation split is halved by user: one half decides when a kernel stops, the other judges
    it (``judging_users``). A new kernel is served where it is significantly better than what would
    answer its domain otherwise, and a version that is served no longer is where it is significantly
    worse than the domain above it (``trainer.evaluation.deciding``).

    Returns:
      What was decided of each domain, in the order in which they were named; all traffic before
      them where it was not named, the pinned ones after them.

    Raises:
      InputError: an unknown domain, no finished backbone, a dataset that the backbone was not
        trained for, or an active kernel that these could not be served beside.
    """
    wanted = named_domains(experiment.domains, names, "--domains")
    job.check_finished()
    store = KernelStore(job)
    pinned = store.pinned()
    domains = [domain for domain in wanted if domain.name not in pinned]
    held = [Outcome.pinned(d.name, store.active().get(d.name)) for d in wanted if d.name in pinned]
    if not domains:
        return held
    tuned = {domain.name for domain in domains}
    topics_with(store, job.experiment(), experiment, tuned)
    memory = experiment.memory
    dataset, backbone = open_frozen(experiment, data, job, memory=memory)
    for topic, value in dataset.topics.values_without_rows():
        print(f"warning: topic '{topic}': no row of {data} has '{value}'", file=sys.stderr)
    _tell_seen(store, job.experiment(), experiment)
    dataset.tell_unknown(experiment.finetune.split, learned=True)
    dataset.tell_unknown(experiment.finetune.validation)
    keep_requests(dataset, job)
    golden = GoldenRows.open(job, backbone)
    tap = experiment.kernel.tap
    shape = KernelShape.of(
        experiment.kernel,
        read_tap(backbone.output, tap).shape[-1],
        memory,
        len(experiment.tasks.towers),
    )
    shape = with_support(shape, experiment, dataset.fitted)
    keep = user_columns(shape)
    # before the forward passes, which take most of the wait
    check_shapes(store, shape, tuned, pinned)
    split, judging = experiment.finetune.split, experiment.finetune.validation
    start = stored_kernels(store, shape, possible_starts(experiment.finetune.warm_start, tuned))
    read = judged = None  # every row
    if not _reads_every_row(experiment, tuned, start):
        read = _rows_of(domains, scaling_rows(dataset.rows(split)))
        judged = _rows_of(domains)
    title = "taps of the window"
    window = window_rows(job, experiment, backbone, dataset, tap, title, keep, read)
    validation = run_frozen(backbone, dataset, judging, tap, "taps of validation", keep, judged)
    if memory:
        remembered = RowMemory(experiment, dataset, MemoryStore(job), memory)
        both = remembered.of({split: window, judging: validation})
        window, validation = both[split], both[judging]
    key = run_key(experiment, dataset)
    validation = with_judges(validation, key)
    tuning = _Tuning(experiment, start, job.logs / "finetune", shape, window, validation)
    tuning.train(domains)
    decided = [domain.name for domain in domains]
    if ALL in tuning.trained and ALL not in tuned | pinned:
        decided.insert(0, ALL)
    if memory:  # before the kernels that read it, and not before they have been trained
        remembered.serve([split, judging])
    run = Released(experiment, store, shape, validation, key, golden)
    outcomes = release(run, [tuning.trained[name] for name in decided])
    _tell_undecided(store, outcomes)
    return [*outcomes, *held]


def _tell_seen(store: KernelStore, trained_with: Experiment, experiment: Experiment) -> None:
    """Says where the rows that judge taught the backbone, or a kernel that is served."""
    split = experiment.splits[experiment.finetune.validation]
    learned = ["the backbone"] if "train" in seen_by_backbone(trained_with, split) else []
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


@dataclass(frozen=True)
class _Tuning:
    """What every training of one run shares, and what has been trained so far.

    Attributes:
      start: stored kernels that domains may start from, less their gates
        (``possible_starts``).
    """

    experiment: Experiment
    start: dict[str, KernelWeights]
    logs: Path
    shape: KernelShape
    window: BackboneOutputs
    validation: BackboneOutputs
    trained: dict[str, Trained] = field(default_factory=dict)

    def train(self, domains: list[Domain]) -> None:
        """Trains every domain: that of all traffic first where the others start from it."""
        kernels = dict(self.start)
        warm_start = self.experiment.finetune.warm_start
        if warm_start != "none" and ALL not in kernels:
            kernels |= self._train_level([Domain(ALL)], {})
        if warm_start != "none":
            domains = [domain for domain in domains if domain.name != ALL]
        for level in levels(warm_start, domains):
            kernels |= self._train_level(level, kernels)

    def _train_level(
        self, domains: list[Domain], known: dict[str, KernelWeights]
    ) -> dict[str, KernelWeights]:
        """Trains kernels together.

        Args:
          domains: of one level.
          known: kernels that they may start from, by domain; none where each starts from a new one.

        Returns:
          The kernels by domain, less their gates; of domains that have rows in the window.
        """
        experiment, warm_start = self.experiment, self.experiment.finetune.warm_start
        rows_of = {domain.name: len(self.window.domain_rows(domain)) for domain in domains}
        for domain in domains:
            self.trained[domain.name] = Trained(domain, self._definition(domain), 0)
        domains = [domain for domain in domains if rows_of[domain.name]]
        if not domains:
            return {}
        start = initial_kernels(warm_start, domains, known) if known else None
        found = train_kernels(
            experiment, self.shape, self.window, self.validation, domains, start, self.logs
        )
        kernels = {domain.name: one.weights for domain, one in zip(domains, found, strict=True)}
        for domain, one in zip(domains, found, strict=True):
            kernel = one.weights
            if not all(np.isfinite(kernel[name]).all() for name in kernel):
                raise InputError(
                    f"the kernel of '{domain.name}' has weights that are no numbers; lower"
                    " finetune.learning_rate (or child_learning_rate)"
                )
            stopping = stopping_rows(self.validation, domain)
            self.trained[domain.name] = Trained(
                domain,
                self._definition(domain),
                rows_of[domain.name],
                with_gate(experiment, self.shape, kernel, self.window, self.validation, stopping)
                if one.moved
                else None,
                start_name(warm_start, domain, known),
            )
        return kernels

    def _definition(self, domain: Domain) -> Definition:
        return definition_of(domain, self.experiment.topics)
