"""Fine-tuning: the backbone runs once, frozen, over the window; the kernels of all domains train
on its stored taps; then it is decided what answers each domain from now on.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs import Experiment, InputError
from configs.domain_definitions import Definition, definition_of
from configs.domains import ALL, Domain, named_domains
from trainer.backbone.frozen_pass import BackboneOutputs, open_frozen, run_frozen
from trainer.backbone.model import read_tap
from trainer.backbone.stored_taps import window_rows
from trainer.evaluation.provenance import seen_by_backbone, seen_by_kernel
from trainer.job import Job
from trainer.kernels.kernel import KernelShape, KernelWeights, user_columns
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.registry.golden_scores import GoldenRows, keep_requests
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import topics_with
from trainer.training.gate_fitting import with_gate, with_support
from trainer.training.judging_users import run_key, stopping_rows, with_judges
from trainer.training.kernel_training import train_kernels
from trainer.training.outcome import Outcome
from trainer.training.release import Released, Trained, check_shapes, release
from trainer.training.warm_start import initial_kernels, levels, start_name


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
    window = window_rows(job, experiment, backbone, dataset, tap, "taps of the window", keep)
    validation = run_frozen(backbone, dataset, judging, tap, "taps of validation", keep)
    if memory:
        remembered = RowMemory(experiment, dataset, MemoryStore(job), memory)
        both = remembered.of({split: window, judging: validation})
        window, validation = both[split], both[judging]
    key = run_key(experiment, dataset)
    validation = with_judges(validation, key)
    tuning = _Tuning(experiment, store, job.logs / "finetune", shape, window, validation)
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
        more = f" and {len(learned) - 3} more" if len(learned) > 3 else ""
        print(
            f"warning: {', '.join(learned[:3])}{more} learned from days of split"
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


@dataclass(frozen=True)
class _Tuning:
    """What every training of one run shares, and what has been trained so far."""

    experiment: Experiment
    store: KernelStore
    logs: Path
    shape: KernelShape
    window: BackboneOutputs
    validation: BackboneOutputs
    trained: dict[str, Trained] = field(default_factory=dict)

    def train(self, domains: list[Domain]) -> None:
        """Trains every domain: that of all traffic first where the others start from it."""
        kernels: dict[str, KernelWeights] = {}
        warm_start = self.experiment.finetune.warm_start
        if warm_start != "none":
            anew = any(domain.name == ALL for domain in domains)
            kernels[ALL] = self._kernel_of_all_traffic(anew)
            domains = [domain for domain in domains if domain.name != ALL]
        if warm_start == "parent":
            kernels = self._stored({name for d in domains for name in d.parents}) | kernels
        for level in levels(warm_start, domains):
            kernels |= self._train_level(level, kernels)

    def _kernel_of_all_traffic(self, anew: bool) -> KernelWeights:
        """The kernel that the others start from: the stored one, unless it is to be trained anew
        or there is none of this shape.
        """
        stored = {} if anew else self._stored({ALL})
        return stored[ALL] if stored else self._train_level([Domain(ALL)], {})[ALL]

    def _stored(self, names: set[str]) -> dict[str, KernelWeights]:
        """The stored kernels of this run's shape among the named domains', less their gates; a
        damaged one is told and is no start.
        """
        found = {}
        for name in sorted(names):
            try:
                found[name] = self.store.active_or_newest(name)
            except InputError as error:
                print(f"warning: no domain starts from '{name}': {error}", file=sys.stderr)
        return {
            name: {array: kernel.weights[array] for array in self.shape.variables()}
            for name, kernel in found.items()
            if kernel and kernel.shape == self.shape
        }

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
