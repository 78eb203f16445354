"""Resampled users, the same for every method, domain and seed, so that any difference of figures
is paired.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from configs.random_streams import Purpose, random_stream
from trainer.kernels.kernel import Rows
from trainer.metrics.task_metrics import auc, check_rows, place_positives, weighted_auc


class Draws:
    """Multinomial resamples of a split's users.

    A cell keeps the AUC of every draw; the difference of two cells, draw by draw, is then a paired
    bootstrap (see ``trainer.metrics.paired_bootstrap``), and so is the mean of differences over
    domains: one user drawn is drawn in all of them.

    Args:
      users: ``[N]``, the user of each row of the split.
      weights: ``[N]`` sample weights.
      resamples: number of draws.
      seed: of the draws.
    """

    def __init__(
        self,
        users: npt.NDArray[np.generic],
        weights: npt.NDArray[np.float32],
        resamples: int,
        seed: int = 0,
    ) -> None:
        unique, self._user = np.unique(users, return_inverse=True)
        self._weights = weights.astype(np.float64)
        count = len(unique)
        self._times = np.stack(
            [
                np.bincount(
                    random_stream(seed, Purpose.BOOTSTRAP, draw).integers(count, size=count),
                    minlength=count,
                ).astype(np.uint8)
                for draw in range(resamples)
            ]
        )

    def auc(
        self, labels: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], rows: Rows
    ) -> tuple[float | None, list[float]]:
        """AUC of rows of the split (``labels`` and ``scores`` in the order of ``rows``), and that
        of every draw.

        A draw that holds one class alone is NaN and is written as the AUC itself: it adds no
        spread.
        """
        weights, user = self._weights[rows], self._user[rows]
        y, p, weights = check_rows(labels, scores, weights)
        value = auc(y, p, weights)
        if value is None:
            return None, []
        order, below, through = place_positives(y, p)
        negative, positive = np.flatnonzero(y == 0)[order], np.flatnonzero(y == 1)
        negative_user, positive_user = user[negative], user[positive]
        negative_weights, positive_weights = weights[negative], weights[positive]

        def drawn(times: npt.NDArray[np.uint8]) -> float:
            lost, won = (
                times[negative_user] * negative_weights,
                times[positive_user] * positive_weights,
            )
            return weighted_auc(lost, won, below, through) if lost.any() and won.any() else value

        with ThreadPoolExecutor(2) as pool:
            return value, [round(float(found), 7) for found in pool.map(drawn, self._times)]
