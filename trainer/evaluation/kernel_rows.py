"""Opens a dataset for stored kernels, and gives rows of it with all that these read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from configs import Experiment
from configs.domains import Topic
from trainer.backbone.frozen_pass import BackboneOutputs, open_frozen, run_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import user_columns
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.registry.kernel_registry import StoredKernel, common_memory, common_tap


@dataclass(frozen=True)
class KernelRows:
    """A dataset behind a job's frozen backbone, for kernels that read one tap and one memory.

    Attributes:
      experiment: that reads it.
      job: of the backbone.
      dataset: opened.
      backbone: frozen.
      kernels: that its rows are for.
    """

    experiment: Experiment
    job: Job
    dataset: Dataset
    backbone: keras.Model
    kernels: Sequence[StoredKernel]

    @classmethod
    def open(
        cls,
        experiment: Experiment,
        data: Path,
        job: Job,
        kernels: Sequence[StoredKernel],
        topics: Mapping[str, Topic] | None = None,
    ) -> "KernelRows":
        """Opens both. Raises ``InputError`` as ``open_frozen``, and where the kernels read
        different taps or memories.
        """
        memory = common_memory(kernels)
        common_tap(kernels)
        dataset, backbone = open_frozen(experiment, data, job, topics, memory)
        return cls(experiment, job, dataset, backbone, kernels)

    def of_split(self, split: str, title: str) -> BackboneOutputs:
        """Every row of a split; ``title`` is the progress bar's."""
        keep = user_columns(*(kernel.shape for kernel in self.kernels))
        tap = common_tap(self.kernels)
        return self.remembering(
            split, run_frozen(self.backbone, self.dataset, split, tap, title, keep)
        )

    def remembering(self, split: str, rows: BackboneOutputs) -> BackboneOutputs:
        """All rows of a split, with what each remembered; as they are where kernels do not
        remember. Only their columns are read.
        """
        memory = common_memory(self.kernels)
        if memory is None:
            return rows
        store = MemoryStore(self.job)
        return RowMemory(self.experiment, self.dataset, store, memory).of({split: rows})[split]
