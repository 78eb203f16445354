"""What users do with a ranking, drawn from the true probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.online.traffic import Traffic
from preprocessing.simulator.world import Floats

OUTCOMES = ("clicks", "orders", "money")
"""Columns of what comes of a request."""


@dataclass(frozen=True)
class Luck:
    """Uniform numbers that decide what happens, the same for every ranking: arms differ only where
    they rank differently.

    Attributes:
      looks: ``[requests, shown]``, by position.
      clicks, orders: ``[requests, candidates]``, by candidate.
    """

    looks: Floats
    clicks: Floats
    orders: Floats

    @classmethod
    def draw(cls, traffic: Traffic, seed: int) -> "Luck":
        """Draws the luck of all requests."""
        rng = np.random.default_rng(seed)
        requests, shape = len(traffic.user), traffic.order_rate.shape
        return cls(
            *(
                rng.random(size, np.float32)
                for size in ((requests, len(traffic.examination)), shape, shape)
            )
        )


def play(
    traffic: Traffic, scores: Floats, luck: Luck
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shows each request its best candidates, best first (among equals, in the order of the logging
    policy).

    Args:
      traffic: the requests.
      scores: ``[requests, candidates]``.
      luck: the draws.

    Returns:
      ``OUTCOMES`` of every request ``[requests, 3]``: drawn, and as they can be expected of this
      ranking.
    """
    shown = np.argsort(-scores, axis=1, kind="stable")[:, : len(traffic.examination)]

    def of_shown(values: Floats) -> Floats:
        return np.take_along_axis(values, shown, axis=1)

    attraction, order_rate, money = (
        of_shown(values) for values in (traffic.attraction, traffic.order_rate, traffic.money)
    )
    click = (luck.looks < traffic.examination) & (of_shown(luck.clicks) < attraction)
    order = click & (of_shown(luck.orders) < order_rate)
    may_click = attraction * traffic.examination
    return _sums(click, order, money), _sums(may_click, may_click * order_rate, money)


def _sums(
    click: npt.NDArray[Any], order: npt.NDArray[Any], money: Floats
) -> npt.NDArray[np.float64]:
    return np.stack(
        [values.sum(axis=1, dtype=np.float64) for values in (click, order, order * money)], axis=1
    )
