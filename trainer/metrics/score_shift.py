"""Measures how far one model's probabilities of some rows are from another's."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import kendalltau

TOP = 10
"""Rows at the head of a slate."""

_CLIP = 1e-7

Floats = NDArray[np.float64]


def shift_figures(first: ArrayLike, second: ArrayLike) -> dict[str, float]:
    """What changes for N rows, which stand for one fixed slate.

    Args:
      first: ``[N]`` probabilities under one model, N > 0.
      second: ``[N]``, under the other.

    Returns:
      ``kl``: mean KL(first || second) of the rows' two outcomes, in nats; ``shift_mean``: of second
        minus first; ``shift_p95``,
      ``shift_max``: of its size; ``kendall_tau``: tau-b of the two orders, 1 where they agree (also
      where neither tells rows apart), 0 where one of them alone tells none apart; ``top_changed``:
      of the first ``TOP`` rows under the first, how many leave them.
    """
    p, q = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shift = q - p
    return {
        "kl": kl(p, q),
        "shift_mean": float(shift.mean()),
        "shift_p95": float(np.percentile(np.abs(shift), 95)),
        "shift_max": float(np.abs(shift).max()),
        "kendall_tau": kendall_tau(p, q),
        "top_changed": len(_top(p) - _top(q)),
    }


def kl(first: Floats, second: Floats) -> float:
    """Mean Kullback-Leibler divergence KL(first || second) of Bernoulli distributions, in nats;
    clipped to [1e-7, 1 - 1e-7].
    """
    p, q = np.clip(first, _CLIP, 1.0 - _CLIP), np.clip(second, _CLIP, 1.0 - _CLIP)
    return float((rel_entr(p, q) + rel_entr(1.0 - p, 1.0 - q)).mean())


def kendall_tau(first: Floats, second: Floats) -> float:
    """Kendall's tau-b; where scores are all equal it is undefined, and 1 where they are so in
    both, else 0.
    """
    tied = [bool((values == values[0]).all()) for values in (first, second)]
    return float(all(tied)) if any(tied) else float(kendalltau(first, second).statistic)


def _top(scores: Floats) -> set[int]:
    """Rows of the highest scores; of equal ones, the earlier rows."""
    return set(np.argsort(-scores, kind="stable")[:TOP].tolist())
