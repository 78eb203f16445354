"""Asks whether the kernel is better than the backbone, or than another reference: the paired
difference of every metric, with an interval from resampled users.

Rows of one user are not independent, so whole users are drawn, not rows (the cluster bootstrap),
and all sides are scored on the same draw, so what they have in common cancels.
``trainer.metrics.user_draws`` says what a draw is.

Nothing is sorted twice. A draw only changes weights, so the places of the positives among the
negatives are found once, and an AUC is then one cumulative sum; a request belongs to one user, so
its own AUC never changes and GAUC, like log loss, NE and PCOC, needs no more than sums by user. (A
request whose rows name several users keeps its AUC, and each user carries his rows' share of its
weight.)
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preprocessing.auc import dot
from trainer.metrics.results import Comparison, Interval
from trainer.metrics.task_metrics import (
    METRICS,
    UNDEFINED,
    Floats,
    base_entropy,
    check_rows,
    request_auc,
    row_log_loss,
    task_metrics,
    to_json,
)
from trainer.metrics.user_draws import DrawnAuc, UserDraws, draw_users, percentile_interval

RESAMPLES = 200
"""Resamples where the caller names none; the default of ``evaluation.bootstrap``."""

_MIN_PARALLEL_ROWS = 20_000


def paired_comparison(
    labels: ArrayLike,
    backbone_scores: ArrayLike,
    kernel_scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    clusters: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    amounts: ArrayLike | None = None,
) -> dict[str, Comparison]:
    """Compares two sets of scores of the same rows: ``paired_comparisons`` with one reference,
    whose place is called the backbone's.
    """
    (found,) = paired_comparisons(
        labels,
        [backbone_scores],
        kernel_scores,
        weights,
        groups,
        clusters,
        resamples,
        seed,
        amounts=amounts,
    )
    return found


def paired_comparisons(
    labels: ArrayLike,
    references: Sequence[ArrayLike],
    kernel_scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    clusters: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    amounts: ArrayLike | None = None,
) -> list[dict[str, Comparison]]:
    """Compares a kernel's scores with those of every reference, on the same rows and the same
    draws.

    The interval spans the 2.5th to the 97.5th percentile of the resampled differences. It is
    undefined where a side is, where there are fewer than two users, and where more than 5% of the
    resamples hold one class alone (in practice: fewer than about three users with a positive),
    because then its ends are not known. The same seed gives the same interval, whatever the number
    of processors and whatever stands beside a reference.

    Args:
      labels: ``[N]``, 0 or 1; rows of the task's sample space alone.
      references: of each, ``[N]`` probabilities.
      kernel_scores: ``[N]`` probabilities.
      weights: ``[N]`` non-negative, or ``None`` for 1.
      groups: ``[N]`` integers, the request of each row.
      clusters: ``[N]`` integers, the user of each row.
      resamples: draws of users; 200 by default.
      seed: of the draws; 0 by default.
      amounts: ``[N]``, what was to be predicted, where scores are amounts; None for probabilities.

    Returns:
      Of each reference, each of ``METRICS``, or ``AMOUNT_METRICS``, with its comparison, in which
      ``backbone`` is the reference.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: lengths differ, a label is neither 0 nor 1, a weight is negative or not finite, or
        ``resamples`` is not positive.
    """
    if resamples < 1:
        raise ValueError(f"resamples should be positive. Received: {resamples}")
    y, sides, w = _check_sides(labels, [*references, kernel_scores], weights)
    users = _check_clusters(clusters, y)
    values = None if amounts is None else np.asarray(amounts, np.float64)
    *before, after = (task_metrics(y, scores, w, groups, values) for scores in sides)
    deltas = np.empty((len(before), 0, len(METRICS)))
    if after["auc"] is not None and len(names := np.unique(users)) > 1:
        deltas = _drawn_deltas(
            y,
            sides,
            w,
            np.asarray(groups),
            np.searchsorted(names, users),
            values,
            resamples,
            lambda draw: draw_users(len(names), seed, draw).astype(np.float64),
        )
    return [
        {
            name: _comparison(figures[name], after[name], drawn[:, column])
            for column, name in enumerate(after)
        }
        for figures, drawn in zip(before, deltas, strict=True)
    ]


def significantly_better(interval: Interval) -> bool:
    """Whether an AUC difference with this ``ci95`` lies above 0; an undefined interval is no
    evidence.
    """
    return interval != UNDEFINED and float(interval[0]) > 0.0


def paired_deltas(
    labels: ArrayLike,
    references: Sequence[ArrayLike],
    kernel_scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    clusters: ArrayLike,
    draws: UserDraws,
    *,
    amounts: ArrayLike | None = None,
) -> Floats:
    """The difference to every reference in every metric under each draw of a split's users, so that
    a mean over slices is paired too.

    Args:
      labels: as ``paired_comparisons`` has them, and so the next four.
      references: see there.
      kernel_scores: see there.
      weights: see there.
      groups: see there.
      clusters: ``[N]``, the user of each row; all are users of ``draws``.
      draws: of the split that the rows are a slice of.
      amounts: see there.

    Returns:
      ``[references, resamples, METRICS]``, NaN where a draw leaves a metric undefined.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: as ``paired_comparisons`` says.
    """
    y, sides, w = _check_sides(labels, [*references, kernel_scores], weights)
    users, user = np.unique(_check_clusters(clusters, y), return_inverse=True)
    places = draws.places(users)
    return _drawn_deltas(
        y,
        sides,
        w,
        np.asarray(groups),
        user,
        None if amounts is None else np.asarray(amounts, np.float64),
        len(draws.times),
        lambda draw: draws.times[draw][places].astype(np.float64),
    )


def _check_sides(
    labels: ArrayLike, sides: Sequence[ArrayLike], weights: ArrayLike | None
) -> tuple[Floats, list[Floats], Floats]:
    """Labels, each side's scores, and weights, as ``check_rows`` leaves them."""
    checked = [check_rows(labels, scores, weights) for scores in sides]
    return checked[0][0], [scores for _, scores, _ in checked], checked[0][2]


