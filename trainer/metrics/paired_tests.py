"""Tests whether a kernel ranks better than what it is compared with: p-values of the paired
difference of AUC or GAUC, as small as the evidence makes them, where resamples end at one over
their number.

Rows of one user are not independent, so a user is the unit. An AUC is a mean over pairs of a
positive and a negative row, and what one row adds to it is its placement: the share of the other
class, by weight, that it is in the right order with (DeLong et al. 1988, section 2). The difference
of two scores' placements, summed by user, gives the variance of the paired difference (Obuchowski
1997, section 2.2). GAUC is a ratio of two sums over users, whose variance follows from its
linearisation. Either is a mean, so what a user adds to its error stands beside the share of the
mean that he is.

A few users hold most of a small domain's positives, and then both this variance and the normal
distribution are too narrow. A user of share h moves the mean towards himself, which hides h of his
squared error, and the number of squared errors that the variance stands on is no more than
1 / sum(h^2). So squared errors are divided by 1 - h, and the test is a t test with Satterthwaite's
degrees of freedom. For one row a user and a constant reference this is the test of Brunner and
Munzel (2000), and DeLong's variance; dividing by 1 - h and counting by sum(h^2) where users have
several rows is our choice, after Bell and McCaffrey (2002), who do so for regressions.

Users say how far a difference is known for the days that judge. What it is on the days to come
moves by itself, and with a hundred thousand rows a day this is most of the error: ``drift`` adds it
(``benchmarks.reliability --section drift`` measures it).
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.section import Section
from preprocessing.auc import dot, place_positives
from trainer.metrics.task_metrics import Floats, check_rows, has_both_classes, request_auc

_ROUNDING = 1e-9  # a smaller relative error is none at all


class PairedTest(Section):
    """A difference and what it proves.

    Attributes:
      delta: kernel - reference.
      standard_error: of ``delta``, over users and days; 0 where both sides rank alike.
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
    drift: float = 0.0,
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
      drift: standard deviation of the difference between these days and others; 0 by default.

    Returns:
      The test; None where the metric is undefined, where one user has all rows, all positives or
      all negatives, and where the scores differ by exactly the same for every user, so that nothing
      is known of the spread.

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
        gains = _placements(y, kernel, w) - _placements(y, reference, w)
        classes = [w * y, w * (1.0 - y)]  # the mean over either is the difference of the AUCs
    else:
        gains = request_auc(y, kernel, w, groups) - request_auc(y, reference, w, groups)
        classes = [w * ~np.isnan(gains)]
        if not classes[0].any():
            return None
        gains = np.nan_to_num(gains)
    delta = dot(classes[0], gains) / float(classes[0].sum())
    _, user = np.unique(users, return_inverse=True)
    return _test(delta, [_by_user(user, weight, gains - delta) for weight in classes], drift)


def _placements(labels: Floats, scores: Floats, weights: Floats) -> Floats:
    """Of each row the share of the other class that it is in the right order with, ``[N]``; a tie
    counts half.
    """
    order, below, through = place_positives(labels, scores)
    negative, positive = np.flatnonzero(labels == 0)[order], np.flatnonzero(labels == 1)
    passed = np.concatenate([[0.0], np.cumsum(weights[negative])])
    size, won = passed.size, weights[positive]
    reached = np.cumsum(np.bincount(below, won, size) + np.bincount(through, won, size))
    placements = np.empty(labels.size)
    placements[positive] = (passed[below] + passed[through]) / (2.0 * passed[-1])
    placements[negative] = 1.0 - reached[:-1] / reached[-1]
    return placements


class _Mean(NamedTuple):
    """A weighted mean over rows, by user.

    Attributes:
      errors: what each user adds to the mean's error, ``[users]``, of sum 0.
      shares: each user's part of the weight, ``[users]``, of sum 1.
    """

    errors: Floats
    shares: Floats


def _by_user(user: NDArray[np.intp], weight: Floats, errors: Floats) -> _Mean:
    share = weight / weight.sum()
    return _Mean(_sums(user, share * errors), _sums(user, share))


def _sums(user: NDArray[np.intp], values: Floats) -> Floats:
    return np.bincount(user, values).astype(np.float64, copy=False)


def _test(delta: float, means: list[_Mean], drift: float) -> PairedTest | None:
    """A t test of ``delta``, whose error is the sum of the means' errors, and the drift's."""
    from scipy.special import stdtr  # SciPy takes its time: not for who only looks at results

    left = np.prod([1.0 - mean.shares for mean in means], axis=0)
    if left.min() <= _ROUNDING:
        return None
    errors = np.sum([mean.errors for mean in means], axis=0)
    error = float(np.sqrt((errors**2 / left).sum()))
    if error <= _ROUNDING * abs(delta):
        nothing = PairedTest(delta=0.0, standard_error=0.0, better=1.0, worse=1.0)
        return None if delta else nothing
    variances = np.array([(mean.errors**2 / (1.0 - mean.shares)).sum() for mean in means])
    freedoms = np.array([1.0 / dot(mean.shares, mean.shares) - 1.0 for mean in means])
    freedom = variances.sum() ** 2 / (variances**2 / freedoms).sum()
    users, error = error, float(np.hypot(error, drift))
    freedom *= (error / users) ** 4  # Satterthwaite: the drift's variance is taken as known
    ratio = delta / error
    return PairedTest(
        delta=delta,
        standard_error=error,
        better=float(stdtr(freedom, -ratio)),
        worse=float(stdtr(freedom, ratio)),
    )
