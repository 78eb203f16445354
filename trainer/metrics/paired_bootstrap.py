"""Is the kernel better than the backbone? The paired difference of every metric, with an interval
from resampled users.

Rows of one user are not independent, so whole users are drawn, not rows (the cluster bootstrap),
and both sides are scored on the same draw, so what they have in common cancels. A resample is
multinomial: as many users as there are, drawn with replacement. The cheaper Poisson(1) counts are
its approximation for streams whose length is unknown; here the users are in memory, a draw costs
next to nothing beside an AUC, and the exact draw keeps small domains honest, where a varying number
of users would widen the interval.

Nothing is sorted twice. A draw only changes weights, so the places of the positives among the
negatives are found once, and an AUC is then one cumulative sum; a request belongs to one user, so
its own AUC never changes and GAUC, like log loss, NE and PCOC, needs no more than sums by user. (A
request whose rows name several users keeps its AUC, and each user carries his rows' share of its
weight.)
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.random_streams import Purpose, random_stream
from trainer.metrics.task_metrics import (
    METRICS,
    UNDEFINED,
    Figure,
    Floats,
    base_entropy,
    check_rows,
    dot,
    place_positives,
    request_auc,
    row_log_loss,
    task_metrics,
    to_json,
    weighted_auc,
)

RESAMPLES = 200
"""Resamples where the caller names none; the default of ``evaluation.bootstrap``."""

_PERCENTILES = (2.5, 97.5)
_MAX_UNDEFINED_SHARE = 0.05
_MIN_PARALLEL_ROWS = 20_000

Interval = list[float] | Literal["undefined"]
"""``[low, high]`` of a difference, at 95%."""


class Comparison(TypedDict):
    """One metric on one slice, as JSON holds it; ``ci95`` belongs to ``delta`` = kernel -
    backbone.
    """

    backbone: Figure
    kernel: Figure
    delta: Figure
    ci95: Interval


def paired_comparison(
    labels: ArrayLike,
    backbone_scores: ArrayLike,
    kernel_scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    clusters: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compares two sets of scores of the same rows.

    The interval spans the 2.5th to the 97.5th percentile of the resampled differences. It is
    undefined where a side is, where there are fewer than two users, and where more than 5% of the
    resamples hold one class alone (in practice: fewer than about three users with a positive),
    because then its ends are not known. The same seed gives the same interval, whatever the number
    of processors.

    Args:
      labels: ``[N]``, 0 or 1; rows of the task's sample space alone.
      backbone_scores: ``[N]`` probabilities.
      kernel_scores: ``[N]`` probabilities.
      weights: ``[N]`` non-negative, or ``None`` for 1.
      groups: ``[N]`` integers, the request of each row.
      clusters: ``[N]`` integers, the user of each row.
      resamples: draws of users; 200 by default.
      seed: of the draws; 0 by default.

    Returns:
      For each of ``METRICS`` the ``Comparison``, ready for JSON.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: lengths differ, a label is neither 0 nor 1, a weight is negative or not finite, or
        ``resamples`` is not positive.
    """
    if resamples < 1:
        raise ValueError(f"resamples should be positive. Received: {resamples}")
    y, backbone, w = check_rows(labels, backbone_scores, weights)
    y, kernel, w = check_rows(labels, kernel_scores, weights)
    users = np.asarray(clusters)
    if users.shape != y.shape:
        raise ValueError(
            f"clusters should be a vector as long as labels. Received: shapes {users.shape},"
            f" {y.shape}"
        )

    before, after = task_metrics(y, backbone, w, groups), task_metrics(y, kernel, w, groups)
    deltas = {name: _difference(after[name], before[name]) for name in METRICS}
    intervals = (
        _intervals(y, backbone, kernel, w, np.asarray(groups), users, resamples, seed)
        if deltas["auc"] is not None
        else {}
    )
    return {
        name: {
            "backbone": to_json(before[name]),
            "kernel": to_json(after[name]),
            "delta": to_json(deltas[name]),
            "ci95": intervals.get(name, UNDEFINED) if deltas[name] is not None else UNDEFINED,
        }
        for name in METRICS
    }


def significantly_better(interval: Interval) -> bool:
    """Whether an AUC difference with this ``ci95`` lies above 0; an undefined interval is no
    evidence.
    """
    return interval != UNDEFINED and float(interval[0]) > 0.0


def _difference(kernel: float | None, backbone: float | None) -> float | None:
    return None if kernel is None or backbone is None else kernel - backbone


