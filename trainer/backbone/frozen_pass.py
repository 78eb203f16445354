"""Runs the frozen backbone forward over a split once, and keeps logits, taps, and the columns that
training and judging need.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domains import Domain, Topic
from configs.memory import Memory
from configs.prediction.tasks import Tasks
from configs.tensorflow_import import tf
from trainer.backbone.input_scale import InputScale
from trainer.backbone.model import TOPIC_PREFIX, read_tap
from trainer.backbone.saving import load_fitting
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import with_progress
from trainer.job import Job
from trainer.target_rows import REQUEST, loss_columns

Floats = npt.NDArray[np.float32]
Chosen = Callable[[Columns, int], npt.NDArray[np.bool_]]
"""A batch's columns and the index of its first row in the split -> which of its rows."""

_BATCH = 16_384
_READ_TO_CHOOSE = 4 * _BATCH
_AT_ONCE = 2
"""Batches that are computed at a time: while the outputs of one are copied, or one of its
operations runs in a single thread, the other keeps the cores busy.
"""


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

    @property
    def input_shape(self) -> tuple[int, int]:
        """T and d of what kernels read."""
        tasks, width = self.taps.shape[1:]
        return tasks, width + (0 if self.memory is None else self.memory.shape[1])

    def inputs(self, rows: Any, out: Floats | None = None) -> Floats:
        """What kernels read of rows, tap and memory: float32 ``[..., T, R, d]``, gathered as it is
        multiplied, so that nothing is transposed.

        Args:
          rows: indices ``[..., R]``.
          out: what to write them into, contiguous; new memory where None. A hot loop gives it: the
            system clears new memory, which takes longer than gathering.
        """
        (tasks, _), tap_width = self.input_shape, self.taps.shape[2]
        places = rows[..., np.newaxis, :] * tasks + np.arange(tasks)[:, np.newaxis]
        if out is None:
            out = np.empty((*places.shape, self.input_shape[1]), np.float32)
        flat = self.taps.reshape(-1, tap_width)
        # Indices are in range; 'clip' alone writes into `out` without a copy between.
        if self.memory is None:
            np.take(flat, places, axis=0, out=out, mode="clip")
        else:
            out[..., :tap_width] = np.take(flat, places, axis=0)
            out[..., tap_width:] = self.memory[rows][..., np.newaxis, :, :]
        return out if self.scale is None else self.scale.applied(out)

    def domain_rows(self, domain: Domain) -> npt.NDArray[np.int64]:
        """Indices of a domain's rows, in order."""
        return np.flatnonzero(in_domain(self.columns, domain, len(self.logits)))

    @property
    def weights(self) -> Floats:
        """Sample weights, float32 ``[N]``."""
        return self.columns["row/weight"].astype(np.float32, copy=False)

    def loss_columns(self, tasks: Tasks, rows: Any) -> Columns:
        """What losses read of rows, numbers as float32."""
        read = {name: self.columns[name][rows] for name in loss_columns(tasks)}
        return {
            name: values if name == REQUEST else values.astype(np.float32, copy=False)
            for name, values in read.items()
        }

    def labels(self, column: str) -> Floats:
        """A label column, float32 ``[N]``."""
        return self.columns[f"label/{column}"].astype(np.float32, copy=False)


