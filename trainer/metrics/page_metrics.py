"""How well a score orders the rows of a request: the page that a user sees."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainer.metrics.results import Interval, PageComparison
from trainer.metrics.task_metrics import UNDEFINED, Floats, request_auc, to_json
from trainer.metrics.user_draws import UserDraws, percentile_interval

PAGE_METRICS = ("ndcg", "mrr", "recall", "gauc")
"""Keys of ``page_values``, in the order in which tables show them."""

_TIES = 0
"""Seed of the order of rows of one score: in a log they often stand in the order in which they were
shown, which is where they were clicked.
"""


class Pages(NamedTuple):
    """The rows that are ordered, and what there was to gain.

    Attributes:
      gains: ``[N]``, not negative: what a row was worth (its label).
      positive: bool ``[N]``, whether it counts as found.
      requests: ``[N]`` integers.
      users: ``[N]`` integers.
      top: how many rows a page shows.
    """

    gains: Floats
    positive: NDArray[np.bool_]
    requests: NDArray[np.generic]
    users: NDArray[np.generic]
    top: int


def page_values(pages: Pages, scores: ArrayLike) -> dict[str, Floats]:
    """The metrics of each request ``[R]``, in the order of ``np.unique``; NaN where a request has
    nothing to gain (and for GAUC nothing to lose).

    ``ndcg``: the gains of the first ``top`` rows, discounted by log2(1 + place), over those of the
    best order (Järvelin and Kekäläinen 2002). ``mrr``: one over the place of the first positive
    row. ``recall``: the share of the positive rows among the first ``top``. ``gauc``: the AUC.
    """
    p = np.asarray(scores, np.float64)
    _, request = np.unique(pages.requests, return_inverse=True)
    count = int(request.max(initial=-1)) + 1
    place = _places(request, p)
    first = place < pages.top
    gained = _sums(request, pages.gains * first / np.log2(place + 2.0), count)
    best = _places(request, pages.gains)
    possible = _sums(request, pages.gains * (best < pages.top) / np.log2(best + 2.0), count)
    positive = pages.positive.astype(np.float64)
    positives = _sums(request, positive, count)
    found = _sums(request, positive * first, count)
    reached = np.full(count, np.inf)
    np.minimum.at(reached, request[pages.positive], place[pages.positive] + 1.0)
    auc = request_auc(positive, p, np.ones(p.size), request)
    of_request = np.full(count, np.nan)
    of_request[request] = auc
    return {
        "ndcg": _share(gained, possible),
        "mrr": np.where(positives > 0, 1.0 / reached, np.nan),
        "recall": _share(found, positives),
        "gauc": of_request,
    }


def compare_pages(
    pages: Pages, sides: Mapping[str, ArrayLike], draws: UserDraws
) -> dict[str, PageComparison]:
    """The metrics under every side, and the last side's difference to the first, with its interval
    from resampled users.

    A figure is the mean over the requests in which it is defined; each counts once, for GAUC by its
    rows.

    Args:
      pages: the rows.
      sides: name -> score of every row ``[N]``: ``backbone``, maybe ``all``, and ``kernel``.
      draws: of the rows' users.
    """
    names, first, rows = np.unique(pages.requests, return_index=True, return_counts=True)
    user = draws.places(pages.users[first])
    values = {side: page_values(pages, scores) for side, scores in sides.items()}
    found = {}
    for metric in PAGE_METRICS:
        weights = rows.astype(np.float64) if metric == "gauc" else np.ones(len(names))
        known = ~np.isnan(values["backbone"][metric])
        total = float(weights[known].sum())
        figures = {
            side: to_json(float((weights * of[metric])[known].sum()) / total if total else None)
            for side, of in values.items()
        }
        difference = np.where(
            known, weights * (values["kernel"][metric] - values["backbone"][metric]), 0.0
        )
        found[metric] = PageComparison(
            **figures,
            delta=to_json(float(difference.sum()) / total if total else None),
            ci95=_interval(difference, weights * known, user, draws) if total else UNDEFINED,
            requests=int(known.sum()),
        )
    return found


def _interval(
    difference: Floats, weights: Floats, user: NDArray[np.intp], draws: UserDraws
) -> Interval:
    if len(draws.users) < 2:
        return UNDEFINED
    count = len(draws.users)
    gained, weighed = (np.bincount(user, of, count) for of in (difference, weights))
    times = draws.times.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return percentile_interval((times @ gained) / (times @ weighed))


def _places(request: NDArray[np.intp], scores: Floats) -> Floats:
    """Each row's place in its request by score, from 0 on, ``[N]``."""
    ties = np.random.default_rng(_TIES).permutation(scores.size)
    order = np.lexsort((ties, -scores, request))
    starts = np.append(0, np.cumsum(np.bincount(request)))[request[order]]
    places = np.empty(scores.size)
    places[order] = np.arange(scores.size) - starts
    return places


def _sums(request: NDArray[np.intp], values: Floats, count: int) -> Floats:
    return np.bincount(request, values, count).astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