def _comparison(reference: float | None, kernel: float | None, deltas: Floats) -> Comparison:
    """A comparison, with the interval of the differences under draws, of which there may be
    none.
    """
    delta = None if reference is None or kernel is None else kernel - reference
    known = delta is not None and deltas.size
    return Comparison(
        backbone=to_json(reference),
        kernel=to_json(kernel),
        delta=to_json(delta),
        ci95=percentile_interval(deltas) if known else UNDEFINED,
    )


def _check_clusters(clusters: ArrayLike, labels: Floats) -> NDArray[np.int64]:
    users = np.asarray(clusters)
    if users.shape != labels.shape:
        raise ValueError(
            f"clusters should be a vector as long as labels. Received: shapes {users.shape},"
            f" {labels.shape}"
        )
    return users


def _drawn_deltas(
    labels: Floats,
    sides: Sequence[Floats],
    weights: Floats,
    groups: NDArray[np.int64],
    user: NDArray[np.intp],
    amounts: Floats | None,
    resamples: int,
    times_of: Callable[[int], Floats],
) -> Floats:
    """The last side's metrics less those of each other side, under each draw, ``[sides - 1,
    resamples, METRICS]``, NaN where undefined.

    Args:
      labels: ``[N]``.
      sides: scores ``[N]`` of each; equal ones are worked out once.
      weights: ``[N]``.
      groups: ``[N]``.
      user: ``[N]``, from 0 on.
      amounts: ``[N]``, or None.
      resamples: number of draws.
      times_of: draw -> how often each user is in it, ``[users]``.
    """
    rows = _Rows(labels, weights, user, amounts)
    first = [
        next(place for place, other in enumerate(sides) if np.array_equal(other, scores))
        for scores in sides
    ]
    different = {
        place: _Side(rows, sides[place], request_auc(labels, sides[place], weights, groups))
        for place in sorted(set(first))
    }

    def metrics_of(draws: range) -> list[Floats]:
        buffer = np.zeros(different[0].auc.negatives + 1)
        found = []
        for draw in draws:
            times = times_of(draw)
            metrics = {place: side.metrics(times, buffer) for place, side in different.items()}
            found.append(np.stack([metrics[place] for place in first]))
        return found

    threads = min(os.cpu_count() or 1, 8) if labels.size >= _MIN_PARALLEL_ROWS else 1
    drawn = np.empty((len(sides), resamples, len(METRICS)))
    with ThreadPoolExecutor(threads) as pool:
        parts = [range(start, resamples, threads) for start in range(threads)]
        for part, found in zip(parts, pool.map(metrics_of, parts), strict=True):
            if found:
                drawn[:, part] = np.stack(found, axis=1)
    deltas: Floats = drawn[-1] - drawn[:-1]
    return deltas


class _Rows:
    """What all sides share: the rows, and sums by user."""

    def __init__(
        self,
        labels: Floats,
        weights: Floats,
        user: NDArray[np.intp],
        amounts: Floats | None = None,
    ) -> None:
        self.labels, self.weights, self.user, self.amounts = labels, weights, user, amounts
        self.total = self.sum_by_user(weights)
        self.observed = self.sum_by_user(weights * (labels if amounts is None else amounts))

    def sum_by_user(self, values: Floats) -> Floats:
        """``[users]`` sums of ``values [N]``."""
        return np.bincount(self.user, values).astype(np.float64, copy=False)


class _Side:
    """One set of scores, prepared so that a resample costs one pass over the negatives."""

    def __init__(self, rows: _Rows, scores: Floats, by_request: Floats) -> None:
        self.shared = rows
        self.auc = DrawnAuc(rows.labels, scores, rows.weights, rows.user)
        counted = rows.weights * ~np.isnan(by_request)
        self.counted = rows.sum_by_user(counted)
        self.ranked = rows.sum_by_user(counted * np.nan_to_num(by_request))
        if rows.amounts is None:
            self.losses = [rows.sum_by_user(rows.weights * row_log_loss(rows.labels, scores))]
        else:
            errors = scores - rows.amounts
            self.losses = [rows.sum_by_user(rows.weights * of) for of in (abs(errors), errors**2)]
        self.predicted = rows.sum_by_user(rows.weights * scores)

    def metrics(self, times: Floats, buffer: Floats) -> Floats:
        """``METRICS``, or ``AMOUNT_METRICS``, where user ``u`` is drawn ``times[u]`` times, ``times
        [users]``; NaN where undefined.
        """
        auc = self.auc(times, buffer)
        if np.isnan(auc):
            return np.full(len(METRICS), np.nan)
        total, observed = dot(times, self.shared.total), dot(times, self.shared.observed)
        counted = dot(times, self.counted)
        first, *second = (dot(times, loss) / total for loss in self.losses)
        return np.array(
            [
                auc,
                dot(times, self.ranked) / counted if counted > 0 else np.nan,
                first,
                np.sqrt(second[0]) if second else first / base_entropy(observed, total),
                dot(times, self.predicted) / observed,
            ]
        )
