"""Trains the kernels of several domains together on the stored taps, each until it stops getting
better on its own stopping rows.
"""

from pathlib import Path

import numpy as np

from configs import Experiment
from configs.domains import Domain
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.data.progress_bar import row_bar
from trainer.kernels.kernel import Adapter, KernelWeights
from trainer.kernels.scoring import mean_auc, score_rows
from trainer.training.domain_mixing import training_data
from trainer.training.early_stopping import EarlyStopping
from trainer.training.joint_kernel_trainer import DomainData, JointTrainer, schedule
from trainer.training.judging_users import stopping_rows

_NO_ROWS = np.empty(0, np.int64)


def train_kernels(
    experiment: Experiment,
    adapter: Adapter,
    window: BackboneOutputs,
    validation: BackboneOutputs,
    domains: list[Domain],
    start: KernelWeights | list[KernelWeights] | None = None,
    logs: Path | None = None,
) -> list[KernelWeights]:
    """Trains the kernels of several domains together.

    After every epoch each domain is scored on its own stopping rows (mean of CTR- and CTCVR-AUC);
    it keeps its best kernel, the one it started from included, and leaves training after
    ``finetune.patience`` epochs without a better one. A domain whose stopping rows have one class
    only cannot be scored; it keeps its last kernel.

    Args:
      experiment: settings and seed.
      adapter: what is trained for every domain, e.g. a ``KernelShape``.
      window: rows of the fine-tuning split, with taps.
      validation: rows of the validation split, with taps.
      domains: what is trained; each has rows in the window.
      start: the kernel that all start from, or one for each in the order of ``domains``; a new one
        for each, a function of seed and name, where None. It is the w0 of the KL where
        ``finetune.prior`` is ``parent``; a new kernel's w0 is N(0, I) always. Those that are given
        a start train at ``finetune.child_learning_rate``.
      logs: folder for TensorBoard: every domain's training loss and validation AUC by epoch;
        nothing is logged where None.

    Returns:
      Kernels in the order of ``domains``, without gates (``trainer.training.gate_fitting``).
    """
    settings = experiment.finetune
    if start and settings.child_learning_rate:
        settings = settings.model_copy(update={"learning_rate": settings.child_learning_rate})
        experiment = experiment.model_copy(update={"finetune": settings})
    initial = starting_kernels(experiment, adapter, domains, start)
    data = training_data(experiment, adapter, window, domains, initial)
    trainer = JointTrainer(
        experiment,
        adapter,
        data,
        initial,
        initial if start and settings.prior == "parent" else None,
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
    stopping = [EarlyStopping(settings.patience) for _ in domains]
    best = [trainer.kernel(index) for index in range(len(domains))]
    for index, of_domain in enumerate(stopping):
        of_domain.update(score(index), 0)
    for epoch in range(settings.epochs):
        training = [index for index in range(len(domains)) if not stopping[index].stopped]
        if not training:
            break
        trainer.training = len(training)
        present = [
            domain if index in training else DomainData(domain.name, _NO_ROWS)
            for index, domain in enumerate(data)
        ]
        with row_bar(
            f"kernels {epoch + 1}/{settings.epochs}", sum(len(domain.rows) for domain in present)
        ) as bar:
            loss, seen = np.zeros(len(domains)), np.zeros(len(domains))
            batches = schedule(present, settings.batch_size, experiment.seed, epoch)
            for rows, losses in zip(batches, trainer.train_epoch(window, batches), strict=True):
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
    return best


def starting_kernels(
    experiment: Experiment,
    adapter: Adapter,
    domains: list[Domain],
    start: KernelWeights | list[KernelWeights] | None,
) -> list[KernelWeights]:
    """What ``train_kernels`` begins each domain with; the arguments are as it has them."""
    given = start if isinstance(start, list) else [start] * len(domains)
    return [
        kernel or adapter.initial(experiment.seed, domain.name)
        for kernel, domain in zip(given, domains, strict=True)
    ]
