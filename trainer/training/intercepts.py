"""Sets the intercepts with which a backbone is served, so that its mean prediction is the mean
label of the rows that it was trained on.

Training leaves the served logits off by a constant. The position tower's logit counts in training
and is left out at serving; and the heads' own intercepts are what the last steps made of them. The
mean of the position logit would not do: a probability is no linear function of its logit, so the
mean prediction comes out too low (by 3 to 5% on the quickstart, by 30% where clicks depend more on
positions), and the error of later towers stays. So all intercepts are set from the labels, as those
of a logistic regression with everything else given would be (our choice); of the position logit
this leaves what is right on average.
"""

from collections.abc import Callable
from math import ceil

import keras
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from configs import Experiment
from configs.prediction.tasks import Target
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors
from trainer.backbone.model import intercepts_of
from trainer.data.dataset import Dataset
from trainer.data.progress_bar import with_progress
from trainer.distribution.agreement import hand_out
from trainer.distribution.workers import ALONE, Workers
from trainer.losses import predicted
from trainer.metrics.task_metrics import Floats
from trainer.target_rows import is_known, loss_columns

A_FEW_ROWS = 1 << 18
"""Rows that a validation's intercepts are fitted on: a small part of an epoch's time."""

MOST_ROWS = 1 << 22
"""Rows that the intercepts of a finished backbone are fitted on: more would not change them by
what can be measured.
"""

_BATCH = 16_384
_FURTHEST = 30.0


def set_intercepts(
    inference: keras.Model,
    dataset: Dataset,
    experiment: Experiment,
    rows: int = MOST_ROWS,
    workers: Workers = ALONE,
) -> tuple[float, ...]:
    """Sets a backbone's intercepts from rows of ``pretrain.split``.

    They are a function of the other weights and of the rows, not of the intercepts before.

    Args:
      inference: of ``trainer.backbone.model.inference_model``; changed in place, unless it is older
        than intercepts.
      dataset: where the split is.
      experiment: names the split and the labels.
      rows: how many are read at most, about: every so many-th block of the split.
      workers: that have the backbone; rank 0 sets them for all.

    Returns:
      The intercept of each tower, which is added to its logit.
    """
    towers = len(experiment.tasks.towers)
    if (intercepts := intercepts_of(inference)) is None:
        return (0.0,) * towers
    if not workers.rank:
        intercepts.assign(np.zeros(towers, np.float32))
        intercepts.assign(_found(inference, dataset, experiment, rows))
    hand_out(workers, [intercepts.value])
    return tuple(intercepts.numpy().tolist())


def _found(
    inference: keras.Model, dataset: Dataset, experiment: Experiment, rows: int
) -> tuple[float, ...]:
    """``fit_intercepts`` on rows under a backbone whose own are 0."""
    split = experiment.pretrain.split
    every = ceil(dataset.rows(split) / rows)
    batches = dataset.batches(split, _BATCH, every)
    logits, kept = [], []
    for columns in with_progress("intercepts", dataset.rows(split) // every, batches):
        heads = inference.predict_on_batch(feature_tensors(columns, inference))
        logits.append(heads["logits"])
        kept.append({name: columns[name] for name in loss_columns(experiment.tasks)})
    return fit_intercepts(
        BackboneOutputs(
            np.concatenate(logits),
            np.empty((0, len(experiment.tasks.towers), 0), np.float32),
            {name: np.concatenate([part[name] for part in kept]) for name in kept[0]},
        ),
        experiment,
    )


def fit_intercepts(outputs: BackboneOutputs, experiment: Experiment) -> tuple[float, ...]:
    """What to add to each tower's logit so that the mean over all rows, by weight, of its
    probability times those of the towers it waits on is the mean label; of an amount, so that the
    mean over the rows where it is defined is that of the label.

    An intercept is 0 where there is none that does this (rows of one class alone, or the label is 1
    wherever the earlier one is).

    Args:
      outputs: rows with their logits and labels; taps are not read.
      experiment: names the labels.
    """
    logits, weights = outputs.logits.astype(np.float64), outputs.weights.astype(np.float64)
    tasks, found = experiment.tasks, list[float]()
    for place, name in enumerate(tasks.towers):
        target, labels = tasks.targets[name], outputs.labels(tasks.root[name].label)
        known = weights * is_known(target, outputs.columns, len(weights))
        reached, mean = known, expit
        if target.amount:
            if target.given is not None:
                reached = known * outputs.labels(target.given)
            total, mean = float(reached @ labels), _amounts(target)
        else:
            for earlier in tasks.before(name):
                reached = reached * expit(logits[:, earlier] + found[earlier])
            total = float(known @ labels)
        found.append(_matching(logits[:, place], reached, total, mean))
    return tuple(found)


def _amounts(target: Target) -> Callable[[Floats], Floats]:
    return lambda logits: predicted(target, tf.constant(logits)).numpy()


def _matching(
    logits: Floats, weights: Floats, total: float, mean: Callable[[Floats], Floats]
) -> float:
    """The constant c with ``sum_n weights_n mean(logits_n + c) = total``; 0 where there is none."""

    def excess(constant: float) -> float:
        return float(weights @ mean(logits + constant) - total)

    if not excess(-_FURTHEST) < 0.0 < excess(_FURTHEST):
        return 0.0
    return float(brentq(excess, -_FURTHEST, _FURTHEST))
