"""What chance alone makes of two samples of one distribution, as the samples themselves tell.

Rows are no independent draws: those of a user, or of a request, are alike. So each side is cut by
users into groups, and halves of its groups differ by as much as chance makes samples of users
differ. A half of the first side mixed with a half of the other, against the two halves that are
left, differ as the two sides would where nothing had changed: the difference has the mean 0 and the
sum of both sides' covariances, whatever their sizes (balanced half-samples, McCarthy 1969,
Pseudo-replication: half samples). Limits then follow from the mean and variance over many such
splits: of a divergence by a gamma distribution of both (Satterthwaite 1946, An approximate
distribution of estimates of variance components), of a share by Student's.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from preprocessing.profile.distance import stability_index

GROUPS = 32
FEWEST_GROUPS = 8
"""With fewer groups that have rows, their spread says too little of chance (our choice)."""

_MORE = 0.5
"""Rows that every bin has more than were counted, so that a bin which is empty by chance does not
make two small samples seem far apart (Krichevsky and Trofimov 1981).
"""
_SPLITS = 200
_SEED = 20

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
"""Rows, or values, by group and bin, ``[GROUPS, B]``."""


class Distance(NamedTuple):
    """A population stability index: what was found, its mean by chance, and what chance exceeds
    with the probability that was asked for.
    """

    found: float
    by_chance: float
    limit: float

    @property
    def beyond_chance(self) -> float:
        """What is left of it."""
        return max(0.0, self.found - self.by_chance)

    @property
    def real(self) -> bool:
        """Whether chance does not explain it."""
        return self.found > self.limit


class Change(NamedTuple):
    """A share on both sides, and how far apart chance puts them with the probability that was
    asked for.
    """

    first: float
    other: float
    limit: float

    @property
    def real(self) -> bool:
        """Whether chance does not explain it."""
        return abs(self.other - self.first) > self.limit


def distance(first: Counts, other: Counts, level: float) -> Distance:
    """The index of two sides over the same bins.

    Args:
      first: of the first side.
      other: of the other side.
      level: probability that chance exceeds the limit.
    """
    from scipy.stats import gamma

    whole = [_shares(side.sum(axis=0), _MORE).tolist() for side in (first, other)]
    found = stability_index(*whole)
    one, two = _mixed_halves(first, other, _MORE)
    made = [stability_index(p, q) for p, q in zip(one.tolist(), two.tolist(), strict=True)]
    mean, variance = float(np.mean(made)), float(np.var(made))
    if not variance:
        return Distance(found, mean, mean)
    limit = float(gamma.ppf(1.0 - level, mean * mean / variance, scale=variance / mean))
    return Distance(found, mean, limit)


def change(first: Counts, other: Counts, level: float) -> Change:
    """The share of the first of two bins on both sides; arguments as of ``distance``."""
    from scipy.stats import t

    one, two = _mixed_halves(first, other)
    deviation = float(np.sqrt(np.mean(np.square(one[:, 0] - two[:, 0]))))
    limit = deviation * float(t.ppf(1.0 - level / 2.0, GROUPS - 1))
    shares = [float(_shares(side.sum(axis=0))[0]) for side in (first, other)]
    return Change(shares[0], shares[1], limit)


def _mixed_halves(first: Counts, other: Counts, more: float = 0.0) -> tuple[Floats, Floats]:
    """Shares ``[S, B]`` of mixed halves, and of what is left, of every split; ``more`` as of
    ``_shares``, for whole sides.
    """
    mine, theirs = _chosen_groups()
    halves = [
        (_shares(a @ first, more / 2.0) + _shares(b @ other, more / 2.0)) / 2.0
        for a, b in ((mine, theirs), (1 - mine, 1 - theirs))
    ]
    return halves[0], halves[1]


@cache
def _chosen_groups() -> tuple[Counts, Counts]:
    """Which groups are in the half of each split, 0 or 1 ``[S, GROUPS]``, of either side."""
    generator = np.random.default_rng(_SEED)
    order = generator.permuted(np.tile(np.arange(GROUPS), (2 * _SPLITS, 1)), axis=1)
    chosen = (order < GROUPS // 2).astype(np.int64)
    return chosen[:_SPLITS], chosen[_SPLITS:]


def _shares(counts: Counts, more: float = 0.0) -> Floats:
    """Shares of the last axis, where each bin has so many more than were counted."""
    total = counts.sum(axis=-1, keepdims=True) + more * counts.shape[-1]
    shares: Floats = (counts + more) / np.maximum(total, 1e-9)
    return shares
