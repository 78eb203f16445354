"""Says where a task has too few outcomes of a kind for a figure to mean something."""

import numpy as np
from numpy.typing import ArrayLike

from trainer.metrics.results import Outcomes


def too_few(labels: ArrayLike, weights: ArrayLike, minimum: int) -> Outcomes | None:
    """The outcomes of rows where those of a kind are too few; None where a task is decidable.

    Both kinds are counted: four positives among a hundred thousand rows say as little of a ranking
    as four negatives do. Rows of weight 0 count for nothing.

    Args:
      labels: ``[N]``, 0 or 1; of amounts, whether they are above the typical one.
      weights: ``[N]``, not negative.
      minimum: of either kind (``evaluation.minimum_positives``).
    """
    counted = np.asarray(labels)[np.asarray(weights) > 0] > 0
    positives = int(counted.sum())
    found = Outcomes(positives=positives, negatives=counted.size - positives)
    return found if min(found.positives, found.negatives) < minimum else None


def in_words(outcomes: Outcomes) -> str:
    """``undecidable (4 positives)``: the kind of which there are fewer."""
    fewer = min(outcomes.positives, outcomes.negatives)
    kind = "positive" if outcomes.positives == fewer else "negative"
    return f"undecidable ({fewer:,} {kind}{'' if fewer == 1 else 's'})"
