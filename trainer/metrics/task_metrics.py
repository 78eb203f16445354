"""Computes ranking and calibration metrics of one task on one slice of rows.

Everywhere: ``labels [N]`` holds 0 and 1, ``scores [N]`` probabilities, ``weights [N]`` non-negative
sample weights (1 where absent; a row of weight 0 counts for nothing). A slice that is empty or
holds one class alone is undefined for every metric, and so is GAUC where no request has both
classes: the functions then return ``None``, never NaN.
"""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.errors import InputError
from preprocessing.auc import roc_auc

METRICS = ("auc", "gauc", "log_loss", "ne", "pcoc")
"""Keys of ``task_metrics`` of a probability, in the order in which tables show them."""

AMOUNT_METRICS = ("auc", "gauc", "mae", "rmse", "pcoc")
"""The same of an amount. Its first two are of which rows have more than a typical amount, the next
two in the label's unit, the last predicted over observed amounts.
"""

EVERY_METRIC = tuple(dict.fromkeys((*METRICS[:-1], *AMOUNT_METRICS)))
"""All of either, in the order in which tables show them."""

UNDEFINED: Literal["undefined"] = "undefined"
"""What JSON and tables hold where a metric is ``None``."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CLIP = 1e-7


def task_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    weights: ArrayLike | None,
    groups: ArrayLike,
    amounts: ArrayLike | None = None,
) -> dict[str, float | None]:
    """All of ``METRICS`` at once, or of ``AMOUNT_METRICS``.

    Args:
      labels: ``[N]``, 0 or 1.
      scores: ``[N]`` probabilities.
      weights: ``[N]`` non-negative, or ``None`` for 1.
      groups: ``[N]`` integers, the request each row was shown in.
      amounts: ``[N]``, what was to be predicted, where scores are amounts; None for probabilities.

    Raises:
      InputError: a score is NaN or infinite.
      ValueError: lengths differ, a label is neither 0 nor 1, or a weight is negative or not finite.
    """
    y, p, w = check_rows(labels, scores, weights)
    ranking = {"auc": auc(y, p, w), "gauc": gauc(y, p, w, groups)}
    if amounts is not None:
        return ranking | amount_metrics(np.asarray(amounts, np.float64), p, w)
    return {
        **ranking,
        "log_loss": log_loss(y, p, w),
        "ne": normalised_entropy(y, p, w),
        "pcoc": pcoc(y, p, w),
    }


def metric_names(*, amount: bool) -> tuple[str, ...]:
    """The metrics of an amount, or of a probability."""
    return AMOUNT_METRICS if amount else METRICS


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> float | None:
    """Share of (positive, negative) pairs, by weight, that the scores put in the right order; a
    tie counts half.
    """
    y, p, w = check_rows(labels, scores, weights)
    return roc_auc(y, p, w)


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


def amount_metrics(amounts: Floats, scores: Floats, weights: Floats) -> dict[str, float | None]:
    """Mean absolute error and root of the mean squared error, in the label's unit, and predicted
    over observed amounts; None where no row has weight, the last also where all amounts are 0.
    """
    total, observed = weights.sum(), (weights * amounts).sum()
    if not total > 0:
        return {"mae": None, "rmse": None, "pcoc": None}
    errors = scores - amounts
    return {
        "mae": float((weights * np.abs(errors)).sum() / total),
        "rmse": float(np.sqrt((weights * errors**2).sum() / total)),
        "pcoc": float((weights * scores).sum() / observed) if observed > 0 else None,
    }


def to_json(value: float | None) -> float | Literal["undefined"]:
    """A metric as JSON and tables hold it: the number, or ``"undefined"``."""
    return UNDEFINED if value is None else value


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of the figures that are defined; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


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
