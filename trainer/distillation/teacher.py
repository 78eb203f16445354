"""The teacher: a finished job's backbone with its active kernels, which scores rows as it serves
them.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs import Experiment, InputError
from configs.digests.sealed_json import digest_of
from configs.domains import Domain
from preprocessing.remote.folder import name_of
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, feature_tensors
from trainer.backbone.model import read_tap
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import row_bar
from trainer.evaluation.kernel_rows import KernelRows
from trainer.evaluation.provenance import seen_by_backbone, seen_by_kernel
from trainer.job import COMPOSE, Job
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import auto_logits, score_rows
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.registry.kernel_manifest import manifest_json
from trainer.registry.kernel_registry import (
    KernelStore,
    StoredKernel,
    common_memory,
    common_tap,
)
from trainer.registry.routes import job_routes

_BATCH = 16_384
_OF_TEACHER = ("backbone", "topics", "cross_topics", "kernel", "memory")
"""Sections of an experiment that say how the teacher reads rows; the others are the student's."""

Blocks = Iterator[tuple[int, Floats]]
"""Number of a split's file, and the logits ``[rows, T]`` of its next block."""


@dataclass(frozen=True)
class Teacher:
    """A job as it is served now.

    Attributes:
      job: where it is.
      kernels: active domain -> its kernel.
      routes: the experiment by which rows find the kernels.
    """

    job: Job
    kernels: Mapping[str, StoredKernel]
    routes: Experiment

    @classmethod
    def open(cls, job: Job) -> "Teacher":
        """Reads what a job serves. Raises ``InputError`` where it has no finished backbone, or
        something is damaged.
        """
        job.check_finished()
        store = KernelStore(job)
        kernels = {
            domain: store.load(domain, version) for domain, version in store.active().items()
        }
        return cls(job, kernels, job_routes(store, job.experiment()))

    @property
    def record(self) -> dict[str, Any]:
        """What teaches, JSON-ready: ``job``, where it is; ``backbone``, its fingerprint; and of
        every active domain in ``kernels`` the ``version`` of its kernel and the ``sha256`` of that
        one's manifest; with ``compose``, where rows are answered by several kernels together, the
        share (``configs.training.Routing``).
        """
        compose = self.routes.routing.compose
        return {
            "job": name_of(self.job.folder),
            "backbone": self.job.fingerprint()["fingerprint"],
            **({} if compose is None else {COMPOSE: compose}),
            "kernels": {
                domain: {
                    "version": kernel.version,
                    "sha256": digest_of(manifest_json(kernel.manifest)),
                }
                for domain, kernel in sorted(self.kernels.items())
            },
        }

    def check_reads(self, experiment: Experiment, dataset: Dataset) -> None:
        """Checks that teacher and student mean the same by a row; warns where the teacher knows the
        labels of rows that are to judge the student.

        Args:
          experiment: the student's.
          dataset: that the student reads.

        Raises:
          InputError: the dataset's transform is not the teacher's, or its labels are others.
        """
        trained = self.job.experiment()
        if not dataset.fitted.same_outputs_as(self.job.fitted()):
            raise InputError(
                f"{dataset.folder}: its transform is not the one that the teacher {self.job.folder}"
                " was trained on, so the teacher cannot read its rows; run python -m"
                f" preprocessing.task with --transform {self.job.folder}"
            )
        theirs, ours = trained.tasks, experiment.tasks
        if theirs.meaning != ours.meaning:
            raise InputError(
                f"{self.job.folder}: this teacher answers {theirs.words}, and the config's tasks"
                f" are {ours.words}; choose a teacher of the same tasks"
            )
        for name in dict.fromkeys((experiment.pretrain.validation, experiment.evaluation.split)):
            split = experiment.splits[name]
            known = [seen_by_backbone(trained, split, self.job.learned_before())]
            known += [seen_by_kernel(k.manifest, trained, split) for k in self.kernels.values()]
            if any("train" in seen for seen in known):
                print(
                    f"warning: the teacher has learned from rows of split '{name}', which judges"
                    " the student",
                    file=sys.stderr,
                )

    def scores(self, experiment: Experiment, data: Path, split: str) -> Blocks:
        """Scores a split in the order of its files, every row as ``auto`` serves it, without the
        position, remembering what it could.

        Args:
          experiment: the student's, which names the splits.
          data: folder of the dataset.
          split: name of the split.

        Raises:
          InputError: the dataset lacks a column that the teacher's topics or memory read.
        """
        theirs = self.routes.model_dump(mode="json")
        reading = Experiment.model_validate(
            experiment.model_dump(mode="json") | {name: theirs[name] for name in _OF_TEACHER}
        )
        kernels = list(self.kernels.values())
        source = KernelRows.open(reading, data, self.job, kernels, self.routes.topics)
        memory = self._memory(source, split)
        waiting: list[tuple[int, Columns]] = []
        start, rows = 0, 0
        with row_bar(f"teacher: {split}", source.dataset.rows(split)) as bar:
            for number, columns in source.dataset.blocks(split):
                waiting.append((number, columns))
                rows += len(columns["row/weight"])
                if rows < _BATCH:
                    continue
                yield from self._of_blocks(source, waiting, memory, start)
                bar.update(rows)
                waiting, start, rows = [], start + rows, 0
            if waiting:
                yield from self._of_blocks(source, waiting, memory, start)
                bar.update(rows)

    def _memory(self, source: KernelRows, split: str) -> Floats | None:
        """What every row of a split remembers, ``[rows, w]``; None where kernels do not."""
        memory = common_memory(source.kernels)
        if memory is None:
            return None
        columns = split_columns(source.dataset, split, lambda name: not name.startswith("feature/"))
        rows = len(columns["row/weight"])
        bare = BackboneOutputs(np.empty((rows, 0), np.float32), _no_taps(rows), columns)
        store = MemoryStore(self.job)
        return (
            RowMemory(source.experiment, source.dataset, store, memory)
            .of({split: bare})[split]
            .memory
        )

    def _of_blocks(
        self,
        source: KernelRows,
        blocks: list[tuple[int, Columns]],
        memory: Floats | None,
        start: int,
    ) -> Blocks:
        """Logits of blocks that are scored together; the first of their rows is the ``start``-th
        of the split.
        """
        first = blocks[0][1]
        columns = {name: np.concatenate([block[name] for _, block in blocks]) for name in first}
        heads = source.backbone.predict_on_batch(feature_tensors(columns, source.backbone))
        tap, rows = common_tap(source.kernels), len(columns["row/weight"])
        taps = np.asarray(read_tap(heads, tap), np.float32) if tap else _no_taps(rows)
        outputs = BackboneOutputs(heads["logits"], taps, columns)
        if memory is not None:
            outputs = replace(outputs, memory=memory[start : start + rows])
        logits = self.served(outputs)
        begin = 0
        for number, block in blocks:
            end = begin + len(block["row/weight"])
            yield number, logits[begin:end]
            begin = end

    def served(self, rows: BackboneOutputs) -> Floats:
        """Logits ``[N, T]`` of rows as ``auto`` serves them: each row is scored by the kernels that
        answer it, and no other.
        """
        topics = self.routes.topics
        domains = [Domain.parse(name, topics) for name in self.kernels]

        def score(domain: Domain, chosen: Rows) -> Floats:
            kernel = self.kernels[domain.name]
            return score_rows(kernel.shape, kernel.weights, rows, chosen)

        compose = self.routes.routing.compose
        return auto_logits(domains, topics, rows, score, rows.logits, compose)[1]


def _no_taps(rows: int) -> Floats:
    return np.empty((rows, 1, 0), np.float32)
