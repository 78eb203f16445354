"""Whole users drawn with replacement, and the interval of what was found under many draws.

A draw is multinomial: as many users as there are. The cheaper Poisson(1) counts are its
approximation for streams whose length is unknown; here the users are in memory, a draw costs next
to nothing beside an AUC, and the exact draw keeps small domains honest, where a varying number of
users would widen the interval.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.random_streams import Purpose, random_stream
from preprocessing.auc import place_positives, weighted_auc
from trainer.metrics.results import Interval
from trainer.metrics.task_metrics import UNDEFINED, Floats

_PERCENTILES = (2.5, 97.5)
_MAX_UNDEFINED_SHARE = 0.05


def draw_users(users: int, seed: int, draw: int) -> NDArray[np.intp]:
    """How often each of ``users`` is drawn, ``[users]``.

    Each draw has a generator of its own, so that a result does not depend on how draws are shared
    among threads.
    """
    drawn = random_stream(seed, Purpose.BOOTSTRAP, draw).integers(users, size=users)
    return np.bincount(drawn, minlength=users)


def percentile_interval(values: Floats) -> Interval:
    """The 2.5th to the 97.5th percentile of resampled figures ``[resamples]``, NaN where a resample
    leaves the figure undefined; undefined where more than 5% of them do, because then its ends are
    not known.
    """
    known = values[~np.isnan(values)]
    if known.size < (1.0 - _MAX_UNDEFINED_SHARE) * values.size:
        return UNDEFINED
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)


class UserDraws:
    """Draws of a split's users, the same for every slice of it: what is found in two slices under
    one draw is then paired, and so is a mean over slices.

    Args:
      clusters: ``[N]``, the user of each row of the split.
      resamples: number of draws.
      seed: of the draws; 0 by default.

    Attributes:
      users: the distinct users ``[users]``, ascending.
      times: uint8 ``[resamples, users]``, how often each is drawn.
    """

    def __init__(self, clusters: ArrayLike, resamples: int, seed: int = 0) -> None:
        self.users = np.unique(np.asarray(clusters))
        count = len(self.users)
        self.times = np.stack(
            [draw_users(count, seed, draw).astype(np.uint8) for draw in range(resamples)]
        )

    def places(self, clusters: ArrayLike) -> NDArray[np.intp]:
        """Where users ``[M]``, all of them the split's, stand in ``users``."""
        return np.searchsorted(self.users, np.asarray(clusters))


class DrawnAuc:
    """The AUC of rows under any draw of their users. The rows are sorted once, because a draw
    changes nothing but weights.

    Args:
      labels: ``[N]``, 0 or 1.
      scores: ``[N]``, finite.
      weights: ``[N]`` non-negative.
      user: ``[N]``, the place of each row's user in what is given as ``times``.
    """

    def __init__(
        self, labels: Floats, scores: Floats, weights: Floats, user: NDArray[np.intp]
    ) -> None:
        order, self._below, self._through = place_positives(labels, scores)
        negative, positive = np.flatnonzero(labels == 0)[order], np.flatnonzero(labels == 1)
        self.negatives = negative.size
        self._negative_user, self._positive_user = user[negative], user[positive]
        # Most logs have no weights, and a pass over the negatives is what a draw costs.
        even = bool((weights == 1).all())
        self._negative_weights = None if even else weights[negative]
        self._positive_weights = weights[positive]

    def __call__(self, times: Floats, buffer: Floats | None = None) -> float:
        """The AUC where user ``u`` is drawn ``times[u]`` times; NaN where one class alone is.

        Args:
          times: float64 ``[users]``.
          buffer: as ``preprocessing.auc.weighted_auc`` has it, of ``negatives + 1``.
        """
        lost = times[self._negative_user]
        if self._negative_weights is not None:
            lost *= self._negative_weights
        won = times[self._positive_user] * self._positive_weights
        if not (won.any() and lost.any()):
            return float("nan")
        return weighted_auc(lost, won, self._below, self._through, buffer)
