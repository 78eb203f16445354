"""Computes what the trainer says of raw rows under any domain: from the frozen backbone's taps and
the stored kernels, with no exported graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from configs import Experiment
from configs.domain_names import spellings
from configs.domains import BACKBONE, Domain
from configs.memory import Memory
from configs.tensorflow_import import tf
from configs.topics import Topic
from preprocessing.features.key_hashes import keys_of_batch
from preprocessing.features.topic import topics_of_batch
from preprocessing.features.transform import Transform
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, feature_tensors
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.kernels.fallback import answering_domain
from trainer.kernels.kernel import Rows
from trainer.kernels.page_scores import BY_FIELDS, PageScores
from trainer.kernels.scoring import Predictions, auto_logits, score_rows, served_outputs
from trainer.memory.counts import Counts
from trainer.memory.lookup import rates_of_rows
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_registry import (
    KernelStore,
    StoredKernel,
    common_memory,
    common_tap,
)


def frozen_rows(
    backbone: keras.Model,
    transform: Transform,
    topics: Mapping[str, Topic],
    rows: pa.RecordBatch,
    tap: str,
    memory: Memory | None = None,
) -> BackboneOutputs:
    """Runs validated rows through Beam's batch transform and the frozen backbone, cuts them by
    topics, and gives them the keys of a memory.
    """
    columns: dict[str, Any] = transform.apply_batch(rows)
    columns |= topics_of_batch(topics, rows) | keys_of_batch(memory, rows)
    heads = backbone(
        {name: tf.constant(values) for name, values in feature_tensors(columns, backbone).items()},
        training=False,
    )
    return BackboneOutputs(heads["logits"].numpy(), np.asarray(read_tap(heads, tap)), columns)


def with_memory(
    rows: BackboneOutputs, memory: Memory | None, counts: Counts | None
) -> BackboneOutputs:
    """Rows that have a memory's keys with what they are served with; as they are where there is
    none.
    """
    if memory is None or counts is None:
        return rows
    return replace(rows, memory=rates_of_rows(memory, counts, rows.columns))


class TrainerScores:
    """Predictions of rows as the trainer computes them, under any domain.

    Args:
      experiment: its topics are what ``auto`` goes by (``trainer.registry.routes``).
      kernels: the active ones, all of which read the rows' tap.
      rows: what is scored, with topics, and the ids of the user feature where kernels are gated.
    """

    def __init__(
        self, experiment: Experiment, kernels: Sequence[StoredKernel], rows: BackboneOutputs
    ) -> None:
        self._kernels, self._rows = {kernel.domain: kernel for kernel in kernels}, rows
        self._pages = PageScores(experiment)
        self._places = self._pages.of_columns(rows.columns, len(rows.logits))
        active = [Domain.parse(name, experiment.topics) for name in self._kernels]
        ranked = [Domain.parse(name, experiment.topics) for name in experiment.scores]
        self._domains = {
            name: domain
            for domain in (*experiment.domains, *active, *ranked)
            for name in spellings(domain.name)
        }
        self._gains = {kernel.domain: kernel.measured_gain for kernel in kernels}
        self._active, self._topics = active, experiment.topics
        self._compose = experiment.routing.compose

    def scores_for(self, domain: str) -> tuple[Predictions, list[str]]:
        """Output -> value of every row (``served_outputs``), and the name of the domain that serves
        it.
        """
        answer, logits = self._answer(domain), self._rows.logits
        served = [answer or BACKBONE] * len(logits)
        if answer is None:
            served, logits = self._auto
        elif answer != BACKBONE:
            logits = self._score(answer, np.arange(len(logits)))
        place = self._pages.of_request(self._domains.get(domain))
        places = self._places if place == BY_FIELDS else tf.fill([len(logits)], place)
        return served_outputs(self._pages, logits, places), served

    @cached_property
    def _auto(self) -> tuple[list[str], Floats]:
        """The domain that serves each row under ``auto``, and the logits ``[N, T]``."""

        def score(domain: Domain, chosen: Rows) -> Floats:
            return self._score(domain.name, chosen)

        rows = self._rows
        return auto_logits(self._active, self._topics, rows, score, rows.logits, self._compose)

    def _score(self, domain: str, chosen: Rows) -> Floats:
        """Logits ``[n, T]`` of chosen rows under a domain's kernel."""
        kernel = self._kernels[domain]
        return score_rows(kernel.shape, kernel.weights, self._rows, chosen)

    def _answer(self, name: str) -> str | None:
        """The domain that answers every row which names this one; None where each row's own does:
        under ``auto`` and under a name that no domain has.
        """
        if name == BACKBONE:
            return BACKBONE
        domain = self._domains.get(name)
        return None if domain is None else answering_domain(domain, self._gains)

    @property
    def active(self) -> list[str]:
        """Domains that have an active kernel."""
        return list(self._kernels)


def stored_scores(job: Job, experiment: Experiment, rows: pa.RecordBatch) -> TrainerScores:
    """Scores of validated rows by a job's backbone and its active kernels.

    Args:
      job: the job.
      experiment: of the job, as its kernels route it (``trainer.registry.routes.job_routes``).
      rows: with that experiment's columns.
    """
    store = KernelStore(job)
    kernels = [store.load(domain, version) for domain, version in store.active().items()]
    tap, memory = common_tap(kernels) or experiment.kernel.tap, common_memory(kernels)
    counts = MemoryStore(job).served(memory).counts if memory else None
    backbone, transform = load_frozen(job, experiment), Transform(experiment, job.fitted())
    frozen = frozen_rows(backbone, transform, experiment.topics, rows, tap, memory)
    return TrainerScores(experiment, kernels, with_memory(frozen, memory, counts))
