"""Golden requests of a job, and their scores under its kernels: what says that a kernel still
answers as when it was stored.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pyarrow as pa

from configs import Experiment, InputError
from configs.files import write_bytes
from configs.prediction.tasks import Tasks
from configs.tensorflow_import import tf
from configs.values import READERS, UnreadableValueError
from preprocessing.dataset.manifest import read_entry
from preprocessing.features.topic import topics_of_batch
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors
from trainer.backbone.model import read_tap
from trainer.data.dataset import Columns, Dataset
from trainer.job import Job
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.kernels.scoring import predicted_rows, score_rows

TOLERANCE = 1e-5
"""How far a probability may be off on another machine; on the machine that stored it, it is the
same bit by bit.
"""

Golden = dict[str, Any]
"""``requests``: sha256 of the golden requests; ``scores``: task -> probability of each of them,
float32 as JSON numbers.
"""


def keep_requests(dataset: Dataset, job: Job) -> None:
    """Copies a dataset's golden requests into a job that has none; those that a job has stay for as
    long as its backbone.

    Raises:
      InputError: the job has none and the dataset is older than golden requests, or its file is
        damaged.
    """
    if job.golden.exists():
        return
    listed = dataset.manifest.golden_requests
    if listed is None:
        raise InputError(
            f"{dataset.folder}: holds no golden requests; run preprocessing.task again, which draws"
            " them"
        )
    write_bytes(job.golden, read_entry(dataset.folder, listed))


def record_batch(
    experiment: Experiment, requests: list[dict[str, Any]], where: str
) -> pa.RecordBatch:
    """Requests as the transform takes them; what no request carries is missing. Raises
    ``InputError``, which begins with ``where``.
    """
    arrays = {}
    for column in raw_columns(experiment).values():
        try:
            values = [READERS[column.kind](row.get(column.name)) for row in requests]
        except UnreadableValueError as error:
            raise InputError(f"{where}: damaged: {column.name}: {error}") from None
        arrays[column.name] = pa.array(values, ARROW_TYPES[column.kind])
    return pa.record_batch(arrays)


@dataclass(frozen=True)
class GoldenRows:
    """The golden requests behind a job's frozen backbone.

    Attributes:
      requests: sha256 of their file.
      heads: the backbone's outputs.
      columns: what the transform makes of them, and their topics.
      tasks: of the backbone.
    """

    requests: str
    heads: dict[str, Any]
    columns: Columns
    tasks: Tasks

    @classmethod
    def open(cls, job: Job, backbone: keras.Model) -> "GoldenRows":
        """Runs the frozen backbone over the job's golden requests. Raises ``InputError`` where
        there are none or they are damaged.
        """
        experiment = job.experiment()
        batch = record_batch(experiment, job.golden_requests(), str(job.golden))
        columns = Transform(experiment, job.fitted()).apply_batch(batch)
        columns |= topics_of_batch(experiment.topics, batch)
        inputs = {
            name: tf.constant(values) for name, values in feature_tensors(columns, backbone).items()
        }
        return cls(
            hashlib.sha256(job.golden.read_bytes()).hexdigest(),
            backbone(inputs, training=False),
            columns,
            experiment.tasks,
        )

    def scores_for(self, shape: KernelShape, kernel: KernelWeights) -> Golden:
        """Scores of all rows under one kernel, whatever their topics; where it reads memory, of
        keys that were never seen: what is remembered changes, and a version does not.
        """
        logits = self.heads["logits"].numpy()
        memory = shape.remembers
        nothing = (
            np.zeros((len(logits), memory.width(logits.shape[1])), np.float32) if memory else None
        )
        taps = read_tap(self.heads, shape.tap).numpy()
        rows = BackboneOutputs(logits, taps, self.columns, nothing)
        scores = predicted_rows(self.tasks, score_rows(shape, kernel, rows, np.arange(len(logits))))
        return {
            "requests": self.requests,
            "scores": {task: values.tolist() for task, values in scores.items()},
        }
