"""The objectives, in log space: one tensorflow-recommenders task each for CTR, CVR and CTCVR."""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs
import tf_keras

from configs import Experiment

TASK_NAMES = ("ctr", "cvr", "ctcvr")


def log_probabilities(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """log p of every task from ``[N, 2]`` logits (CTR, CVR): log p_ctcvr = log sigmoid(l_ctr) + log sigmoid(l_cvr)."""
    log_sigmoid = tf.math.log_sigmoid(logits)
    return {"ctr": log_sigmoid[:, 0], "cvr": log_sigmoid[:, 1], "ctcvr": log_sigmoid[:, 0] + log_sigmoid[:, 1]}


def log_space_cross_entropy(y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> tf.Tensor:
    """Weighted mean of -(y log p + (1 - y) log(1 - p)) where ``y_pred`` is log p.

    log(1 - p) is computed from log p without forming p: log(-expm1(log p)) near p = 1, log1p(-p) elsewhere (Maechler 2012).

    Shapes: all ``[N]``. Zero weight in total gives 0.
    """
    log_p = tf.minimum(y_pred, -1e-7)  # p = 1 exactly would give an infinite loss for y = 0
    near_one = log_p > -0.6931472
    safe_near, safe_far = tf.where(near_one, log_p, -0.5), tf.where(near_one, -1.0, log_p)  # keeps gradients of the unused branch finite
    log_q = tf.where(near_one, tf.math.log(-tf.math.expm1(safe_near)), tf.math.log1p(-tf.exp(safe_far)))
    losses = -(y_true * log_p + (1.0 - y_true) * log_q)
    weights = tf.ones_like(losses) if sample_weight is None else sample_weight
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))


class _MeanProbability(tf_keras.metrics.Mean):
    def update_state(self, values: Any, sample_weight: Any = None) -> Any:
        return super().update_state(tf.exp(values), sample_weight)


class Objectives:
    """The weighted sum of the tasks' losses, with the means of labels and predictions of each task."""

    def __init__(self, experiment: Experiment) -> None:
        self._labels, self._weights, self._spaces = {}, {}, {}
        for name in TASK_NAMES:
            task = getattr(experiment.tasks, name)
            self._labels[name], self._weights[name], self._spaces[name] = task.label, task.loss_weight, task.space
        self._tasks = {
            name: tfrs.tasks.Ranking(
                loss=log_space_cross_entropy,
                prediction_metrics=[_MeanProbability(name=f"{name}_prediction_mean")],
                label_metrics=[tf_keras.metrics.Mean(name=f"{name}_label_mean")],
                name=name,
            )
            for name in TASK_NAMES
        }

    def sample_weights(self, columns: dict[str, tf.Tensor], task: str) -> tf.Tensor:
        """Row weights ``[N]`` of a task: the sample weight inside its sample space, 0 outside."""
        weights = columns["row/weight"]
        return weights if self._spaces[task] == "all" else weights * columns[f"label/{self._spaces[task]}"]

    def loss(self, log_p: dict[str, tf.Tensor], columns: dict[str, tf.Tensor], compute_metrics: bool = True) -> tf.Tensor:
        """Scalar loss of a batch of record columns, given log p ``[N]`` of every task."""
        total = tf.constant(0.0)
        for name, task in self._tasks.items():
            task_loss = task(
                labels=columns[f"label/{self._labels[name]}"],
                predictions=log_p[name],
                sample_weight=self.sample_weights(columns, name),
                compute_metrics=compute_metrics,
            )
            if self._weights[name]:
                total += self._weights[name] * task_loss
        return total

    def means(self) -> dict[str, float]:
        """Label and prediction means since the last call, by metric name; resets them."""
        means = {}
        for task in self._tasks.values():
            for metric in task.metrics:
                means[metric.name] = float(metric.result())
                metric.reset_state()
        return means
