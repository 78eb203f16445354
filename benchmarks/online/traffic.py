"""Live requests of the simulated marketplace: who asks, which shops are retrieved, and what
would come of showing them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa

from configs import Experiment, InputError
from preprocessing.logs.schema import Column
from preprocessing.simulate import marketplace_of
from preprocessing.simulator.log_tables import known_columns
from preprocessing.simulator.marketplace import Marketplace, Offers
from preprocessing.simulator.traffic import traffic_shares
from preprocessing.simulator.world import Floats, Ints
from preprocessing.validation.coercion import coerce

_MONEY_PER_PRICE_LEVEL = 10.0


@dataclass(frozen=True)
class Traffic:
    """Requests with their candidates and the truth about them.

    Attributes:
      marketplace: where they happen.
      days: when, by the UTC date on which the day begins.
      hours: requests and candidates, hour by hour; every other array has their order.
      user: ``[requests]``.
      attraction: probability that a candidate is clicked where it is looked at ``[requests,
        candidates]``.
      order_rate: probability that a clicked one is ordered from ``[requests, candidates]``.
      money: what an order is worth ``[requests, candidates]``.
      examination: probability that each position is looked at ``[shown]``.
    """

    marketplace: Marketplace
    days: tuple[date, ...]
    hours: tuple[Offers, ...]
    user: Ints
    attraction: Floats
    order_rate: Floats
    money: Floats
    examination: Floats

    def tables(self, columns: list[Column]) -> Iterator[pa.Table]:
        """The raw columns that a serving request carries, a row a candidate, hour by hour; values
        as preprocessing reads them.

        Raises:
          InputError: a column that the simulator does not write.
        """
        for offers in self.hours:
            known = known_columns(self.marketplace, offers)
            if missing := [column.name for column in columns if column.name not in known]:
                raise InputError(
                    f"the simulator has no column '{missing[0]}', which the model reads; it has:"
                    f" {', '.join(known)}"
                )
            yield pa.table(
                {column.name: coerce(known[column.name], column.kind).values for column in columns}
            )


def draw_traffic(experiment: Experiment, requests: int, candidates: int, seed: int) -> Traffic:
    """Draws live requests on the days of ``evaluation.split``.

    Args:
      experiment: that of the logs.
      requests: how many, over all these days, as the traffic of the logs is spread.
      candidates: shops retrieved for each.
      seed: of the requests and candidates; the world itself follows from the experiment's own.

    Raises:
      ConfigError: the experiment has no ``simulation`` section.
      InputError: fewer candidates than are shown or too many for the shops, or no simulated day
        begins in the split.
    """
    marketplace = marketplace_of(experiment)
    settings, split = marketplace.settings, experiment.splits[experiment.evaluation.split]
    most = settings.shops // (2 * settings.regions)
    if not settings.candidates <= candidates <= most:
        raise InputError(
            f"candidates must be from {settings.candidates} (what is shown) to {most} (half of a"
            f" region's shops), received {candidates}"
        )
    days = [
        day for day in range(settings.days) if split.start <= _begin(marketplace, day) < split.end
    ]
    if not days:
        raise InputError(f"no simulated day begins in split '{experiment.evaluation.split}'")
    rng = np.random.default_rng(seed)
    shares = traffic_shares(settings)[days]
    counts = rng.multinomial(requests, (shares / shares.sum()).ravel()).reshape(shares.shape)
    hours = []
    for day in range(days[-1] + 1):
        if day in days:
            by_hour = counts[days.index(day)].tolist()
            hours += [
                marketplace.offer(day, hour, count, candidates, rng)
                for hour, count in enumerate(by_hour)
                if count
            ]
        marketplace.simulate_day(day)
    truth = [marketplace.probabilities(offers) for offers in hours]
    shop = np.concatenate([offers.shop for offers in hours])
    return Traffic(
        marketplace=marketplace,
        days=tuple(_begin(marketplace, day).date() for day in days),
        hours=tuple(hours),
        user=np.concatenate([offers.requests.user for offers in hours]),
        attraction=np.concatenate([attraction for attraction, _ in truth]),
        order_rate=np.concatenate([order_rate for _, order_rate in truth]),
        money=(_MONEY_PER_PRICE_LEVEL * marketplace.shops.price_level[shop]).astype(np.float32),
        examination=np.array(settings.examination, np.float32),
    )


def _begin(marketplace: Marketplace, day: int) -> datetime:
    return marketplace.settings.start + timedelta(days=day)
