"""Ranking and calibration metrics of one task on one slice of rows.

Everywhere: ``labels [N]`` holds 0 and 1, ``scores [N]`` probabilities, ``weights [N]`` non-negative
sample weights (1 where absent; a row of weight 0 counts for nothing). A slice that is empty or
holds one class alone is undefined for every metric, and so is GAUC where no request has both
classes: the functions then return ``None``, never NaN.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.errors import InputError

METRICS = ("auc", "gauc", "log_loss", "ne", "pcoc")
"""Keys of ``task_metrics``, in the order in which tables show them."""

UNDEFINED: Literal["undefined"] = "undefined"
"""What JSON and tables hold where a metric is ``None``."""

Figure = float | Literal["undefined"]
"""A metric as JSON holds it."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CLIP = 1e-7


def task_metrics(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, groups: ArrayLike
) -> dict[str, float | None]:
    """All of ``METRICS`` at once.

    Args:
      labels: ``[N]``, 0 or 1.
      scores: ``[N]`` probabilities.
      weights: ``[N]`` non-negative, or ``None`` for 1.
      groups: ``[N]`` integers, the request each row was shown in.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: lengths differ, a label is neither 0 nor 1, or a weight is negative or not finite.
    """
    y, p, w = check_rows(labels, scores, weights)
    return {
        "auc": auc(y, p, w),
        "gauc": gauc(y, p, w, groups),
        "log_loss": log_loss(y, p, w),
        "ne": normalised_entropy(y, p, w),
        "pcoc": pcoc(y, p, w),
    }


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float | None:
    """Share of (positive, negative) pairs, by weight, that the scores put in the right order; a
    tie counts half.
    """
    y, p, w = check_rows(labels, scores, weights)
    if not has_both_classes(y, w):
        return None
    order, below, through = place_positives(y, p)
    return weighted_auc(w[y == 0][order], w[y == 1], below, through)


def gauc(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, groups: ArrayLike
) -> float | None:
    """AUC inside each request, averaged by the requests' weight (rows); requests with one class
    are left out (Zhu et al. 2017).
    """
    y, p, w = check_rows(labels, scores, weights)
    by_row = request_auc(y, p, w, groups)
    counted = ~np.isnan(by_row)
    total = w[counted].sum()
    return float((by_row[counted] * w[counted]).sum() / total) if total > 0 else None