def _intervals(
    labels: Floats,
    backbone: Floats,
    kernel: Floats,
    weights: Floats,
    groups: NDArray[np.int64],
    users: NDArray[np.int64],
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """The interval of each metric's difference, on a slice where both sides have an AUC."""
    _, user = np.unique(users, return_inverse=True)
    count = int(user.max()) + 1
    if count < 2:
        return {}
    rows = _Rows(labels, weights, user, count)
    sides = [
        _Side(rows, scores, request_auc(labels, scores, weights, groups))
        for scores in (backbone, kernel)
    ]

    def deltas_of(draws: range) -> list[Floats]:
        buffer = np.zeros(rows.negative.size + 1)
        found = []
        for draw in draws:
            # A generator for each draw: the result does not depend on how draws are shared among
            # threads.
            drawn = random_stream(seed, Purpose.BOOTSTRAP, draw).integers(count, size=count)
            times = np.bincount(drawn, minlength=count).astype(np.float64)
            found.append(sides[1].metrics(times, buffer) - sides[0].metrics(times, buffer))
        return found

    threads = min(os.cpu_count() or 1, 8) if labels.size >= _MIN_PARALLEL_ROWS else 1
    with ThreadPoolExecutor(threads) as pool:
        deltas = np.array(
            [
                row
                for part in pool.map(
                    deltas_of, (range(i, resamples, threads) for i in range(threads))
                )
                for row in part
            ]
        )
    return {name: _percentile_interval(deltas[:, column]) for column, name in enumerate(METRICS)}


def _percentile_interval(deltas: Floats) -> Interval:
    """From the resampled differences ``[resamples]``, NaN where undefined."""
    known = deltas[~np.isnan(deltas)]
    if known.size < (1.0 - _MAX_UNDEFINED_SHARE) * deltas.size:
        return UNDEFINED
    low, high = np.percentile(known, _PERCENTILES)
    return [float(low), float(high)]


class _Rows:
    """What both sides share: the rows by class, and sums by user."""

    def __init__(self, labels: Floats, weights: Floats, user: NDArray[np.intp], count: int) -> None:
        self.labels, self.weights, self.user, self.count = labels, weights, user, count
        self.positive = np.flatnonzero(labels == 1)
        self.negative = np.flatnonzero(labels == 0)
        self.even = bool((weights == 1).all())
        self.positive_user, self.positive_weights = user[self.positive], weights[self.positive]
        self.total = self.sum_by_user(weights)
        self.positives = self.sum_by_user(weights * labels)

    def sum_by_user(self, values: Floats) -> Floats:
        """``[users]`` sums of ``values [N]``."""
        return np.bincount(self.user, values, self.count).astype(np.float64, copy=False)


class _Side:
    """One set of scores, prepared so that a resample costs one pass over the negatives."""

    def __init__(self, rows: _Rows, scores: Floats, by_request: Floats) -> None:
        self.shared = rows
        order, self.below, self.through = place_positives(rows.labels, scores)
        negative = rows.negative[order]
        self.negative_user = rows.user[negative]
        self.negative_weights = None if rows.even else rows.weights[negative]
        counted = rows.weights * ~np.isnan(by_request)
        self.counted = rows.sum_by_user(counted)
        self.ranked = rows.sum_by_user(counted * np.nan_to_num(by_request))
        self.loss = rows.sum_by_user(rows.weights * row_log_loss(rows.labels, scores))
        self.predicted = rows.sum_by_user(rows.weights * scores)

    def metrics(self, times: Floats, buffer: Floats) -> Floats:
        """``METRICS`` where user ``u`` is drawn ``times[u]`` times, ``times [users]``; NaN where
        undefined.
        """
        shared = self.shared
        total, positives = dot(times, shared.total), dot(times, shared.positives)
        negative = times[self.negative_user]
        if self.negative_weights is not None:
            negative *= self.negative_weights
        if not (positives > 0 and negative.any()):
            return np.full(len(METRICS), np.nan)
        positive = times[shared.positive_user] * shared.positive_weights
        counted = dot(times, self.counted)
        loss = dot(times, self.loss) / total
        return np.array(
            [
                weighted_auc(negative, positive, self.below, self.through, buffer),
                dot(times, self.ranked) / counted if counted > 0 else np.nan,
                loss,
                loss / base_entropy(positives, total),
                dot(times, self.predicted) / positives,
            ]
        )
