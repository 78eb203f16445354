"""Resampled users, the same for every method, domain and seed, so that any difference of figures
is paired.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from trainer.kernels.kernel import Rows
from trainer.metrics.task_metrics import (
    Floats,
    auc,
    check_rows,
    log_loss,
    request_auc,
    row_log_loss,
)
from trainer.metrics.user_draws import DrawnAuc, UserDraws


class Draws:
    """AUC, GAUC and log loss of a split's slices under draws of its users (``UserDraws``).

    A cell keeps the figure of every draw; the difference of two cells, draw by draw, is then a
    paired bootstrap (see ``trainer.metrics.paired_bootstrap``), and so is the mean of differences
    over domains: one user drawn is drawn in all of them.

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
        self._draws = UserDraws(users, resamples, seed)
        self._user = self._draws.places(users)
        self._weights = weights.astype(np.float64)

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
        auc_of = DrawnAuc(y, p, weights, user)

        def drawn(times: npt.NDArray[np.uint8]) -> float:
            found = auc_of(times.astype(np.float64))
            return value if np.isnan(found) else found

        with ThreadPoolExecutor(2) as pool:
            return value, [round(float(found), 7) for found in pool.map(drawn, self._draws.times)]

    def log_loss(
        self, labels: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], rows: Rows
    ) -> tuple[float | None, list[float]]:
        """Log loss of rows of the split in nats, as ``auc`` has it."""
        y, p, weights = check_rows(labels, scores, self._weights[rows])
        value = log_loss(y, p, weights)
        if value is None:
            return None, []
        return value, self._means(value, row_log_loss(y, p), weights, rows)

    def gauc(
        self,
        labels: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        rows: Rows,
        requests: npt.NDArray[np.generic],
    ) -> tuple[float | None, list[float]]:
        """The AUC inside each request, averaged by rows (``task_metrics.gauc``), as ``auc`` has it;
        ``requests`` are those of ``rows``.
        """
        y, p, weights = check_rows(labels, scores, self._weights[rows])
        inside = request_auc(y, p, weights, requests)
        counted = ~np.isnan(inside)
        inside, weights = inside[counted], weights[counted]
        if not weights.sum() > 0:
            return None, []
        value = float(inside @ weights / weights.sum())
        return value, self._means(value, inside, weights, rows[counted])

    def _means(self, value: float, values: Floats, weights: Floats, rows: Rows) -> list[float]:
        """The mean of ``values`` of ``rows`` under every draw; ``value`` where one is empty."""
        users = len(self._draws.users)
        sums, totals = (
            self._draws.times @ np.bincount(self._user[rows], of_rows, users)
            for of_rows in (weights * values, weights)
        )
        drawn = np.divide(sums, totals, out=np.full(len(totals), value), where=totals > 0)
        return [round(float(found), 7) for found in drawn]
