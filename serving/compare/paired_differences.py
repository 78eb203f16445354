"""Computes paired differences between two scorings of the same rows, and what they do to each
request's order.
"""

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import InputError
from serving.client.asked_model import Answers
from serving.wire.signatures import SERVED_DOMAIN

Floats = npt.NDArray[np.float64]


@dataclass
class Paired:
    """Takes in requests one by one; both scorings of a request have the same rows in the same
    order.

    Attributes:
      by: the score that orders a request's rows.
      most_movers: rows to keep whose score changed most.
    """

    by: str
    most_movers: int = 10
    _differences: dict[str, list[Floats]] = field(default_factory=dict)
    _means: dict[str, Floats] = field(default_factory=dict)
    _orders: list[tuple[float, ...]] = field(default_factory=list)
    _movers: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)
    _other_domain: int = 0

    def add(self, places: list[str], first: Answers, other: Answers) -> None:
        """A request: where its rows came from, and their answers. Raises ``InputError`` where
        the two have no score ``by`` in common.
        """
        scores = [
            name
            for name, value in first[0].items()
            if isinstance(value, float) and isinstance(other[0].get(name), float)
        ]
        if self.by not in scores:
            raise InputError(
                f"no score {self.by!r} on both sides; in common are: {', '.join(scores) or 'none'}"
            )
        pairs = {
            name: np.array([[row[name] for row in side] for side in (first, other)], np.float64)
            for name in scores
        }
        for name, pair in pairs.items():
            self._differences.setdefault(name, []).append(pair[1] - pair[0])
            self._means[name] = self._means.get(name, np.zeros(2)) + pair.sum(axis=1)
        ranks = np.argsort(np.argsort(-pairs[self.by], axis=1, kind="stable"), axis=1) + 1
        if len(places) > 1:
            self._orders.append(_order(pairs[self.by], ranks))
        domains = [
            (one.get(SERVED_DOMAIN), two.get(SERVED_DOMAIN))
            for one, two in zip(first, other, strict=True)
        ]
        self._other_domain += sum(one != two for one, two in domains)
        moved = np.abs(pairs[self.by][1] - pairs[self.by][0])
        for index in np.argsort(-moved, kind="stable")[: self.most_movers].tolist():
            mover = {
                "row": places[index],
                "scores": {name: pair[:, index].tolist() for name, pair in pairs.items()},
                "ranks": ranks[:, index].tolist(),
                SERVED_DOMAIN: list(domains[index]),
            }
            heapq.heappush(self._movers, (float(moved[index]), -next(self._numbers), mover))
        while len(self._movers) > self.most_movers:
            heapq.heappop(self._movers)

    def figures(self, resamples: int = 1_000, seed: int = 0) -> dict[str, Any]:
        """What was found; a pair is always the first side's value and the other's.

        Args:
          resamples: of requests, for the intervals.
          seed: of the resamples.

        Returns:
          ``requests``, ``rows``; by score ``means``, ``difference`` (other - first: ``mean``,
          ``ci95``, null of one request alone, ``p95`` and ``max`` of its absolute value, ``same``:
          share of rows without one); ``order``: of requests of two rows or more (null where there
          is none), share with ``another_first``, share of ``swapped_pairs``, ``mean_places`` and
          ``most_places`` that a row moved;
          ``other_served_domain``: rows of another one; ``movers``: the rows whose score ``by``
            changed most.
        """
        counts = np.array([len(part) for part in self._differences.get(self.by, [])], np.float64)
        rows = counts.sum()
        scores = {}
        for name, parts in self._differences.items():
            flat = np.concatenate(parts)
            sums = np.array([part.sum() for part in parts])
            absolute = np.abs(flat)
            scores[name] = {
                "means": (self._means[name] / rows).tolist(),
                "difference": {
                    "mean": float(flat.mean()),
                    "ci95": list(clustered_interval(sums, counts, resamples, seed))
                    if len(parts) > 1
                    else None,
                    "p95": float(np.percentile(absolute, 95)),
                    "max": float(absolute.max()),
                    "same": float((absolute == 0).mean()),
                },
            }
        return {
            "requests": len(counts),
            "rows": int(rows),
            "scores": scores,
            "order": self._order_figures(),
            "other_served_domain": self._other_domain,
            "movers": [
                mover
                for _, _, mover in sorted(self._movers, key=lambda entry: entry[:2], reverse=True)
            ],
        }

    def _order_figures(self) -> dict[str, Any] | None:
        if not self._orders:
            return None
        another, swapped, places, most = np.array(self._orders).T
        return {
            "by": self.by,
            "requests": len(self._orders),
            "another_first": float(another.mean()),
            "swapped_pairs": float(swapped.mean()),
            "mean_places": float(places.mean()),
            "most_places": int(most.max()),
        }


def clustered_interval(
    sums: Floats, counts: Floats, resamples: int, seed: int
) -> tuple[float, float]:
    """The 95% bootstrap interval of a mean over rows, requests resampled: a request's rows belong
    together.

    Args:
      sums: of each request ``[R]``.
      counts: its rows ``[R]``.
      resamples: how many.
      seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        drawn = np.bincount(generator.integers(0, len(sums), len(sums)), minlength=len(sums))
        means[index] = (drawn @ sums) / (drawn @ counts)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _order(pair: Floats, ranks: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """Of a request: whether another row is first, share of pairs whose order turned round, mean
    and most places that a row moved.
    """
    above = [np.sign(np.subtract.outer(scores, scores)) for scores in pair]
    rows = pair.shape[1]
    moved = np.abs(ranks[1] - ranks[0])
    swapped = np.count_nonzero(above[0] * above[1] < 0) / (rows * (rows - 1))
    return (
        float(ranks[0].argmin() != ranks[1].argmin()),
        swapped,
        float(moved.mean()),
        float(moved.max()),
    )
