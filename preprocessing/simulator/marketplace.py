"""A food-delivery marketplace whose every probability is known: hour after hour, users ask, see
shops, click and order.

Everything here is our choice. With ``a`` the sigmoid of the click utility and ``e`` the examination
probability of a position,

- the logged click rate ``a * e(position)`` is the probability that the logged impression is
  clicked: its click is drawn from it;
- the click rate ``a * mean(e)`` averages the position out, as if it had been drawn uniformly. A
  model that serves knows no position, so this is what its score is compared with, and the best
  reachable AUC is that of this, of the order rate and of their product. It is no strict bound:
  popular shops stand higher in the logs, and a score that learnt where each shop used to stand
  gains about 0.1 points of AUC on them;
- the order rate is the sigmoid of the conversion utility: the order of a click is drawn from it,
  whatever the position.

A history is brought up to date once an hour (as a behaviour log is), so it holds only what happened
before the request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from configs.simulation import Simulation
from preprocessing.simulator.traffic import (
    Histories,
    Requests,
    draw_candidates,
    draw_requests,
    requests_by_hour,
)
from preprocessing.simulator.world import (
    BASE_WEIGHTS,
    FACTS,
    SEGMENTS,
    TASTES,
    Floats,
    Interests,
    Ints,
    Shops,
    Users,
    domain_index,
    make_interests,
    make_shops,
    make_users,
)

_PEAK_MINUTES = np.array([0, 6, 0, 8, 2], np.float32)
"""Minutes that a period adds to a delivery."""
_LARGEST_UTILITY = 10.0
_PROBE_REQUESTS = 2_000

_Part = TypeVar("_Part", "Requests", "Offers", "Impressions")


@dataclass(frozen=True)
class Offers:
    """Requests and the shops they could be shown: all that is known before anyone chooses.

    Attributes:
      requests: who asks, when and where.
      user_orders: ``[requests]``, before the request.
      history: shop indices ``[requests, history]``, newest first, -1 where there is none.
      shop, shop_orders, minutes, discount: ``[requests, candidates]``, in the order of the logging
        policy; ``shop_orders`` are the orders of the day before; ``discount`` is a share of the
        price.
    """

    requests: Requests
    user_orders: Ints
    history: npt.NDArray[np.int32]
    shop: Ints
    shop_orders: Ints
    minutes: Floats
    discount: Floats


@dataclass(frozen=True)
class Impressions:
    """What was shown and what came of it.

    Attributes:
      offers: what was shown; column ``j`` is position ``j + 1``.
      click_rate, click_rate_logged, order_rate: true probabilities ``[requests, candidates]``; the
        last is that of an order after a click.
      click, conversion: 0 or 1 ``[requests, candidates]``.
    """

    offers: Offers
    click_rate: Floats
    click_rate_logged: Floats
    order_rate: Floats
    click: npt.NDArray[np.int8]
    conversion: npt.NDArray[np.int8]


def joined(parts: Sequence[_Part]) -> _Part:
    """``Requests``, ``Offers`` or ``Impressions`` (one kind, at least one) as one, in their
    order.
    """
    columns: list[list[Any]] = [
        [getattr(part, field.name) for part in parts] for field in fields(parts[0])
    ]
    kind: Callable[..., _Part] = type(parts[0])
    return kind(
        *(
            joined(column) if is_dataclass(column[0]) else np.concatenate(column)
            for column in columns
        )
    )


class Marketplace:
    """A marketplace and its state; ``simulate_day`` must be called for every day, in order.

    Args:
      settings: size and habits.
      drift_start: when the interests of the domains begin to move.
      seed: everything follows from it.
    """

    users: Users
    shops: Shops
    interests: Interests

    def __init__(self, settings: Simulation, drift_start: datetime, seed: int) -> None:
        self.settings = settings
        self.drift_start = drift_start
        world, traffic, probe, *self._days = np.random.SeedSequence(seed).spawn(3 + settings.days)
        rng = np.random.default_rng(world)
        segment_taste, cuisine_taste = (
            rng.normal(0, 1, (count, TASTES)).astype(np.float32)
            for count in (len(SEGMENTS), settings.cuisines)
        )
        self.users = make_users(settings, segment_taste, rng)
        self.shops = make_shops(settings, cuisine_taste, rng)
        self.interests = make_interests(settings, rng)
        self._requests = requests_by_hour(settings, np.random.default_rng(traffic))
        self._examination = np.array(settings.examination, np.float32)
        self._histories = Histories(settings.users, settings.history)
        self._user_orders = np.zeros(settings.users, np.int64)
        self._shop_orders = np.zeros(settings.shops, np.int64)
        self._intercepts = self._solve_intercepts(np.random.default_rng(probe))

    def simulate_day(self, day: int) -> Impressions:
        """Simulates the 24 hours from ``start + day`` and remembers them."""
        rng = np.random.default_rng(self._days[day])
        hours = []
        for hour, count in enumerate(self._requests[day]):
            impressions = self._simulate_hour(day, hour, int(count), rng)
            self._histories.add(*self._clicks(impressions))
            np.add.at(
                self._user_orders,
                impressions.offers.requests.user,
                impressions.conversion.sum(axis=1),
            )
            hours.append(impressions)
        shown = joined(hours)
        self._shop_orders = np.bincount(
            shown.offers.shop[shown.conversion == 1], minlength=self.settings.shops
        )
        return shown

    @staticmethod
    def _clicks(impressions: Impressions) -> tuple[Ints, Ints]:
        request, position = np.nonzero(impressions.click)
        return impressions.offers.requests.user[request], impressions.offers.shop[request, position]

    def _simulate_hour(
        self, day: int, hour: int, count: int, rng: np.random.Generator
    ) -> Impressions:
        offers = self.offer(day, hour, count, self.settings.candidates, rng)
        attraction, order_rate = self.probabilities(offers)
        logged = attraction * self._examination
        click = rng.random(order_rate.shape, np.float32) < logged
        conversion = click & (rng.random(order_rate.shape, np.float32) < order_rate)
        return Impressions(
            offers=offers,
            click_rate=attraction * self._examination.mean(),
            click_rate_logged=logged,
            order_rate=order_rate,
            click=click.astype(np.int8),
            conversion=conversion.astype(np.int8),
        )

    def offer(
        self, day: int, hour: int, count: int, width: int, rng: np.random.Generator
    ) -> Offers:
        """Draws ``count`` requests of an hour and ``width`` shops for each, as users, shops and
        what is remembered of them stand now.

        Leaves no trace, so requests can be drawn that are not those of the log.
        """
        requests = draw_requests(
            self.settings,
            self.users,
            self.settings.start + timedelta(days=day, hours=hour),
            count,
            rng,
        )
        shop = draw_candidates(self.shops, requests, day, width, rng)
        minutes = (
            self.shops.minutes[shop]
            + _PEAK_MINUTES[requests.period][:, None]
            + rng.normal(0, 4, shop.shape)
        )
        offered = rng.random(shop.shape) < self.shops.promotion[shop]
        return Offers(
            requests=requests,
            user_orders=self._user_orders[requests.user],
            history=self._histories.shops[requests.user],
            shop=shop,
            shop_orders=self._shop_orders[shop],
            minutes=np.rint(minutes).clip(5).astype(np.float32),
            discount=np.where(offered, rng.integers(1, 5, shop.shape) / 10, 0.0).astype(np.float32),
        )

    def probabilities(self, offers: Offers) -> tuple[Floats, Floats]:
        """True probabilities ``[requests, candidates]``: of a click where the shop is looked at
        (``a``), and of an order after it.
        """
        click, conversion = (
            _sigmoid(values + intercept)
            for values, intercept in zip(self._utilities(offers), self._intercepts, strict=True)
        )
        return click, conversion

    def _utilities(self, offers: Offers) -> Floats:
        """Utilities without intercepts ``[tasks, requests, candidates]``."""
        requests, shop, history = offers.requests, offers.shop, offers.history
        shops, cuisine = self.shops, self.shops.cuisine[shop]
        known = history >= 0
        visited = np.where(known, shops.cuisine[history], -1)
        same_cuisine = (visited[:, None, :] == cuisine[:, :, None]).sum(axis=2)
        facts = np.empty((*shop.shape, len(FACTS)), np.float32)
        facts[:, :, 0] = 1.0
        facts[:, :, 1 : 1 + TASTES] = (
            self.users.taste[requests.user][:, None, :] * shops.taste[shop]
        )
        facts[:, :, FACTS.index("price")] = 1.0 - np.abs(
            self.users.budget[requests.user][:, None] - shops.price_level[shop]
        )
        facts[:, :, FACTS.index("delivery")] = (35.0 - offers.minutes) / 8.0
        facts[:, :, FACTS.index("discount")] = offers.discount / 0.15
        facts[:, :, FACTS.index("rating")] = (shops.rating[shop] - 4.1) / 0.32
        facts[:, :, FACTS.index("quality")] = shops.quality[shop]
        facts[:, :, FACTS.index("repeat")] = (history[:, None, :] == shop[:, :, None]).any(axis=2)
        facts[:, :, FACTS.index("habit")] = same_cuisine / known.sum(axis=1).clip(min=1)[:, None]

        domain = domain_index(
            requests.scene, requests.period, requests.region, self.settings.regions
        )
        moved = self._moved(requests.time)
        utilities = np.empty((len(BASE_WEIGHTS), *shop.shape), np.float32)
        for task in range(len(BASE_WEIGHTS)):
            weights = self.interests.weights(task, domain, moved)
            utilities[task] = np.matmul(facts, weights[:, : len(FACTS), None])[:, :, 0]
            utilities[task] += np.take_along_axis(weights[:, len(FACTS) :], cuisine, axis=1)
        return utilities

    def _moved(self, time: Ints) -> Floats:
        """How far interests have moved, in radians ``[requests]``: a straight ramp of
        ``drift_days`` from the start of the drift.
        """
        elapsed = (time / 1e6 - self.drift_start.timestamp()) / 86_400 / self.settings.drift_days
        return (elapsed.clip(0, 1) * self.settings.drift * np.pi / 2).astype(np.float32)

    def _solve_intercepts(self, rng: np.random.Generator) -> tuple[float, float]:
        """Intercepts that give the wanted rates on requests of the first day, before anyone has
        a history; they leave no trace.
        """
        hours = np.stack(
            [
                self._utilities(
                    self.offer(0, hour, _PROBE_REQUESTS // 24, self.settings.candidates, rng)
                )
                for hour in range(24)
            ]
        )
        click, conversion = hours[:, 0], hours[:, 1]
        traffic = self._requests.sum(axis=0)[:, None, None]
        first = _intercept(
            click, traffic, self.settings.click_rate / float(self._examination.mean())
        )
        return first, _intercept(
            conversion, traffic * _sigmoid(click + first), self.settings.conversion_rate
        )


def _sigmoid(utility: Floats) -> Floats:
    """Probabilities in float32, kept off 0 and 1."""
    bounded = np.clip(utility, -_LARGEST_UTILITY, _LARGEST_UTILITY)
    probability: Floats = (1.0 / (1.0 + np.exp(-bounded))).astype(np.float32)
    return probability


def _intercept(utility: Floats, weight: Floats | Ints, rate: float) -> float:
    """The constant that brings the weighted mean of ``sigmoid(utility + constant)`` to ``rate``,
    by bisection.
    """
    weights = np.broadcast_to(weight, utility.shape).astype(np.float64)
    low, high = -20.0, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        if np.average(_sigmoid(utility + middle), weights=weights) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
