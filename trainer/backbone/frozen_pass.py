"""Runs the frozen backbone forward over a split once, and keeps logits, taps, and the columns that
training and judging need.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domains import Domain, Topic
from configs.memory import Memory
from trainer.backbone.input_scale import InputScale
from trainer.backbone.model import TOPIC_PREFIX, read_tap
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import with_progress
from trainer.job import Job

Floats = npt.NDArray[np.float32]
_BATCH = 16_384


@dataclass(frozen=True)
class BackboneOutputs:
    """The rows of a split as a kernel sees them.

    Attributes:
      logits: float32 ``[N, T]``, of the backbone's T towers.
      taps: float32 ``[N, T, d]``, or ``[N, 1, d]`` where all tasks share it; ``[N, T, 0]`` where
        none was asked for.
      columns: the record columns that are no features (labels, topics, row keys), each ``[N]``, and
        the features that were asked for.
      memory: float32 ``[N, w]``, what each row remembers (``trainer.memory``), which kernels read
        beside the tap; None where they do not.
      scale: how tap and memory are standardised while kernels train; None where they are read as
        they are.
    """

    logits: Floats
    taps: Floats
    columns: Columns
    memory: Floats | None = None
    scale: InputScale | None = None

    def inputs(self, rows: Any) -> Floats:
        """What kernels read of rows, tap and memory: float32 ``[..., T, R, d]``, gathered as it is
        multiplied, so that nothing is transposed.

        Args:
          rows: indices ``[..., R]``.
        """
        rows = rows[..., np.newaxis, :]
        taps: Floats = self.taps[rows, np.arange(self.taps.shape[1])[:, np.newaxis]]
        if self.memory is not None:
            memory = np.repeat(self.memory[rows], taps.shape[-3], axis=-3)
            taps = np.concatenate([taps, memory], axis=-1)
        return taps if self.scale is None else self.scale.applied(taps)

    def domain_rows(self, domain: Domain) -> npt.NDArray[np.int64]:
        """Indices of a domain's rows, in order."""
        inside = np.ones(len(self.logits), bool)
        for topic, index in domain.conditions:
            inside &= self.columns[f"topic/{topic}"] == index
        return np.flatnonzero(inside)

    @property
    def weights(self) -> Floats:
        """Sample weights, float32 ``[N]``."""
        return self.columns["row/weight"].astype(np.float32, copy=False)

    def labels(self, column: str) -> Floats:
        """A label column, float32 ``[N]``."""
        return self.columns[f"label/{column}"].astype(np.float32, copy=False)


def open_frozen(
    experiment: Experiment,
    data: Path,
    job: Job,
    topics: Mapping[str, Topic] | None = None,
    memory: Memory | None = None,
) -> tuple[Dataset, keras.Model]:
    """Opens a dataset, and the frozen backbone of a job that was trained for it.

    Args:
      experiment: that reads them.
      data: folder of the dataset.
      job: of the backbone.
      topics: by which the dataset's rows are cut; the experiment's where None.
      memory: whose keys the dataset's rows are to have; none where None.

    Raises:
      InputError: no such dataset, no finished backbone, or one is damaged or not made for the other
        or for this experiment.
    """
    dataset = Dataset.open(data, experiment, topics, memory)
    backbone = load_frozen(job, experiment)
    if not dataset.fitted.same_outputs_as(job.fitted()):
        raise InputError(
            f"{data}: its transform is not the one that the backbone of {job.folder} was trained"
            f" on; run python -m preprocessing.task with --transform {job.folder}"
        )
    trained = job.experiment()
    if list(trained.tasks.spaces.items()) != list(experiment.tasks.spaces.items()):
        raise InputError(
            f"tasks: the backbone of {job.folder} was trained for {trained.tasks.words}, and the"
            f" config has {experiment.tasks.words}; leave the tasks as they are, or train a"
            " backbone in another --job-dir"
        )
    for name in trained.backbone.topics:
        if not trained.topics[name].same_as(experiment.topics.get(name)):
            raise InputError(
                f"topics.{name}: the body of the backbone of {job.folder} reads it, and was trained"
                " with other settings of it; leave it as it is, and cut new domains by a topic of"
                " another name"
            )
    return dataset, backbone


def feature_tensors(columns: dict[str, Any], model: keras.Model) -> dict[str, Any]:
    """The model's inputs among record columns."""
    return {
        name: columns[name if name.startswith(TOPIC_PREFIX) else f"feature/{name}"]
        for name in model.input
    }


def run_frozen(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    tap: str | None,
    title: str,
    keep: tuple[str, ...] = (),
) -> BackboneOutputs:
    """Runs a frozen backbone over a split.

    Args:
      model: from ``trainer.backbone.saving.load_frozen``.
      dataset: where the split is.
      split: name of the split.
      tap: what to keep beside the logits (see ``trainer.backbone.model.read_tap``), or None.
      title: of the progress bar.
      keep: feature columns to keep (``feature/NAME``): what gated kernels read
        (``trainer.kernels.kernel.user_columns``).
    """
    rows = dataset.rows(split)
    towers = model.output["logits"].shape[1]
    tasks, width = read_tap(model.output, tap).shape[1:] if tap else (towers, 0)
    logits, taps = np.empty((rows, towers), np.float32), np.empty((rows, tasks, width), np.float32)
    kept: dict[str, npt.NDArray[np.generic]] = {}
    start = stop = 0
    for columns in with_progress(title, rows, dataset.batches(split, _BATCH)):
        heads = model.predict_on_batch(feature_tensors(columns, model))
        stop = start + len(columns["row/weight"])
        if stop > rows:
            break
        logits[start:stop] = heads["logits"]
        if tap:
            taps[start:stop] = read_tap(heads, tap)
        for name, values in columns.items():
            if name in keep or not name.startswith("feature/"):
                kept.setdefault(name, np.empty(rows, values.dtype))[start:stop] = values
        start = stop
    if stop != rows:
        raise InputError(
            f"{dataset.folder}: split '{split}' holds other rows than the {rows} of its manifest;"
            " run preprocessing.task again"
        )
    return BackboneOutputs(logits, taps, kept)
