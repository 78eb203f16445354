"""The simulated marketplace's logs and true probabilities as Arrow tables."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs import ConfigError
from configs.prediction.tasks import Tasks
from preprocessing.simulator.marketplace import Impressions, Marketplace, Offers
from preprocessing.simulator.world import CITY_TIERS, DEVICES, SCENES, SEGMENTS, Ints


def log_table(marketplace: Marketplace, shown: Impressions, first_request: int) -> pa.Table:
    """A day's log, a row an impression, in order of time and position.

    Args:
      marketplace: where it happened.
      shown: the day.
      first_request: number of its first request; requests and impressions are numbered throughout
        the log.

    Returns:
      Strings ``impression_id``, ``request_id``, ``user_id``, ``segment``, ``device``, ``shop_id``,
      ``cuisine``, ``scene``, ``region``; ``timestamp`` in microseconds (UTC); integers
      ``city_tier``, ``user_orders``, ``price_level``, ``shop_orders_last_day``, ``position`` (from
      1); numbers ``rating``, ``delivery_minutes``, ``discount`` (a share of the price); ``history``
      (list of ``shop_id``, newest first); ``click`` and ``conversion`` (0 or 1). Everything but the
      last two is known before the click.
    """
    requests, width = shown.click.shape
    return pa.table(
        {
            "impression_id": _impression_ids(shown, first_request),
            "request_id": _numbered("q", np.repeat(first_request + np.arange(requests), width)),
            **known_columns(marketplace, shown.offers),
            "position": pa.array(np.tile(np.arange(1, width + 1, dtype=np.int8), requests)),
            "click": pa.array(shown.click.ravel()),
            "conversion": pa.array(shown.conversion.ravel()),
        }
    )


def known_columns(marketplace: Marketplace, offers: Offers) -> dict[str, pa.Array]:
    """The columns of ``log_table`` that are known before anything is ranked, ``timestamp`` to
    ``region``; a row a request and candidate.
    """
    users, shops, requests = marketplace.users, marketplace.shops, offers.requests
    width = offers.shop.shape[1]
    user, shop = np.repeat(requests.user, width), offers.shop.ravel()
    history, known = np.repeat(offers.history, width, axis=0), offers.history >= 0
    offsets = np.concatenate([[0], np.cumsum(np.repeat(known.sum(axis=1), width))])
    names = _names("s", len(shops.cuisine))
    return {
        "timestamp": pa.array(np.repeat(requests.time, width), pa.timestamp("us", tz="UTC")),
        "user_id": _numbered("u", user),
        "segment": pa.array(SEGMENTS).take(pa.array(users.segment[user])),
        "city_tier": pa.array(np.array(CITY_TIERS, np.int8)[users.city_tier[user]]),
        "device": pa.array(DEVICES).take(pa.array(users.device[user])),
        "user_orders": pa.array(np.repeat(offers.user_orders, width).astype(np.int32)),
        "history": pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)),
            pa.DictionaryArray.from_arrays(pa.array(history[history >= 0]), names),
        ),
        "shop_id": names.take(pa.array(shop)),
        "cuisine": _numbered("c", shops.cuisine[shop]),
        "price_level": pa.array(shops.price_level[shop].astype(np.int8)),
        "rating": pa.array(shops.rating[shop]),
        "shop_orders_last_day": pa.array(offers.shop_orders.ravel().astype(np.int32)),
        "delivery_minutes": pa.array(offers.minutes.ravel()),
        "discount": pa.array(offers.discount.ravel()),
        "scene": pa.array(SCENES).take(pa.array(np.repeat(requests.scene, width))),
        "region": _numbered("r", 1 + np.repeat(requests.region, width)),
    }


@dataclass(frozen=True)
class TruthNames:
    """What the true probabilities are called: as the config calls the tasks that they are of.

    Attributes:
      click: of a click, wherever the impression stands.
      logged: of a click where it stood.
      order: of an order after a click.
      both: of a click and an order.
    """

    click: str
    logged: str
    order: str
    both: str

    @classmethod
    def of(cls, tasks: Tasks) -> "TruthNames":
        """As a config's tasks are called. Raises ``ConfigError`` where they are not those that are
        simulated.
        """
        if tasks.labels != ("click", "conversion") or tasks.steps != (("click", "conversion"),):
            raise ConfigError(
                "tasks: what is simulated are clicks and conversions after them; expected a task"
                " with label 'click', and one after it with label 'conversion', received"
                f" {tasks.words}"
            )
        click, order = tasks.towers[:2]
        entire = tasks.root[order].entire
        return cls(click, f"{click}_logged", order, entire.name if entire else f"{click}_{order}")


def truth_table(shown: Impressions, first_request: int, names: TruthNames) -> pa.Table:
    """True probabilities of a day's impressions (see ``marketplace``): ``impression_id``, and those
    that ``names`` names.
    """
    return pa.table(
        {
            "impression_id": _impression_ids(shown, first_request),
            names.click: pa.array(shown.click_rate.ravel()),
            names.logged: pa.array(shown.click_rate_logged.ravel()),
            names.order: pa.array(shown.order_rate.ravel()),
            names.both: pa.array((shown.click_rate * shown.order_rate).ravel()),
        }
    )


def _impression_ids(shown: Impressions, first_request: int) -> pa.Array:
    return _numbered("i", first_request * shown.click.shape[1] + np.arange(shown.click.size))


def _names(prefix: str, count: int) -> pa.Array:
    return _numbered(prefix, np.arange(count))


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    """``prefix`` followed by each number."""
    return pc.binary_join_element_wise(
        pa.scalar(prefix), pc.cast(pa.array(numbers), pa.string()), ""
    )
