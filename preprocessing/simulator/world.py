"""Who lives in the simulated marketplace and what they like: users, shops, and the interests of
every domain.

Everything here is our choice. A choice is a linear utility of facts about a user and a shop
(``FACTS``) plus a liking of the shop's cuisine; the weights of both differ by scene, period and
region, so *how* a user chooses depends on the domain and not only how often.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.simulation import Simulation

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SCENES = ("home", "search", "coupons", "nearby")
PERIODS = {
    "breakfast": "05-10",
    "lunch": "11-13",
    "afternoon": "14-16",
    "dinner": "17-20",
    "night": "21-04",
}
"""Meal periods by local hour, as a topic's ``hours`` are written; the first and last hour of
each are included.
"""
PERIOD_OF_HOUR: Ints = np.repeat([4, 0, 1, 2, 3, 4], [5, 6, 3, 3, 4, 3])
SCENE_SHARES = np.array(
    [
        [0.55, 0.15, 0.15, 0.15],
        [0.40, 0.25, 0.20, 0.15],
        [0.45, 0.15, 0.30, 0.10],
        [0.40, 0.30, 0.15, 0.15],
        [0.45, 0.20, 0.10, 0.25],
    ]
)
"""Share of requests by scene ``[periods, scenes]``: traffic differs by domain even where
interests do not (``shift`` 0).
"""
HOUR_TRAFFIC = np.array(
    [2, 1, 1, 1, 1, 2, 4, 7, 8, 6, 6, 14, 18, 12, 6, 5, 6, 10, 17, 16, 10, 7, 5, 3], np.float64
)
"""Relative traffic by local hour."""

SEGMENTS = tuple(f"g{index}" for index in range(1, 9))
DEVICES = ("android", "ios", "web")
CITY_TIERS = (1, 2, 3)
TASTES = 8
"""Dimensions of a user's taste and of what a shop serves; both hidden from the logs, but
segments, cuisines and ids tell of them.
"""

FACTS = (
    "constant",
    *["taste"] * TASTES,
    "price",
    "delivery",
    "discount",
    "rating",
    "quality",
    "repeat",
    "habit",
)
"""Facts a choice weighs; ``repeat``: clicked there before, ``habit``: share of earlier clicks
that went to this cuisine.
"""
BASE_WEIGHTS = np.array(
    [
        [0.0, *[0.30] * TASTES, 0.35, 0.25, 0.25, 0.25, 0.35, 0.50, 0.70],
        [0.0, *[0.15] * TASTES, 0.45, 0.40, 0.30, 0.15, 0.35, 0.80, 0.20],
    ]
)
"""Weights every domain shares ``[tasks, facts]``: click, then conversion of a click."""
SPREAD = np.array([0.14, *[0.08] * TASTES, 0.22, 0.20, 0.22, 0.15, 0.08, 0.16, 0.20])
"""Standard deviation, at ``shift`` 1, of a fact's weight between the values of one topic."""
CUISINE_SPREAD = 0.36
"""The same for the liking of a cuisine."""
PAIR_SHARE = 0.5
"""What two topics together add (lunch *in* r2), relative to what each adds alone."""

TASKS = 2
HOME_SHARE = 0.9
LATE_EVERY = 7
"""Every seventh user and shop arrives after the first day (cold start)."""


@dataclass(frozen=True)
class Users:
    """Users; every array ``[users]``, ``taste`` is ``[users, TASTES]``; ``budget`` is the price
    level liked best.
    """

    taste: Floats
    budget: Floats
    segment: Ints
    city_tier: Ints
    device: Ints
    region: Ints
    activity: npt.NDArray[np.float64]
    first_day: Ints


@dataclass(frozen=True)
class Shops:
    """Shops by region; every array ``[shops]``, ``taste`` is ``[shops, TASTES]``; ``quality`` is
    hidden, ``rating`` tells of it.
    """

    taste: Floats
    cuisine: Ints
    region: Ints
    price_level: Ints
    quality: Floats
    rating: Floats
    minutes: Floats
    promotion: Floats
    popularity: npt.NDArray[np.float64]
    first_day: Ints


@dataclass(frozen=True)
class Interests:
    """How the weights of each domain differ from the base: ``[tasks, domains, facts +
    cuisines]``, before and after the drift.
    """

    before: Floats
    after: Floats

    def weights(self, task: int, domain: Ints, moved: Floats) -> Floats:
        """Weights ``[requests, facts + cuisines]`` of requests in ``domain``, ``moved`` radians
        from ``before`` towards ``after``.

        A rotation, so that interests change without growing.
        """
        moved = moved[:, None]
        weights: Floats = (
            np.cos(moved) * self.before[task, domain] + np.sin(moved) * self.after[task, domain]
        )
        weights[:, : len(FACTS)] += BASE_WEIGHTS[task].astype(np.float32)
        return weights


