"""Computes the objective in log space: of a whole batch, by one tensorflow-recommenders task for
each target, or of groups of rows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow_recommenders as tfrs
import tf_keras

from configs import Experiment
from configs.prediction.tasks import Target, Tasks
from configs.tensorflow_import import tf
from trainer.distribution.batch_share import batch_share
from trainer.distribution.workers import ALONE, Workers
from trainer.target_rows import REQUEST, defining_columns


def learned_scores(tasks: Tasks, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """What losses hold against the labels, ``[N]``, of every target, from the towers' logits ``[N,
    T]``: log p of a probability, the sum of log sigmoid over the target's towers; of an amount the
    logit itself.
    """
    log_sigmoid = tf.math.log_sigmoid(logits)
    found = {}
    for name, target in tasks.targets.items():
        first, *others = target.towers
        if target.amount:
            found[name] = logits[:, first]
            continue
        log_p = log_sigmoid[:, first]
        for tower in others:
            log_p += log_sigmoid[:, tower]
        found[name] = log_p
    return found


def predicted(target: Target, score: tf.Tensor) -> tf.Tensor:
    """A target's probability, or its amount in the label's unit, from its ``learned_scores``."""
    if target.amount is None:
        return tf.exp(score)
    value = {"log": tf.math.expm1, "raw": tf.identity, "odds": tf.exp}[target.amount.form](score)
    return tf.maximum(value, 0.0) * target.amount.typical


def predictions(tasks: Tasks, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """``predicted`` of every target, ``[N]``, from the towers' logits ``[N, T]``."""
    scores = learned_scores(tasks, logits)
    return {name: predicted(tasks.targets[name], score) for name, score in scores.items()}


