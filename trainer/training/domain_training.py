"""Trains the kernels of a run's domains, level by level: that of all traffic first where the
others start from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from configs import Experiment, InputError
from configs.domain_definitions import definition_of
from configs.domains import ALL, Domain
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.training.domain_mixing import expected_rows
from trainer.training.gate_fitting import with_gate
from trainer.training.judging_users import stopping_rows
from trainer.training.kernel_training import train_kernels
from trainer.training.release import Trained
from trainer.training.warm_start import initial_kernels, levels, start_name


@dataclass(frozen=True)
class DomainTraining:
    """What every training of one run shares, and what has been trained so far.

    A domain's steps and rates follow from the rows of all domains of the config on its level,
    whichever of them the run trains, so that its kernel is the same bits in any run.

    Attributes:
      experiment: settings, and all domains.
      start: stored kernels that domains may start from, less their gates
        (``warm_start.possible_starts``).
      logs: folder for TensorBoard.
      shape: of the kernels.
      window: the rows of the fine-tuning split.
      validation: those of the validation split, with judges.
      inherited: kernels that these domains start from, whichever stand above them: their own of an
        older backbone (``trainer.ancestry.ancestor.inherited_kernels``).
      trained: domain -> what training left of it.
      kernels: domain -> what others may start from, ``start`` and what was trained since.
    """

    experiment: Experiment
    start: dict[str, KernelWeights]
    logs: Path
    shape: KernelShape
    window: BackboneOutputs
    validation: BackboneOutputs
    inherited: Mapping[str, KernelWeights] = field(default_factory=dict)
    trained: dict[str, Trained] = field(default_factory=dict)
    kernels: dict[str, KernelWeights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kernels.update(self.start)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Domain -> its rows in the window, of all domains of the config that have any."""
        found = {d.name: len(self.window.domain_rows(d)) for d in self.experiment.domains}
        return {name: rows for name, rows in found.items() if rows}

    def train(self, domains: list[Domain]) -> None:
        """Trains every domain: that of all traffic first where the others start from it."""
        self.train_all_traffic()
        warm_start, names = self.experiment.finetune.warm_start, {d.name for d in domains}
        every = list(self.experiment.domains)
        if warm_start != "none":
            every = [domain for domain in every if domain.name != ALL]
        for level in levels(warm_start, every):
            if chosen := [domain for domain in level if domain.name in names]:
                self._train_level(chosen, level)

    def train_all_traffic(self) -> None:
        """Trains the kernel of all traffic, where others start from it and it is not there yet."""
        if self.experiment.finetune.warm_start != "none" and ALL not in self.kernels:
            self._train_level([Domain(ALL)], [Domain(ALL)])

    def _train_level(self, domains: list[Domain], level: list[Domain]) -> None:
        """Trains kernels together; those of domains that have rows in the window.

        Args:
          domains: some of one level.
          level: all of it.
        """
        experiment, warm_start = self.experiment, self.experiment.finetune.warm_start
        self.trained.update({d.name: Trained.nothing(d, experiment.topics) for d in domains})
        domains = [domain for domain in domains if domain.name in self.rows]
        if not domains:
            return
        known = dict(self.kernels) if level != [Domain(ALL)] else {}
        inherited = self.inherited if warm_start != "none" else {}
        start = initial_kernels(warm_start, domains, known, inherited)
        settings, rows = experiment.finetune, len(self.window.logits)
        sizes = {
            domain.name: expected_rows(settings, self.rows[domain.name], rows)
            for domain in level
            if domain.name in self.rows
        }
        found = train_kernels(
            experiment, self.shape, self.window, self.validation, domains, start, self.logs, sizes
        )
        for domain, one in zip(domains, found, strict=True):
            kernel = one.weights
            if not all(np.isfinite(kernel[name]).all() for name in kernel):
                raise InputError(
                    f"the kernel of '{domain.name}' has weights that are no numbers; lower"
                    " finetune.learning_rate (or child_learning_rate)"
                )
            stopping = stopping_rows(self.validation, domain)
            self.kernels[domain.name] = kernel
            self.trained[domain.name] = Trained(
                domain,
                definition_of(domain, experiment.topics),
                self.rows[domain.name],
                with_gate(experiment, self.shape, kernel, self.window, self.validation, stopping)
                if one.moved or domain.name in inherited
                else None,
                start_name(warm_start, domain, known, inherited),
            )