def domain_index(scene: Ints, period: Ints, region: Ints, regions: int) -> Ints:
    """Index of the combination of a scene, a period and a region, as ``Interests`` orders them."""
    return (scene * len(PERIODS) + period) * regions + region


def region_shares(regions: int) -> npt.NDArray[np.float64]:
    """Share of users by home region ``[regions]``."""
    weights = 1.0 / np.sqrt(np.arange(1, regions + 1, dtype=np.float64))
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def make_users(settings: Simulation, segment_taste: Floats, rng: np.random.Generator) -> Users:
    """Draws the users; ``segment_taste`` ``[segments, TASTES]`` is what a segment has in common."""
    count = settings.users
    segment = rng.integers(len(SEGMENTS), size=count)
    tier = rng.choice(len(CITY_TIERS), size=count, p=[0.3, 0.4, 0.3])
    return Users(
        taste=_mix(segment_taste[segment], 0.75, rng),
        budget=np.clip(3.2 - 0.7 * tier + rng.normal(0, 0.7, count), 1, 4).astype(np.float32),
        segment=segment,
        city_tier=tier,
        device=rng.choice(len(DEVICES), size=count, p=[0.55, 0.35, 0.1]),
        region=rng.choice(settings.regions, size=count, p=region_shares(settings.regions)),
        activity=rng.lognormal(0.0, 1.1, count),
        first_day=_first_days(count, settings.days, rng),
    )


def make_shops(settings: Simulation, cuisine_taste: Floats, rng: np.random.Generator) -> Shops:
    """Draws the shops, as many in each region; ``cuisine_taste`` ``[cuisines, TASTES]`` is what
    a cuisine has in common.
    """
    count = settings.shops
    cuisine_share = np.arange(1, settings.cuisines + 1) ** -0.5
    cuisine = rng.choice(settings.cuisines, size=count, p=cuisine_share / cuisine_share.sum())
    quality = rng.normal(0, 1, count).astype(np.float32)
    rank = rng.permutation(count) // settings.regions + 1.0
    return Shops(
        taste=_mix(cuisine_taste[cuisine], 0.8, rng),
        cuisine=cuisine,
        region=np.sort(np.arange(count) % settings.regions),
        price_level=np.clip(np.rint(rng.normal(2.4, 0.9, count)), 1, 4).astype(np.int64),
        quality=quality,
        rating=np.clip(np.round(4.1 + 0.25 * quality + rng.normal(0, 0.2, count), 1), 1, 5).astype(
            np.float32
        ),
        minutes=rng.normal(32, 7, count).clip(12).astype(np.float32),
        promotion=rng.beta(1, 3, count).astype(np.float32),
        popularity=(rank**-0.8) * np.exp(0.3 * quality),
        first_day=_first_days(count, settings.days, rng),
    )


def make_interests(settings: Simulation, rng: np.random.Generator) -> Interests:
    """Draws the interests before and after the drift, each with the same spread; ``shift``
    scales both.
    """
    before, after = (_draw_interests(settings, rng) * settings.shift for _ in range(2))
    return Interests(before.astype(np.float32), after.astype(np.float32))


def _draw_interests(settings: Simulation, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Deviations ``[tasks, domains, facts + cuisines]``: each topic alone, and each pair of
    topics; their mean over the traffic is 0.
    """
    sizes = (len(SCENES), len(PERIODS), settings.regions)
    spread = np.concatenate([SPREAD, np.full(settings.cuisines, CUISINE_SPREAD)])
    total = np.zeros((TASKS, *sizes, len(spread)))
    for kept in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
        shape = [size if axis in kept else 1 for axis, size in enumerate(sizes)]
        effect = rng.normal(0, 1, (*shape, len(spread))) * spread
        # A click and the order after it share most of their interests, as one person has them.
        for task in range(TASKS):
            own = rng.normal(0, 1, (*shape, len(spread))) * spread
            total[task] += (0.8 * effect + 0.6 * own) * (1.0 if len(kept) == 1 else PAIR_SHARE)
    hours = np.bincount(PERIOD_OF_HOUR, HOUR_TRAFFIC) / HOUR_TRAFFIC.sum()
    traffic = np.einsum("p,ps,r->spr", hours, SCENE_SHARES, region_shares(settings.regions))
    total -= np.einsum("spr,tsprf->tf", traffic, total)[:, None, None, None, :]
    return total.reshape(TASKS, -1, len(spread))


def _mix(common: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Unit-variance tastes of which ``share`` (as a correlation) is common and the rest is one's
    own.
    """
    own = rng.normal(0, 1, common.shape)
    tastes: Floats = (share * common + np.sqrt(1 - share**2) * own).astype(np.float32)
    return tastes


def _first_days(count: int, days: int, rng: np.random.Generator) -> Ints:
    """First day of each of ``count``: 0, but for every seventh (so that no region begins without
    shops), which arrives on a later day.
    """
    late = np.arange(count) % LATE_EVERY == LATE_EVERY - 1
    return np.where(late, rng.integers(1, max(2, days), count), 0)