def in_domain(columns: Columns, domain: Domain, rows: int) -> npt.NDArray[np.bool_]:
    """Which of ``rows`` rows are a domain's, by their topics."""
    inside = np.ones(rows, bool)
    for topic, index in domain.conditions:
        inside &= columns[f"topic/{topic}"] == index
    return inside


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
    backbone = load_fitting(job, experiment)
    if not dataset.fitted.same_outputs_as(job.fitted()):
        raise InputError(
            f"{data}: its transform is not the one that the backbone of {job.folder} was trained"
            f" on; run python -m preprocessing.task with --transform {job.folder}"
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
    chosen: Chosen | None = None,
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
      chosen: the rows that the backbone computes; of the others the columns are kept, the logits
        are no numbers, and nobody may read the taps. All rows where None.
    """
    rows = dataset.rows(split)
    logits, taps = _no_heads(model, tap, rows)
    if chosen is not None:
        logits.fill(np.nan)
    kept: dict[str, npt.NDArray[np.generic]] = {}
    forward = _forward(model, tap)

    def compute(features: dict[str, Any], places: Any) -> None:
        found = forward(features)
        logits[places] = np.asarray(found[0])
        if tap:
            taps[places] = np.asarray(found[1])

    batches = dataset.batches(split, _BATCH if chosen is None else _READ_TO_CHOOSE)
    start = stop = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running: deque[Future[None]] = deque()
        for columns in with_progress(title, rows, batches):
            stop = start + len(columns["row/weight"])
            if stop > rows:
                break
            for features, places in _parts(model, columns, start, chosen):
                if len(running) == _AT_ONCE:
                    running.popleft().result()
                running.append(pool.submit(compute, features, places))
            for name, values in columns.items():
                if name in keep or not name.startswith("feature/"):
                    kept.setdefault(name, np.empty(rows, values.dtype))[start:stop] = values
            start = stop
        for one in running:
            one.result()
    if stop != rows:
        raise InputError(
            f"{dataset.folder}: split '{split}' holds other rows than the {rows} of its manifest;"
            " run preprocessing.task again"
        )
    return BackboneOutputs(logits, taps, kept)


def frozen_heads(
    model: keras.Model, features: Mapping[str, npt.NDArray[Any]], tap: str | None
) -> tuple[Floats, Floats]:
    """Logits and taps of rows that are in memory, as of ``BackboneOutputs``: those that
    ``run_frozen`` gives, bit by bit, where these are all rows of a split in their order.

    Args:
      model: see there.
      features: the model's inputs by name (``feature_tensors``), ``[N]`` or ``[N, L]``.
      tap: see there.
    """
    rows, forward = len(next(iter(features.values()))), _forward(model, tap)
    logits, taps = _no_heads(model, tap, rows)

    def compute(start: int) -> None:
        part = slice(start, start + _BATCH)
        found = forward({name: tf.constant(values[part]) for name, values in features.items()})
        logits[part] = np.asarray(found[0])
        if tap:
            taps[part] = np.asarray(found[1])

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(compute, range(0, rows, _BATCH)))  # a list, so that an error is raised
    return logits, taps


def _no_heads(model: keras.Model, tap: str | None, rows: int) -> tuple[Floats, Floats]:
    """Where logits and taps are written. Where rows are left out, memory that nobody writes takes
    no place.
    """
    towers = model.output["logits"].shape[1]
    tasks, width = read_tap(model.output, tap).shape[1:] if tap else (towers, 0)
    return np.empty((rows, towers), np.float32), np.zeros((rows, tasks, width), np.float32)


def _parts(
    model: keras.Model, columns: Columns, start: int, chosen: Chosen | None
) -> Iterator[tuple[dict[str, Any], Any]]:
    """The model's inputs of a batch's rows that are to be computed, ``_BATCH`` rows at most in a
    part, and their places in the split.
    """
    features = feature_tensors(columns, model)
    if chosen is None:
        yield features, slice(start, start + len(columns["row/weight"]))
        return
    wanted = np.flatnonzero(chosen(columns, start))
    for first in range(0, len(wanted), _BATCH):
        part = wanted[first : first + _BATCH]
        yield {name: values[part] for name, values in features.items()}, start + part


_traced: WeakKeyDictionary[keras.Model, dict[str | None, Any]] = WeakKeyDictionary()


def _forward(model: keras.Model, tap: str | None) -> Any:
    """The model's inputs -> its logits, and the tap where one is asked for, as one graph for any
    number of rows: what nobody reads is not computed, and nothing goes through Keras at every call.
    Traced once, which takes most of a second.
    """
    made = _traced.setdefault(model, {})
    if tap not in made:
        model_of: Any = ref(model)  # what it holds must not keep the key alive

        def forward(features: dict[str, Any]) -> tuple[Any, ...]:
            heads = model_of()(features, training=False)
            return (heads["logits"], read_tap(heads, tap)) if tap else (heads["logits"],)

        signature = {
            name: tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
            for name, tensor in model.input.items()
        }
        traced = tf.function(forward, input_signature=[signature])
        # not the function itself: TensorFlow warns where several models of a process call theirs
        made[tap] = traced.get_concrete_function()
    return made[tap]
