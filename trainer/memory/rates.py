"""Counts as kernels read them: of every key a rate for each task, and how many rows it rests on."""

import numpy as np
import numpy.typing as npt

from configs.memory import Memory

_LEAST, _MOST = 1e-4, 1 - 1e-4
"""Between these is the rate of all traffic, whose log-odds must be finite."""


def rates(
    memory: Memory, sums: npt.NDArray[np.float64], total: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Float32 ``[K, T + 1]``: of every task the log-odds of its rate less those of all traffic, the
    rate shrunk towards that of all traffic by ``prior_rows``; then log(1 + rows). A key that was
    never seen is 0 throughout (our choice).

    Args:
      memory: the definition.
      sums: counts of K keys, ``[K, 2 T]`` (``counts.LabelledRows.counts``).
      total: the same of all rows, ``[2 T]``.
    """
    rows, positives = np.split(sums, 2, axis=1)
    all_rows, all_positives = np.split(total, 2)
    known = all_rows > 0
    prior = np.where(known, all_positives / np.where(known, all_rows, 1.0), 0.5)
    prior = np.clip(prior, _LEAST, _MOST)
    rate = (positives + memory.prior_rows * prior) / (rows + memory.prior_rows)
    difference = np.where(rows > 0, _log_odds(rate) - _log_odds(prior), 0.0)
    return np.concatenate([difference, np.log1p(rows[:, :1])], axis=1).astype(np.float32)


def _log_odds(rate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(rate, 1e-9, 1 - 1e-9)
    odds: npt.NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
