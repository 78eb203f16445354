"""A job's kernels as a split is judged under them: which domains there are, whose kernel answers
which rows, and what they answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import BACKBONE, Domain, Topic
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.routing import auto_rank, most_specific_first
from trainer.kernels.scoring import route, score_rows
from trainer.registry.kernel_registry import KernelStore, StoredKernel
from trainer.registry.routes import topics_with


@dataclass(frozen=True)
class JudgedKernels:
    """What serves a job's rows.

    Attributes:
      topics: by which rows are cut and routed.
      domains: name -> domain, of the config and of every active kernel.
      active: domain -> version that is served.
      kernels: domain -> its active kernel, else its newest; not there where it has none.
      compose: share by which kernels answer ``auto`` together; None where they do not.
    """

    topics: Mapping[str, Topic]
    domains: Mapping[str, Domain]
    active: Mapping[str, int]
    kernels: Mapping[str, StoredKernel]
    compose: float | None

    @classmethod
    def open(cls, experiment: Experiment, store: KernelStore) -> "JudgedKernels":
        """Loads them. Raises ``InputError`` where one is damaged, or its domain is other rows in
        this config.

        Args:
          experiment: whose domains are judged.
          store: of the job.
        """
        topics = topics_with(store, store.job.experiment(), experiment)
        active = store.active()
        names = dict.fromkeys((*(domain.name for domain in experiment.domains), *active))
        found = {name: store.active_or_newest(name) for name in names}
        return cls(
            topics,
            {name: Domain.parse(name, topics) for name in names},
            active,
            {name: kernel for name, kernel in found.items() if kernel},
            experiment.routing.compose,
        )

    @property
    def serving(self) -> list[StoredKernel]:
        """The active kernels."""
        return [self.kernels[name] for name in self.active]

    def routed(self, rows: BackboneOutputs, scores: Mapping[str, Floats]) -> Floats:
        """Logits ``[N, T]`` of all rows as ``auto`` serves them.

        Args:
          rows: with topics.
          scores: active domain -> logits of its rows under its kernel, in order.
        """
        domains = self.domains.values()
        return route(domains, self.topics, rows, scores, rows.logits, self.compose)

    def served(self, rows: BackboneOutputs) -> Floats:
        """The same of rows that no kernel has scored yet, with all that kernels read."""
        scores = {}
        for kernel in self.serving:
            inside = rows.domain_rows(self.domains[kernel.domain])
            scores[kernel.domain] = score_rows(kernel.shape, kernel.weights, rows, inside)
        return self.routed(rows, scores)

    def answering(self, columns: Mapping[str, npt.NDArray[np.generic]], n_rows: int) -> list[str]:
        """The most specific active domain of each row, ``backbone`` where it has none.

        Args:
          columns: topics ``topic/NAME``, int32 ``[N]``.
          n_rows: N.
        """
        served = [self.domains[name] for name in self.active]
        candidates = most_specific_first(served, self.topics)
        indices = {topic: tf.constant(columns[f"topic/{topic}"]) for topic in self.topics}
        names = [BACKBONE, *(domain.name for domain in candidates)]
        return [names[rank] for rank in auto_rank(indices, candidates, n_rows).numpy()]
