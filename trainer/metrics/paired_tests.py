"""Tests whether a kernel ranks better than what it is compared with: p-values of the paired
difference of AUC or GAUC, as small as the evidence makes them, where resamples end at one over
their number.

Rows of one user are not independent, so a user is the unit. An AUC is a mean over pairs of a
positive and a negative row, and what one row adds to it is its placement: the share of the other
class, by weight, that stands on the right side of it (DeLong et al. 1988, section 2). The
difference of two scores' placements, summed by user, gives the variance of the paired difference
(Obuchowski 1997, section 2.2). GAUC is a ratio of two sums over users, whose variance follows from
its linearisation. Both are thus a sum over users, and one t test serves them.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from configs.section import Section
from preprocessing.auc import dot, place_positives
from trainer.metrics.task_metrics import Floats, check_rows, has_both_classes, request_auc

_ROUNDING = 1e-9  # a smaller relative error is none at all


class PairedTest(Section):
    """A difference and what it proves.

    Attributes:
      delta: kernel - reference.
      standard_error: of ``delta``, over users; 0 where both sides rank alike.
      better: one-sided p-value of a kernel that is no better; small where it is better.
      worse: one-sided p-value of a kernel that is no worse.
    """

    delta: float
    standard_error: float
    better: float
    worse: float


def paired_test(
    labels: ArrayLike,
    reference_scores: ArrayLike,
    kernel_scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    clusters: ArrayLike,
    metric: Literal["auc", "gauc"] = "auc",
) -> PairedTest | None:
    """Tests the difference of two sets of scores of the same rows.

    Args:
      labels: ``[N]``, 0 or 1; rows of the task's sample space alone.
      reference_scores: ``[N]``, of what would answer otherwise.
      kernel_scores: ``[N]``.
      weights: ``[N]`` non-negative, or ``None`` for 1.
      groups: ``[N]`` integers, the request of each row; read by GAUC alone.
      clusters: ``[N]`` integers, the user of each row.
      metric: ``auc`` (default) or ``gauc``.

    Returns:
      The test; None where a side is undefined, where fewer than two users take part, and where the
      scores differ but by exactly the same for every user, so that nothing is known of the spread.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: lengths differ, a label is neither 0 nor 1, or a weight is negative or not finite.
    """
    y, reference, w = check_rows(labels, reference_scores, weights)
    y, kernel, w = check_rows(labels, kernel_scores, weights)
    users = np.asarray(clusters)
    if users.shape != y.shape:
        raise ValueError(
            f"clusters should be a vector as long as labels. Received: shapes {users.shape},"
            f" {y.shape}"
        )
    if not has_both_classes(y, w):
        return None
    if metric == "auc":
        difference = _placements(y, kernel, w) - _placements(y, reference, w)
        share = np.where(y == 1, w / dot(w, y), w / dot(w, 1.0 - y))
        delta = 0.5 * dot(share, difference)  # each class alone gives it
    else:
        difference = request_auc(y, kernel, w, groups) - request_auc(y, reference, w, groups)
        counted = w * ~np.isnan(difference)
        if not counted.any():
            return None
        share = counted / counted.sum()
        difference = np.nan_to_num(difference)
        delta = dot(share, difference)
    by_user = _sum_by_user(users[share > 0], (share * (difference - delta))[share > 0])
    return _test(delta, by_user)


def _placements(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    """Of each row the share of the other class that it is in the right order with, ``[N]``; a tie
    counts half.
    """
    order, below, through = place_positives(labels, scores)
    negative, positive = np.flatnonzero(labels == 0)[order], np.flatnonzero(labels == 1)
    passed = np.concatenate([[0.0], np.cumsum(weights[negative])])
    size = passed.size
    reached = np.cumsum(
        np.bincount(below, weights[positive], size) + np.bincount(through, weights[positive], size)
    )
    placements = np.empty(labels.size)
    placements[positive] = (passed[below] + passed[through]) / (2.0 * passed[-1])
    placements[negative] = 1.0 - reached[:-1] / reached[-1]
    return placements


def _sum_by_user(users: NDArray[np.generic], values: Floats) -> Floats:
    _, user = np.unique(users, return_inverse=True)
    return np.bincount(user, values).astype(np.float64, copy=False)


def _test(delta: float, by_user: Floats) -> PairedTest | None:
    """A t test of ``delta``, given what each user adds to its error, ``[users]``, of sum 0."""
    users = by_user.size
    if users < 2:
        return None
    error = float(np.sqrt(dot(by_user, by_user) * users / (users - 1)))
    if error <= _ROUNDING * abs(delta):
        nothing = PairedTest(delta=0.0, standard_error=0.0, better=1.0, worse=1.0)
        return None if delta else nothing
    ratio = delta / error
    freedom = users - 1
    return PairedTest(
        delta=delta,
        standard_error=error,
        better=float(stdtr(freedom, -ratio)),
        worse=float(stdtr(freedom, ratio)),
    )
