"""Who asks when and where, which shops are shown in which order, and what is remembered of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

import numpy as np
import numpy.typing as npt

from configs.section import parse_time_zone
from configs.simulation import Simulation
from preprocessing.simulator.world import (
    HOME_SHARE,
    HOUR_TRAFFIC,
    PERIOD_OF_HOUR,
    SCENE_SHARES,
    Ints,
    Shops,
    Users,
)

_HOUR = 3_600_000_000
_WEEKEND_TRAFFIC = 1.2
_POLICY_NOISE = 3.0
"""Noise of the logging policy, in units of the logarithm of popularity: large enough that every
shop is seen in every position.
"""


@dataclass(frozen=True)
class Requests:
    """Requests in order of time; every array ``[requests]``, ``time`` in microseconds since 1970
    (UTC).
    """

    time: Ints
    user: Ints
    region: Ints
    scene: Ints
    period: Ints


def traffic_shares(settings: Simulation) -> npt.NDArray[np.float64]:
    """Share of all requests that each hour can expect ``[days, 24]``."""
    weights = np.empty((settings.days, 24))
    zone = parse_time_zone(settings.time_zone)
    for hour in range(weights.size):
        local = (settings.start + timedelta(hours=hour)).astimezone(zone)
        weights.flat[hour] = HOUR_TRAFFIC[local.hour] * (
            _WEEKEND_TRAFFIC if local.weekday() >= 5 else 1.0
        )
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def requests_by_hour(settings: Simulation, rng: np.random.Generator) -> Ints:
    """Number of requests in each hour ``[days, 24]``; they sum to ``rows / candidates``, rounded
    (at least one).
    """
    shares = traffic_shares(settings)
    return rng.multinomial(
        max(1, round(settings.rows / settings.candidates)), shares.ravel()
    ).reshape(shares.shape)


def draw_requests(
    settings: Simulation, users: Users, begin: datetime, size: int, rng: np.random.Generator
) -> Requests:
    """Draws ``size`` requests in the hour from ``begin``, by users who have arrived by then, the
    active ones more often.
    """
    offset = begin.astimezone(parse_time_zone(settings.time_zone)).utcoffset() or timedelta()
    time = round(begin.timestamp()) * 1_000_000 + np.sort(rng.integers(_HOUR, size=size))
    period = PERIOD_OF_HOUR[(time + offset // timedelta(microseconds=1)) // _HOUR % 24]
    day = (begin - settings.start).days
    active = np.cumsum(np.where(users.first_day <= day, users.activity, 0.0))
    user = np.searchsorted(active, rng.random(size) * active[-1], side="right").clip(
        max=len(active) - 1
    )
    elsewhere = rng.integers(settings.regions, size=size)
    region = np.where(rng.random(size) < HOME_SHARE, users.region[user], elsewhere)
    scene = (rng.random(size)[:, None] > np.cumsum(SCENE_SHARES, axis=1)[period, :-1]).sum(axis=1)
    return Requests(time, user, region, scene, period)


def draw_candidates(
    shops: Shops, requests: Requests, day: int, width: int, rng: np.random.Generator
) -> Ints:
    """Draws ``width`` distinct open shops of each request's region (it must have as many), in the
    order in which they are shown.

    The logging policy: popular shops are candidates more often, and stand further up, with much
    noise.

    Returns:
      Shop indices ``[requests, width]``; column ``j`` is position ``j + 1``.
    """
    is_open = shops.first_day <= day
    shown = _draw_by_weight(
        shops, np.where(is_open, shops.popularity, 0.0), requests.region, width, rng
    )
    for attempt in count():
        order = np.argsort(shown, axis=1, kind="stable")
        ranked = np.take_along_axis(shown, order, axis=1)
        again = np.zeros(shown.shape, bool)
        np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
        if not again.any():
            break
        rows = np.flatnonzero(again.any(axis=1))
        # Few popular shops would be drawn again and again, so after a while every open shop is as
        # likely.
        weights = np.where(is_open, shops.popularity if attempt < 5 else 1.0, 0.0)
        fresh = _draw_by_weight(shops, weights, requests.region[rows], width, rng)
        shown[rows] = np.where(again[rows], fresh, shown[rows])
    score = np.log(shops.popularity)[shown] + rng.gumbel(0, _POLICY_NOISE, shown.shape)
    return np.take_along_axis(shown, np.argsort(-score, axis=1), axis=1)


def _draw_by_weight(
    shops: Shops,
    weights: npt.NDArray[np.float64],
    region: Ints,
    width: int,
    rng: np.random.Generator,
) -> Ints:
    """Draws ``[requests, width]`` shops of each request's region by weight, with replacement."""
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    bounds = edges[np.searchsorted(shops.region, np.arange(shops.region[-1] + 2))]
    low, high = bounds[region][:, None], bounds[region + 1][:, None]
    point = low + (high - low) * rng.random((len(region), width))
    drawn: Ints = np.searchsorted(edges, np.minimum(point, np.nextafter(high, 0)), side="right") - 1
    return drawn


class Histories:
    """The last clicked shops of every user, newest first.

    Attributes:
      shops: shop indices ``[users, length]``, -1 where there is none.
    """

    def __init__(self, users: int, length: int) -> None:
        self.shops = np.full((users, length), -1, np.int32)

    def add(self, users: Ints, shops: Ints) -> None:
        """Remembers clicks (arrays of equal length, in order of time)."""
        newest_first = np.argsort(users, kind="stable")[::-1]
        user, shop = users[newest_first], shops[newest_first]
        # Users now descend, each one's clicks stand together, and their place from the first is
        # their place in the history.
        clicked, first, clicks = np.unique(-user, return_index=True, return_counts=True)
        place = np.arange(len(user)) - np.repeat(first, clicks)
        length = self.shops.shape[1]
        pushed = (np.arange(length) - clicks[:, None]).clip(min=0)
        self.shops[-clicked] = np.take_along_axis(self.shops[-clicked], pushed, axis=1)
        kept = place < length
        self.shops[user[kept], place[kept]] = shop[kept]
