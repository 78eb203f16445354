"""Computes the objective in log space: of a whole batch, by one tensorflow-recommenders task for
each target, or of groups of rows.
"""

from typing import Any, NamedTuple

import tensorflow_recommenders as tfrs
import tf_keras

from configs import Experiment
from configs.tasks import Tasks
from configs.tensorflow_import import tf


def log_probabilities(tasks: Tasks, logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """log p of every target from the towers' logits ``[N, T]``: the sum of log sigmoid over the
    target's towers.
    """
    log_sigmoid = tf.math.log_sigmoid(logits)
    found = {}
    for name, target in tasks.targets.items():
        first, *others = target.towers
        log_p = log_sigmoid[:, first]
        for tower in others:
            log_p += log_sigmoid[:, tower]
        found[name] = log_p
    return found


def entire_log_probability(tasks: Tasks, task: str, logits: tf.Tensor) -> tf.Tensor:
    """log p over all rows ``[N]`` of a task and all that it waits on, whether the config names that
    product or not, from the towers' logits ``[N, T]``.
    """
    path = (*tasks.before(task), tasks.towers.index(task))
    log_sigmoid = tf.math.log_sigmoid(logits)
    return tf.add_n([log_sigmoid[:, tower] for tower in path])


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


def mean_cross_entropy(
    y_true: tf.Tensor,
    y_pred: tf.Tensor,
    sample_weight: tf.Tensor,
    groups: tf.Tensor | None = None,
    count: int | tf.Tensor = 1,
) -> tf.Tensor:
    """Weighted mean of ``row_cross_entropy``: of all rows, or of every group of rows by itself.

    Args:
      y_true: labels ``[N]``.
      y_pred: log p ``[N]``. The names are those by which tensorflow-recommenders calls a loss.
      sample_weight: ``[N]``.
      groups: each row's group, int32 ``[N]``; all rows are one where None.
      count: number of groups.

    Returns:
      A scalar, or ``[count]`` where there are groups; 0 where no row has weight.
    """
    losses = row_cross_entropy(y_true, y_pred) * sample_weight
    if groups is None:
        return tf.math.divide_no_nan(tf.reduce_sum(losses), tf.reduce_sum(sample_weight))
    sums = tf.math.unsorted_segment_sum(tf.stack([losses, sample_weight], axis=1), groups, count)
    return tf.math.divide_no_nan(sums[:, 0], sums[:, 1])


class _TargetRows(NamedTuple):
    """A batch as one target sees it, by the names of ``mean_cross_entropy``, and its part in the
    objective.
    """

    labels: tf.Tensor
    log_p: tf.Tensor
    weights: tf.Tensor
    """The sample weight on the rows where the target is defined, 0 elsewhere, ``[N]``."""
    loss_weight: float


def _rows_by_target(
    tasks: Tasks, log_p: dict[str, tf.Tensor], columns: dict[str, tf.Tensor]
) -> dict[str, _TargetRows]:
    """What every target learns from a batch of record columns ``[N]``, given log p of each."""
    found = {}
    for name, target in tasks.targets.items():
        weights = columns["row/weight"]
        if target.given is not None:
            weights = weights * columns[f"label/{target.given}"]  # no change in the caller's array
        found[name] = _TargetRows(
            columns[f"label/{target.label}"], log_p[name], weights, target.loss_weight
        )
    return found


def loss_by_group(
    tasks: Tasks,
    log_p: dict[str, tf.Tensor],
    columns: dict[str, tf.Tensor],
    groups: tf.Tensor,
    count: int | tf.Tensor,
) -> tf.Tensor:
    """``Objectives.loss`` of every group of rows by itself.

    Args:
      tasks: whose targets they are.
      log_p: of every target, ``[N]``.
      columns: record columns, ``[N]``.
      groups: each row's group, int32 ``[N]``.
      count: number of groups.

    Returns:
      ``[count]``; 0 where a group has no weight.
    """
    total = tf.zeros([count])
    for rows in _rows_by_target(tasks, log_p, columns).values():
        if rows.loss_weight:
            total += rows.loss_weight * mean_cross_entropy(
                rows.labels, rows.log_p, rows.weights, groups, count
            )
    return total


class _MeanProbability(tf_keras.metrics.Mean):
    def update_state(self, values: Any, sample_weight: Any = None) -> Any:
        return super().update_state(tf.exp(values), sample_weight)


class Objectives:
    """The weighted sum of the targets' losses, with the means of labels and predictions of
    each.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._tasks = experiment.tasks
        self._rankings = {
            name: tfrs.tasks.Ranking(
                loss=mean_cross_entropy,
                prediction_metrics=[_MeanProbability(name=f"{name}_prediction_mean")],
                label_metrics=[tf_keras.metrics.Mean(name=f"{name}_label_mean")],
                name=name,
            )
            for name in self._tasks.targets
        }

    def loss(
        self,
        log_p: dict[str, tf.Tensor],
        columns: dict[str, tf.Tensor],
        compute_metrics: bool = True,
    ) -> tf.Tensor:
        """Scalar loss of a batch of record columns, given log p ``[N]`` of every target."""
        total = tf.constant(0.0)
        for name, rows in _rows_by_target(self._tasks, log_p, columns).items():
            task_loss = self._rankings[name](
                labels=rows.labels,
                predictions=rows.log_p,
                sample_weight=rows.weights,
                compute_metrics=compute_metrics,
            )
            if rows.loss_weight:
                total += rows.loss_weight * task_loss
        return total

    def means(self) -> dict[str, float]:
        """Label and prediction means since the last call, by metric name; resets them."""
        means = {}
        for ranking in self._rankings.values():
            for metric in ranking.metrics:
                means[metric.name] = float(metric.result())
                metric.reset_state()
        return means