def log_loss(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float | None:
    """Mean cross-entropy in nats, by weight, with scores clipped to [1e-7, 1 - 1e-7]."""
    y, p, w = check_rows(labels, scores, weights)
    return float((w * row_log_loss(y, p)).sum() / w.sum()) if has_both_classes(y, w) else None


def normalised_entropy(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> float | None:
    """Log loss over the entropy of the base rate: 1 is no better than predicting the mean (He et
    al. 2014, section 2).
    """
    y, p, w = check_rows(labels, scores, weights)
    loss = log_loss(y, p, w)
    return None if loss is None else float(loss / base_entropy((w * y).sum(), w.sum()))


def pcoc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float | None:
    """Predicted over observed positives: 1 is calibrated on average, above 1 over-confident."""
    y, p, w = check_rows(labels, scores, weights)
    return float((w * p).sum() / (w * y).sum()) if has_both_classes(y, w) else None


def to_json(value: float | None) -> Figure:
    """A metric as JSON and tables hold it: the number, or ``"undefined"``."""
    return UNDEFINED if value is None else value


def check_rows(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Labels, scores and weights as ``[N]`` float64. Raises as ``task_metrics`` says."""
    y, p = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    w = np.ones_like(y) if weights is None else np.asarray(weights, np.float64)
    if not (y.ndim == 1 and y.shape == p.shape == w.shape):
        raise ValueError(
            "labels, scores and weights should be vectors of one length. Received: shapes"
            f" {y.shape}, {p.shape}, {w.shape}"
        )
    if not ((y == 0) | (y == 1)).all():
        raise ValueError(f"labels should be 0 or 1. Received: {y[(y != 0) & (y != 1)][0]}")
    if not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError(
            "weights should be finite and not negative. Received:"
            f" {w[~(np.isfinite(w) & (w >= 0))][0]}"
        )
    if not (finite := np.isfinite(p)).all():
        raise InputError(
            f"{(~finite).sum()} of {p.size} scores are NaN or infinite: the training has diverged;"
            " a lower learning rate may help"
        )
    return y, p, w


def has_both_classes(labels: Floats, weights: Floats) -> bool:
    """Whether rows of positive weight hold a 0 and a 1."""
    seen = labels[weights > 0]
    return bool(seen.size and seen.min() != seen.max())


def place_positives(
    labels: Floats, scores: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Where the positives stand among the negatives: all that AUC needs of the scores, whatever the
    weights.

    Returns:
      ``order [negatives]``, which sorts the negatives by score, and for each positive how many
      negatives lie ``below [positives]`` it and ``through [positives]`` it (below or tied).
    """
    negative, positive = scores[labels == 0], scores[labels == 1]
    order = np.argsort(negative, kind="stable")
    ascending = negative[order]
    return (
        order,
        np.searchsorted(ascending, positive, "left"),
        np.searchsorted(ascending, positive, "right"),
    )


def weighted_auc(
    negative_weights: Floats,
    positive_weights: Floats,
    below: NDArray[np.intp],
    through: NDArray[np.intp],
    buffer: Floats | None = None,
) -> float:
    """AUC from ``place_positives`` with the negatives' weights in its order; both classes must have
    weight.

    Args:
      negative_weights: ``[negatives]``, sorted by score.
      positive_weights: ``[positives]``.
      below: ``[positives]``.
      through: ``[positives]``.
      buffer: ``[negatives + 1]`` scratch space with 0 in front, to be used again by repeated calls.
    """
    passed = np.zeros(negative_weights.size + 1) if buffer is None else buffer
    np.cumsum(negative_weights, out=passed[1:])
    won = dot(positive_weights, passed[below] + passed[through])
    return float(won / positive_weights.sum() / (2.0 * passed[-1]))


def request_auc(labels: Floats, scores: Floats, weights: Floats, groups: ArrayLike) -> Floats:
    """The AUC of each row's request, ``[N]``; NaN where the request has one class alone."""
    keys = np.asarray(groups)
    if keys.shape != labels.shape:
        raise ValueError(
            f"groups should be a vector as long as labels. Received: shapes {keys.shape},"
            f" {labels.shape}"
        )
    if not keys.size:
        return np.empty(0)
    order = np.lexsort((scores, keys))
    key, score, negative = keys[order], scores[order], (weights * (1.0 - labels))[order]
    positive = (weights * labels)[order]
    starts_request = np.append(True, key[1:] != key[:-1])
    starts_tie = starts_request | np.append(True, score[1:] != score[:-1])

    requests, ties = np.flatnonzero(starts_request), np.flatnonzero(starts_tie)
    request_of_tie = (np.cumsum(starts_request) - 1)[ties]
    tied_negative, tied_positive = np.add.reduceat(negative, ties), np.add.reduceat(positive, ties)
    negatives, positives = np.add.reduceat(negative, requests), np.add.reduceat(positive, requests)

    before_tie = np.cumsum(tied_negative) - tied_negative
    before_request = before_tie[starts_request[ties]]
    won = tied_positive * (before_tie - before_request[request_of_tie] + 0.5 * tied_negative)
    pairs = negatives * positives
    value = np.full(requests.size, np.nan)
    np.divide(np.bincount(request_of_tie, won, requests.size), pairs, out=value, where=pairs > 0)

    by_row = np.empty(labels.size)
    by_row[order] = value[np.cumsum(starts_request) - 1]
    return by_row


def dot(first: Floats, second: Floats) -> float:
    """Inner product of two vectors. Not by BLAS: its own threads halve the speed of callers that
    run in threads.
    """
    return float(np.einsum("i,i->", first, second))


def row_log_loss(labels: Floats, scores: Floats) -> Floats:
    """Cross-entropy of each row in nats, ``[N]``, with scores clipped to [1e-7, 1 - 1e-7]."""
    p = np.clip(scores, _CLIP, 1.0 - _CLIP)
    return -np.log(np.where(labels == 1, p, 1.0 - p))


def base_entropy(positives: Any, total: Any) -> Any:
    """Entropy in nats of the base rate ``positives / total``, which lies strictly between 0 and
    1; elementwise over arrays.
    """
    rate = positives / total
    return -(rate * np.log(rate) + (1.0 - rate) * np.log1p(-rate))
