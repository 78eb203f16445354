"""Shows whether predictions can be taken at their word: what was predicted beside what happened,
and whether amounts are in the right order.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from trainer.metrics.results import Calibration, CalibrationBin
from trainer.metrics.task_metrics import Floats, to_json

BINS = 10


def calibration(
    outcomes: ArrayLike, predictions: ArrayLike, weights: ArrayLike, positive: ArrayLike
) -> Calibration:
    """The reliability curve of predictions and their expected calibration error (Naeini et al.
    2015), over bins of equal weight instead of equal width, since most probabilities of a log are
    near 0.

    Equal predictions share a bin, so there may be fewer than ten, and the order of rows does not
    matter. Rows of weight 0 are left out.

    Args:
      outcomes: ``[N]``, labels of 0 and 1, or amounts.
      predictions: ``[N]`` probabilities or amounts, finite.
      weights: ``[N]``, not negative.
      positive: bool ``[N]``, which rows are counted as positives.
    """
    w = np.asarray(weights, np.float64)
    y, p, w, high = (np.asarray(of)[w > 0] for of in (outcomes, predictions, w, positive))
    if not w.size:
        return Calibration(ece=to_json(None), bins=())
    _, group = np.unique(p, return_inverse=True)
    mass = np.bincount(group, w)
    middle = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    _, place = np.unique((BINS * middle).astype(int)[group], return_inverse=True)
    weight = np.bincount(place, w)
    predicted, observed = (np.bincount(place, w * of) / weight for of in (p, y))
    bins = tuple(
        CalibrationBin(predicted=of[0], observed=of[1], rows=int(of[2]), positives=int(of[3]))
        for of in zip(
            predicted.tolist(),
            observed.tolist(),
            np.bincount(place),
            np.bincount(place, high),
            strict=True,
        )
    )
    return Calibration(
        ece=float(np.average(np.abs(predicted - observed), weights=weight)), bins=bins
    )


def order_agreement(amounts: ArrayLike, predictions: ArrayLike) -> float | None:
    """Share of the pairs of rows with different amounts that the predictions put in the right
    order; equal predictions count half. Of amounts of two sizes it is the AUC.

    AUC and GAUC of an amount look at which rows have more than a typical one, and so at no order
    among the others. All pairs are taken, not those inside requests: a task after a click has one
    or two rows in most requests, which are no pair. Sample weights are not read, because Kendall's
    tau, from which it is worked out in N log N steps, has none.

    Args:
      amounts: ``[N]``.
      predictions: ``[N]``, finite.

    Returns:
      From 0 to 1, 0.5 by chance; None where all amounts are equal.
    """
    y, p = np.asarray(amounts), np.asarray(predictions)
    different, told_apart = _pairs(y), _pairs(p)
    if not different:
        return None
    if not told_apart:
        return 0.5
    # tau-b is concordant less discordant pairs over the root of both.
    surplus = float(kendalltau(y, p).statistic) * np.sqrt(different) * np.sqrt(told_apart)
    return float(0.5 + surplus / different / 2.0)


def _pairs(values: NDArray[np.generic]) -> float:
    """How many pairs of values differ."""
    _, counts = np.unique(values, return_counts=True)
    of_value: Floats = counts.astype(np.float64)
    total = float(of_value.sum())
    return (total * total - float((of_value**2).sum())) / 2.0
