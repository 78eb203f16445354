"""Trains the kernels of several domains together on the stored taps, each until it stops getting
better on its own stopping rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs import Experiment
from configs.domains import Domain
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.input_scale import InputScale
from trainer.data.progress_bar import row_bar
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights, Rows
from trainer.kernels.scoring import mean_auc, score_rows
from trainer.target_rows import REQUEST
from trainer.training.batch_schedule import DomainData, Timetable, schedule
from trainer.training.domain_mixing import training_data
from trainer.training.early_stopping import EarlyStopping
from trainer.training.joint_kernel_trainer import JointTrainer
from trainer.training.judging_users import stopping_rows

_NO_ROWS = np.empty(0, np.int64)
_SCALING_ROWS = 32_768


def scaling_rows(window: int) -> Rows:
    """Indices of the rows that say how the inputs of a window of so many rows are standardised:
    evenly spaced, 32,768 at most.
    """
    return np.linspace(0, window - 1, min(window, _SCALING_ROWS)).astype(np.int64)


def scale_of(window: BackboneOutputs) -> InputScale:
    """How the inputs of kernels that train on a window are standardised."""
    shown = window.inputs(scaling_rows(len(window.logits)))
    return InputScale.of(np.moveaxis(shown, 0, 1))


@dataclass(frozen=True)
class TrainedKernel:
    """What training has made of a domain's kernel.

    Attributes:
      weights: of its best epoch, without a gate.
      moved: whether that is another kernel than the one that it started from.
    """

    weights: KernelWeights
    moved: bool


def train_kernels(
    experiment: Experiment,
    adapter: Adapter,
    window: BackboneOutputs,
    validation: BackboneOutputs,
    domains: list[Domain],
    start: KernelWeights | list[KernelWeights] | None = None,
    logs: Path | None = None,
    level: Mapping[str, int] | None = None,
) -> list[TrainedKernel]:
    """Trains the kernels of several domains together.

    After every epoch each domain is scored on its own stopping rows (mean AUC of the targets over
    all rows); it keeps its best kernel, the one it started from included. At a constant rate it
    leaves training after ``finetune.patience`` epochs without a better one. A domain whose stopping
    rows have one class only cannot be scored; it keeps its last kernel.

    A kernel trains on inputs that are standardised over the whole window
    (``trainer.backbone.input_scale``), where N(0, 1) is what its weights start from and are held
    to; what is given and returned reads them as they are.

    Args:
      experiment: settings and seed.
      adapter: what is trained for every domain, e.g. a ``KernelShape``.
      window: rows of the fine-tuning split, with taps.
      validation: rows of the validation split, with taps.
      domains: what is trained; each has rows in the window.
      start: the kernel that all start from, or one for each in the order of ``domains``; a new one
        for each, a function of seed and name, where None. It is the w0 of the KL where
        ``finetune.prior`` is ``parent``; a new kernel's w0 is N(0, I) always. Those that are given
        a start train for ``finetune.child_epochs`` at ``finetune.child_learning_rate``.
      logs: folder for TensorBoard: every domain's training loss and validation AUC by epoch;
        nothing is logged where None.
      level: domain -> rows that it trains on, of all domains of the level in the config's order,
        whether they are trained here or elsewhere: their steps and rates follow from it. These
        domains alone where None.

    Returns:
      In the order of ``domains``.
    """
    settings = experiment.finetune.of_children if start else experiment.finetune
    experiment = experiment.model_copy(update={"finetune": settings})
    given = start if isinstance(start, list) else [start] * len(domains)
    scaling = _Scaling.of(adapter, window)
    window, validation = scaling.rows(window), scaling.rows(validation)
    initial = [
        scaling.standardised(kernel) if kernel else adapter.initial(experiment.seed, domain.name)
        for kernel, domain in zip(given, domains, strict=True)
    ]
    data = training_data(experiment, adapter, window, domains, initial)
    if experiment.tasks.learned_in_requests:
        requests = window.columns[REQUEST].astype(np.int64)
        data = [replace(of, requests=requests[of.rows]) for of in data]
    sizes = {of.name: len(of.rows) for of in data} if level is None else level
    table = Timetable.of(sizes, settings.batch_size)
    trainer = JointTrainer(
        experiment,
        adapter,
        data,
        initial,
        initial if start and settings.prior == "parent" else None,
        table,
    )
    held_out = [stopping_rows(validation, domain) for domain in domains]

    def score(index: int) -> float | None:
        rows = held_out[index]
        return mean_auc(
            experiment,
            validation,
            rows,
            score_rows(adapter, trainer.kernel(index), validation, rows),
        )

    writer = tf.summary.create_file_writer(str(logs)) if logs else tf.summary.create_noop_writer()
    patience = settings.patience if settings.rates == "constant" else None
    stopping = [EarlyStopping(patience) for _ in domains]
    best = list(initial)
    for index, of_domain in enumerate(stopping):
        of_domain.update(score(index), 0)
    for epoch in range(settings.epochs):
        training = [index for index in range(len(domains)) if not stopping[index].stopped]
        if not training:
            break
        present = [
            domain if index in training else DomainData(domain.name, _NO_ROWS)
            for index, domain in enumerate(data)
        ]
        with row_bar(
            f"kernels {epoch + 1}/{settings.epochs}", sum(len(domain.rows) for domain in present)
        ) as bar:
            loss, seen = np.zeros(len(domains)), np.zeros(len(domains))
            batches = schedule(present, settings.batch_size, experiment.seed, epoch, table)
            learned = trainer.train_epoch(window, batches, epoch)
            for rows, losses in zip(batches, learned, strict=True):
                counts = np.array([len(part) for part in rows])
                loss, seen = loss + counts * losses, seen + counts
                bar.update(int(counts.sum()))
        for index in training:
            value = score(index)
            with writer.as_default(step=epoch + 1):
                tf.summary.scalar(f"{domains[index].name}/loss", loss[index] / seen[index])
                tf.summary.scalar(
                    f"{domains[index].name}/validation_auc", -np.inf if value is None else value
                )
            if stopping[index].update(value, epoch + 1):
                best[index] = trainer.kernel(index)
    return [
        TrainedKernel(
            scaling.raw(kernel) if of_domain.when or not begun else begun, of_domain.when > 0
        )
        for kernel, begun, of_domain in zip(best, given, stopping, strict=True)
    ]


@dataclass(frozen=True)
class _Scaling:
    """How kernels see their inputs while they train.

    Attributes:
      shape: of the kernels.
      scale: None where something else than kernels is trained, which reads a tap as it is.
    """

    shape: KernelShape | None
    scale: InputScale | None

    @classmethod
    def of(cls, adapter: Adapter, window: BackboneOutputs) -> "_Scaling":
        if not isinstance(adapter, KernelShape):
            return cls(None, None)
        return cls(adapter, scale_of(window))

    def rows(self, outputs: BackboneOutputs) -> BackboneOutputs:
        return replace(outputs, scale=self.scale)

    def standardised(self, kernel: KernelWeights) -> KernelWeights:
        if self.shape is None or self.scale is None:
            return kernel
        return self.shape.standardised(kernel, self.scale)

    def raw(self, kernel: KernelWeights) -> KernelWeights:
        if self.shape is None or self.scale is None:
            return kernel
        return self.shape.raw(kernel, self.scale)
