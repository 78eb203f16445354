"""Fits the gate of a trained kernel: its table of users, and alpha for every task and bucket."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.tensorflow_import import tf
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import transform_outputs
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.gate import BUCKETS, GATE, SUPPORT, bucket_of
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights, Rows
from trainer.kernels.scoring import score_rows
from trainer.losses import entire_row_loss
from trainer.target_rows import is_known

_GRID = np.linspace(1.0, 0.0, 21, dtype=np.float32)  # from full trust down, in steps of 0.05
_FEWEST_USERS = 10  # our choice: an estimate of fewer users' spread says nothing, so alpha stays 1


def with_support(shape: KernelShape, experiment: Experiment, fitted: Fitted) -> KernelShape:
    """The shape with the table that ``kernel.gate`` asks for; the shape as it is where the gate
    is ``none``.
    """
    user = experiment.user_feature
    if experiment.kernel.gate == "none" or user is None:
        return shape
    return replace(shape, user=user, support=transform_outputs(experiment, fitted)[user].size)


def with_gate(
    experiment: Experiment,
    adapter: Adapter,
    kernel: KernelWeights,
    window: BackboneOutputs,
    validation: BackboneOutputs,
    stopping: Rows,
) -> KernelWeights:
    """A trained kernel with its gate; the kernel as it is where the adapter has none.

    Rows of a user are counted in the whole window, not in the domain alone: a kernel starts from
    that of all traffic, so that is what it has seen (our choice). A user is counted by the id that
    serving will have.

    Args:
      experiment: settings.
      adapter: the kernel's shape (``with_support``).
      kernel: trained, without a gate.
      window: the rows of the fine-tuning split, with the user feature's ids.
      validation: the rows of the validation split, with the same.
      stopping: the domain's rows of ``validation`` that decide when it stops; alpha is fitted on
        them, so that the other users' rows judge the kernel as it will be served.
    """
    if not isinstance(adapter, KernelShape) or not adapter.support:
        return kernel
    support = support_table(experiment, adapter, window.columns[f"feature/{adapter.user}"])
    buckets = support[validation.columns[f"feature/{adapter.user}"][stopping]]
    gate = fit_gate(
        experiment, validation, stopping, buckets, score_rows(adapter, kernel, validation, stopping)
    )
    return {**kernel, GATE: gate, SUPPORT: support}


def support_table(
    experiment: Experiment, shape: KernelShape, ids: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Bucket of every user id, uint8 ``[shape.support]``, from the ids of the window's rows
    ``[N]``.

    Ids that several users share (missing, out of the vocabulary) say nothing about any of them and
    are bucket 0. Hashed ids are counted as if each were one user.
    """
    counts = np.bincount(ids, minlength=shape.support)
    counts[: experiment.features[shape.user].shared_ids] = 0
    return bucket_of(counts)


def fit_gate(
    experiment: Experiment,
    data: BackboneOutputs,
    rows: Rows,
    buckets: npt.NDArray[Any],
    kernel_logits: Floats,
) -> Floats:
    """alpha by task and bucket, float32 ``[T, 4]``.

    The alpha of a task over all rows is fitted to its log loss; then, given those, that of a task
    that waits on others to the log loss of the product over all rows. In each bucket the largest
    alpha of the grid 0, 0.05, .., 1 is taken whose loss is within one standard error of the
    smallest; the error is that of the paired difference, summed by user, as a user's rows go
    together. So alpha leaves 1 only where the data insist (our choice; the rule is that of Breiman
    et al. 1984, section 3.4.3). It is 1 in a bucket of fewer than ten users, or without weight.

    Args:
      experiment: names the labels.
      data: where the rows are.
      rows: indices ``[N]``.
      buckets: of each row's user, ``[N]``.
      kernel_logits: ungated, ``[N, T]``.
    """
    backbone, weights = data.logits[rows], data.weights[rows]
    users = data.columns["row/user"][rows]
    tasks = experiment.tasks
    gate = np.ones((len(tasks.towers), BUCKETS), np.float32)
    row_alpha = np.ones((len(rows), len(tasks.towers)), np.float32)
    for task, name in enumerate(tasks.towers):
        labels = data.labels(tasks.root[name].label)[rows]
        known = is_known(tasks.targets[name], data.columns, len(data.logits))[rows]
        for bucket in range(BUCKETS):
            inside = np.flatnonzero((buckets == bucket) & known)
            _, user = np.unique(users[inside], return_inverse=True)
            if user.max(initial=-1) + 1 < _FEWEST_USERS or not weights[inside].any():
                continue
            losses = []
            for alpha in _GRID:
                row_alpha[inside, task] = alpha
                logits = backbone[inside] + row_alpha[inside] * (
                    kernel_logits[inside] - backbone[inside]
                )
                losses.append(
                    entire_row_loss(tasks, name, tf.constant(labels[inside]), tf.constant(logits))
                )
            gate[task, bucket] = row_alpha[inside, task] = _GRID[
                one_standard_error(np.stack(losses), weights[inside], user)
            ]
    return gate


def one_standard_error(
    losses: npt.NDArray[Any], weights: npt.NDArray[Any], users: npt.NDArray[Any]
) -> int:
    """The first candidate whose mean loss is within one standard error of the smallest.

    Args:
      losses: ``[A, N]``, of A candidates on the same rows.
      weights: of the rows, ``[N]``.
      users: each row's user, from 0 on, ``[N]``; at least two.

    Returns:
      Its index, from 0 to A - 1.
    """
    losses, weights = losses.astype(np.float64), weights.astype(np.float64)
    total = weights.sum()
    differences = losses - losses[np.argmin(losses @ weights)]
    means = differences @ weights / total
    count = int(users.max()) + 1
    spread = np.stack(
        [
            np.bincount(users, weights * (row - mean), count)
            for row, mean in zip(differences, means, strict=True)
        ]
    )
    errors = np.sqrt((spread**2).sum(axis=1) * count / (count - 1)) / total
    return int(np.flatnonzero(means <= errors)[0])
