"""Rates of arms and lifts between them, with 95% intervals from resampled users."""

import hashlib
from collections.abc import Mapping
from typing import NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from preprocessing.simulator.world import Ints
from trainer.metrics.task_metrics import UNDEFINED
from trainer.metrics.user_draws import percentile_interval

FIGURES = ("click_rate", "order_rate", "gmv")
"""Clicks per shown impression, orders per request, money of orders per request."""

RESAMPLES = 1_000
_DRAWN_AT_ONCE = 100

Floats = npt.NDArray[np.float64]


class Figure(TypedDict):
    """A figure and its interval ``[low, high]``; None where it is undefined."""

    value: float | None
    ci95: list[float] | None


class Arm(TypedDict):
    """An arm's size and its ``FIGURES``."""

    requests: int
    users: int
    figures: dict[str, Figure]


class View(TypedDict):
    """Arms side by side.

    Attributes:
      arms: by name.
      lift: treatment / control - 1, by figure.
      reach: where there are reference lines, for control and treatment, by figure: (arm - random) /
        (true - random).
    """

    arms: dict[str, Arm]
    lift: dict[str, Figure]
    reach: NotRequired[dict[str, dict[str, Figure]]]


def in_treatment(user: Ints, seed: int) -> npt.NDArray[np.bool_]:
    """Whether each request's user ``[requests]`` is in the treatment half: a bit of the hash of
    seed and id, so a user stays in an arm.
    """
    users, inverse = np.unique(user, return_inverse=True)
    bits = [hashlib.sha256(f"{seed} u{number}".encode()).digest()[0] & 1 for number in users]
    return np.array(bits, bool)[inverse]


def sums_by_user(user: Ints, outcomes: Floats) -> Floats:
    """Requests and the sums of ``outcomes [requests, 3]`` (``play.OUTCOMES``) of each user with
    a request: ``[users, 4]``, by number.
    """
    users, inverse = np.unique(user, return_inverse=True)
    columns = (np.ones(len(user)), *outcomes.T)
    return np.stack([np.bincount(inverse, column, len(users)) for column in columns], axis=1)


def view(arms: Mapping[str, Floats], shown: int, seed: int, paired: bool) -> View:
    """Lays arms side by side.

    An interval spans the 2.5th to the 97.5th percentile of ``RESAMPLES`` resamples, each of as many
    users as there are, with replacement. It is None for fewer than two users, and where more than
    5% of the resamples leave the figure undefined.

    Args:
      arms: ``sums_by_user`` of ``control`` and ``treatment``, maybe of ``random`` and ``true``.
      shown: impressions of a request.
      seed: of the resamples.
      paired: whether all arms have the same users, who are then drawn together; else each arm's are
        drawn by themselves.
    """
    drawn = (
        _resampled(list(arms.values()), seed)
        if paired
        else [_resampled([sums], seed + i)[0] for i, sums in enumerate(arms.values())]
    )
    # The figures of the whole, then of the resamples: [1 + RESAMPLES, 3].
    rates = {
        name: _rates(np.vstack([sums.sum(axis=0), resamples]), shown)
        for (name, sums), resamples in zip(arms.items(), drawn, strict=True)
    }
    result: View = {
        "arms": {
            name: {
                "requests": int(sums[:, 0].sum()),
                "users": len(sums),
                "figures": _figures(rates[name], len(sums)),
            }
            for name, sums in arms.items()
        },
        "lift": _figures(
            _ratio(rates["treatment"], rates["control"]) - 1.0, min(map(len, arms.values()))
        ),
    }
    if "true" in arms:
        best = rates["true"] - rates["random"]
        result["reach"] = {
            name: _figures(_ratio(rates[name] - rates["random"], best), len(arms[name]))
            for name in ("control", "treatment")
        }
    return result


def _resampled(arms: list[Floats], seed: int) -> list[Floats]:
    """Sums over the users of each resample ``[RESAMPLES, 4]``, of arms with the same users."""
    rng = np.random.default_rng(seed)
    users = len(arms[0])
    parts: list[list[Floats]] = [[] for _ in arms]
    for _ in range(0, RESAMPLES, _DRAWN_AT_ONCE):
        times = rng.multinomial(users, np.full(users, 1.0 / users), _DRAWN_AT_ONCE).astype(
            np.float64
        )
        for part, sums in zip(parts, arms, strict=True):
            part.append(times @ sums)
    return [np.concatenate(part) for part in parts]


def _rates(sums: Floats, shown: int) -> Floats:
    """``FIGURES [..., 3]`` of sums ``[..., 4]``."""
    requests, clicks, orders, money = np.moveaxis(sums, -1, 0)
    return np.stack([clicks / (shown * requests), orders / requests, money / requests], axis=-1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is not positive."""
    return np.divide(
        numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0
    )


def _figures(values: Floats, users: int) -> dict[str, Figure]:
    """From the whole and its resamples ``[1 + RESAMPLES, 3]``, NaN where undefined."""
    found: dict[str, Figure] = {}
    for name, column in zip(FIGURES, values.T, strict=True):
        whole = None if np.isnan(column[0]) else float(column[0])
        sure = whole is not None and users >= 2
        interval = percentile_interval(column[1:]) if sure else UNDEFINED
        found[name] = {
            "value": whole,
            "ci95": None if interval == UNDEFINED else [float(end) for end in interval],
        }
    return found