def row_loss(target: Target, labels: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
    """A target's loss of every row, ``[N]``, from its labels and its ``learned_scores``.

    Of a probability it is the cross-entropy, in which positives may have a weight.

    Of an amount it is the squared difference to what the tower is to predict, or Huber's with a
    width of 1, both halved; or, of odds, that of logistic regression on a row that counts once as
    a negative and as many times as a positive as its amount has typical ones. Then the odds are the
    mean amount, exactly; the paper counts a row with an amount as a positive alone, which is
    nearly the same where such rows are few (our choice).
    """
    if target.amount is None and target.positive_weight != 1.0:
        return _weighted_cross_entropy(labels, score, target.positive_weight)
    if target.amount is None:
        return row_cross_entropy(labels, score)
    value = labels / target.amount.typical
    if target.amount.form == "odds":
        return value * tf.nn.softplus(-score) + tf.nn.softplus(score)
    difference = score - (tf.math.log1p(value) if target.amount.form == "log" else value)
    squared = 0.5 * tf.square(difference)
    if target.amount.squared:
        return squared
    size = tf.abs(difference)
    return tf.where(size <= 1.0, squared, size - 0.5)


def entire_row_loss(
    tasks: Tasks, task: str, labels: tf.Tensor, logits: tf.Tensor
) -> npt.NDArray[np.float32]:
    """A task's loss over all rows, ``[N]``: of the product with all that it waits on, whether the
    config names that product or not; of an amount its own.

    Args:
      tasks: all.
      task: a tower's name.
      labels: of the task, ``[N]``.
      logits: of the towers, ``[N, T]``.
    """
    target, place = tasks.targets[task], tasks.towers.index(task)
    if target.amount:
        loss = row_loss(target, labels, logits[:, place])
    else:
        log_sigmoid = tf.math.log_sigmoid(logits)
        path = (*tasks.before(task), place)
        loss = row_cross_entropy(labels, tf.add_n([log_sigmoid[:, tower] for tower in path]))
    return np.asarray(loss)


def row_cross_entropy(labels: tf.Tensor, log_p: tf.Tensor) -> tf.Tensor:
    """-(y log p + (1 - y) log(1 - p)) of every row, ``[N]``, from log p.

    log(1 - p) is computed without forming p: log(-expm1(log p)) near p = 1, log1p(-p) elsewhere
    (Maechler 2012).
    """
    log_p = tf.minimum(log_p, -1e-30)  # p = 1 exactly would give an infinite loss for y = 0
    near_one = log_p > -0.6931472
    safe_near, safe_far = (
        tf.where(near_one, log_p, -0.5),
        tf.where(near_one, -1.0, log_p),
    )  # keeps gradients of the unused branch finite
    log_q = tf.where(
        near_one, tf.math.log(-tf.math.expm1(safe_near)), tf.math.log1p(-tf.exp(safe_far))
    )
    return -(labels * log_p + (1.0 - labels) * log_q)


def _weighted_cross_entropy(labels: tf.Tensor, log_p: tf.Tensor, weight: float) -> tf.Tensor:
    """Cross-entropy of every row, ``[N]``, in which positives count ``weight`` times and whose
    least is still at the true p.

    With z = log p - log(1 - p) it is w y softplus(-z') + (1 - y) softplus(z') at z' = z + log w.
    Where a share r of the rows is positive, the derivative w r (p' - 1) + (1 - r) p' of its mean is
    0 at the odds p' / (1 - p') = w r / (1 - r), so z' is logit(r) + log w, and z is logit(r).
    Without the shift z itself would be too large by log w. The shift is the prior correction of
    King and Zeng 2001, put into the loss as in logit adjustment (Menon et al. 2021); our choice is
    to have it undo the weight.
    """
    log_odds = log_p + row_cross_entropy(tf.zeros_like(log_p), log_p)
    shifted = log_odds + math.log(weight)
    return weight * labels * tf.nn.softplus(-shifted) + (1.0 - labels) * tf.nn.softplus(shifted)


def weighted_mean(
    losses: tf.Tensor,
    weights: tf.Tensor,
    groups: tf.Tensor | None = None,
    count: int | tf.Tensor = 1,
) -> tf.Tensor:
    """Weighted mean of losses: of all rows, or of every group of rows by itself.

    Where several workers share a batch, the mean of all rows is over the batch: what comes back is
    what the rows here add to it.

    Args:
      losses: ``[N]``.
      weights: ``[N]``.
      groups: each row's group, int32 ``[N]``; all rows are one where None.
      count: number of groups.

    Returns:
      A scalar, or ``[count]`` where there are groups; 0 where no row has weight.
    """
    losses *= weights
    if groups is None:
        (total,) = batch_share().total(tf.reduce_sum(weights))
        return tf.math.divide_no_nan(tf.reduce_sum(losses), total)
    sums = tf.math.unsorted_segment_sum(tf.stack([losses, weights], axis=1), groups, count)
    return tf.math.divide_no_nan(sums[:, 0], sums[:, 1])


def list_wise_loss(
    labels: tf.Tensor,
    log_p: tf.Tensor,
    weights: tf.Tensor,
    groups: tf.Tensor,
    count: int | tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Minus the log of each row's part in the sum of its group's probabilities, and what it counts
    for: a positive its sample weight, if its group has a negative, too; other rows nothing
    (``configs.prediction.tasks.RankingLoss``).

    Args:
      labels: 0 or 1, ``[N]``.
      log_p: ``[N]``.
      weights: ``[N]``; rows of weight 0 are in no group.
      groups: each row's group, such as its request, int32 ``[N]``.
      count: number of groups.

    Returns:
      Losses ``[N]``, finite, and weights ``[N]``.
    """
    inside = tf.cast(weights > 0.0, tf.float32)
    shown = tf.where(weights > 0.0, log_p, log_p.dtype.min)
    most = tf.gather(tf.math.unsorted_segment_max(shown, groups, count), groups)
    shifted = tf.where(weights > 0.0, log_p - tf.stop_gradient(most), 0.0)
    sums = tf.math.unsorted_segment_sum(
        tf.stack([inside * tf.exp(shifted), inside * (1.0 - labels)], axis=1), groups, count
    )
    total, negatives = tf.unstack(tf.gather(sums, groups), axis=1)
    losses = tf.math.log(tf.where(total > 0.0, total, 1.0)) - shifted
    return losses, weights * labels * tf.cast(negatives > 0.0, tf.float32)


class _TargetRows(NamedTuple):
    """A batch as one target sees it."""

    target: Target
    labels: tf.Tensor
    score: tf.Tensor
    """Of ``learned_scores``."""
    weights: tf.Tensor
    """The sample weight on the rows where the target is defined, 0 elsewhere, ``[N]``."""


def _rows_by_target(
    tasks: Tasks, scores: dict[str, tf.Tensor], columns: dict[str, tf.Tensor]
) -> dict[str, _TargetRows]:
    """What every target learns from a batch of record columns ``[N]``, given the
    ``learned_scores``.
    """
    found = {}
    for name, target in tasks.targets.items():
        weights = columns["row/weight"]
        for column in defining_columns(target):
            weights = weights * columns[column]  # no change in the caller's array
        found[name] = _TargetRows(target, columns[f"label/{target.label}"], scores[name], weights)
    return found


def loss_by_group(
    tasks: Tasks,
    scores: dict[str, tf.Tensor],
    columns: dict[str, tf.Tensor],
    groups: tf.Tensor,
    count: int | tf.Tensor,
) -> tf.Tensor:
    """``Objectives.loss`` of every group of rows by itself.

    Args:
      tasks: whose targets they are.
      scores: of every target, ``[N]`` (``learned_scores``).
      columns: record columns (``loss_columns``), ``[N]``.
      groups: each row's group, int32 ``[N]``.
      count: number of groups.

    Returns:
      ``[count]``; 0 where a group has no weight.
    """
    total = tf.zeros([count])
    requests = _requests(tasks, columns, groups)
    for rows in _rows_by_target(tasks, scores, columns).values():
        if weight := rows.target.loss_weight:
            losses = row_loss(rows.target, rows.labels, rows.score)
            mean = weighted_mean(losses, rows.weights, groups, count)
            total += weight * _with_ranking(rows, mean, requests, groups, count)
    return total


def _requests(
    tasks: Tasks, columns: dict[str, tf.Tensor], groups: tf.Tensor | None = None
) -> tf.Tensor | None:
    """Each row's request, numbered from 0, int32 ``[N]``; of two groups' rows never the same. None
    where no loss reads it.
    """
    if not tasks.learned_in_requests:
        return None
    _, requests = tf.unique(columns[REQUEST])
    if groups is not None:
        wide = tf.cast(groups, tf.int64) * tf.size(requests, tf.int64)
        _, requests = tf.unique(wide + tf.cast(requests, tf.int64))
    return requests


def _with_ranking(
    rows: _TargetRows,
    row_mean: tf.Tensor,
    requests: tf.Tensor | None,
    groups: tf.Tensor | None = None,
    count: int | tf.Tensor = 1,
) -> tf.Tensor:
    """A target's loss: the mean over rows, and the list-wise loss with its share of it. Arguments
    as of ``weighted_mean``.
    """
    share = rows.target.ranking_share
    if requests is None or not share:
        return row_mean
    losses, weights = list_wise_loss(
        rows.labels, rows.score, rows.weights, requests, tf.size(requests)
    )
    return (1.0 - share) * row_mean + share * weighted_mean(losses, weights, groups, count)


class _MeanPrediction(tf_keras.metrics.Mean):
    def __init__(self, target: Target, name: str) -> None:
        super().__init__(name=name)
        self._target = target

    def update_state(self, values: Any, sample_weight: Any = None) -> Any:
        return super().update_state(predicted(self._target, values), sample_weight)


def _mean_loss(target: Target) -> Callable[..., tf.Tensor]:
    """The loss of a target by the names with which tensorflow-recommenders calls one."""

    def mean(y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor) -> tf.Tensor:
        return weighted_mean(row_loss(target, y_true, y_pred), sample_weight)

    return mean


class Objectives:
    """The weighted sum of the targets' losses, with the means of labels and predictions of
    each.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._tasks = experiment.tasks
        self._rankings = {
            name: tfrs.tasks.Ranking(
                loss=_mean_loss(target),
                prediction_metrics=[_MeanPrediction(target, f"{name}_prediction_mean")],
                label_metrics=[tf_keras.metrics.Mean(name=f"{name}_label_mean")],
                name=name,
            )
            for name, target in self._tasks.targets.items()
        }

    def loss(
        self,
        scores: dict[str, tf.Tensor],
        columns: dict[str, tf.Tensor],
        compute_metrics: bool = True,
    ) -> tf.Tensor:
        """Scalar loss of a batch of record columns, given every target's ``learned_scores``
        ``[N]``.
        """
        total = tf.constant(0.0)
        requests = _requests(self._tasks, columns)
        for name, rows in _rows_by_target(self._tasks, scores, columns).items():
            task_loss = self._rankings[name](
                labels=rows.labels,
                predictions=rows.score,
                sample_weight=rows.weights,
                compute_metrics=compute_metrics,
            )
            if rows.target.loss_weight:
                total += rows.target.loss_weight * _with_ranking(rows, task_loss, requests)
        return total

    def means(self, workers: Workers = ALONE) -> dict[str, float]:
        """Label and prediction means since the last call, by metric name, over the rows of all
        workers; resets them.
        """
        metrics = [metric for ranking in self._rankings.values() for metric in ranking.metrics]
        sums = [tf.stack([metric.total, metric.count]) for metric in metrics]
        (sums,) = workers.sum([tf.stack(sums)])
        for metric in metrics:
            metric.reset_state()
        found = tf.math.divide_no_nan(sums[:, 0], sums[:, 1]).numpy().tolist()
        return dict(zip((metric.name for metric in metrics), found, strict=True))
