"""The area under the ROC curve, for whoever ranks rows: the simulator, metrics, resamples."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def roc_auc(
    labels: NDArray[np.generic], scores: NDArray[np.generic], weights: Floats | None = None
) -> float | None:
    """Gives the share of (positive, negative) pairs, by weight, that the scores put in the right
    order; a tie counts half. None where rows of positive weight hold one class alone.

    Args:
      labels: ``[N]``, 0 or 1.
      scores: ``[N]``, finite.
      weights: ``[N]`` non-negative; None for 1.
    """
    won, lost = labels == 1, labels == 0
    w = np.ones(len(labels)) if weights is None else weights
    if not (w[won].any() and w[lost].any()):
        return None
    order, below, through = place_positives(labels, scores)
    return weighted_auc(w[lost][order], w[won], below, through)


def place_positives(
    labels: NDArray[np.generic], scores: NDArray[np.generic]
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


def dot(first: Floats, second: Floats) -> float:
    """Inner product of two vectors. Not by BLAS: its own threads halve the speed of callers that
    run in threads.
    """
    return float(np.einsum("i,i->", first, second))
