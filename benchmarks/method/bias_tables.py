"""A number for every id, added to a model's logit and shrunk towards 0: logistic regression on
one-hot ids with a ridge penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.backbone.frozen_pass import Floats
from trainer.kernels.kernel import Rows

PASSES = 20
"""Newton steps of every table at most; one table needs fewer than ten."""

_SMALLEST_STEP = 1e-9


@dataclass(frozen=True)
class Table:
    """Biases of one feature's ids, as they are to be fitted.

    Attributes:
      ids: of the rows ``[N]``.
      size: number of ids.
      shared: ids below it are those of several values (missing, out of the vocabulary); their
        biases stay 0.
      precision: of the prior.
    """

    ids: Rows
    size: int
    shared: int
    precision: float


def fit_biases(
    logits: Floats, labels: Floats, weights: Floats, tables: Sequence[Table]
) -> list[npt.NDArray[np.float64]]:
    """The biases b that minimise  -sum_n w_n log p(y_n | logit_n + sum_t b_t[id_tn]) + sum_t
    precision_t / 2 |b_t|^2.

    The second sum is what KL(N(b, s^2) || N(0, 1 / precision)) holds of b. Tables alternate, each
    by a Newton step of all its ids at once; a step d is shortened to sign(d) ln(1 + |d|), with
    which a logistic loss cannot rise (Sun and Tran-Dinh 2019, "Generalized self-concordant
    functions", the damped step for nu = 2).

    Args:
      logits: ``[N]``, what the biases are added to.
      labels: 0 or 1, ``[N]``.
      weights: of the rows, ``[N]``.
      tables: of the features.

    Returns:
      Of every table float64 ``[size]``; 0 for an id without rows.
    """
    total, y, w = logits.astype(np.float64), labels.astype(np.float64), weights.astype(np.float64)
    fitted = [np.zeros(table.size) for table in tables]
    for _ in range(PASSES):
        largest = 0.0
        for table, biases in zip(tables, fitted, strict=True):
            p = 0.5 * (1.0 + np.tanh(0.5 * total))
            slope = np.bincount(table.ids, w * (y - p), table.size) - table.precision * biases
            newton = slope / (
                np.bincount(table.ids, w * p * (1.0 - p), table.size) + table.precision
            )
            step = np.sign(newton) * np.log1p(np.abs(newton))
            step[: table.shared] = 0.0
            biases += step
            total += step[table.ids]
            largest = max(largest, np.abs(step).max())
        if largest < _SMALLEST_STEP:
            break
    return fitted
