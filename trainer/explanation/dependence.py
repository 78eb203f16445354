"""Finds inputs that tell each other: what one of them loses when it is permuted, the other still
says.

Of an input y and another x it is the share of y's entropy that x takes away, less what a permuted x
seems to take away, since values that few rows have tell everything of these rows:
``(H(y | x permuted) - H(y | x)) / H(y | x permuted)``. The uncertainty coefficient (Theil 1970)
with that correction is our choice. Of each request one row counts: the others have its user and
context in common, whatever these depend on.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.random_streams import Purpose, random_stream
from trainer.explanation.inputs import Input, InputRows
from trainer.metrics.explanation_results import Dependence
from trainer.target_rows import REQUEST

STRONG = 0.8
"""Of what is unknown, the share from which inputs are named."""
_BINS = 16
_MOST_ROWS = 5_000
"""Requests that are looked at: pairs are many where inputs are."""
_LEAST_UNKNOWN = 0.05
"""Nats; where chance leaves less, nothing can be said."""

Codes = npt.NDArray[np.intp]


def dependent_inputs(inputs: Sequence[Input], rows: InputRows, seed: int) -> tuple[Dependence, ...]:
    """The pairs of read inputs of which one tells at least ``STRONG`` of the other, most first.

    Args:
      inputs: those that are permuted.
      rows: as they are.
      seed: of the experiment.
    """
    read = [one for one in inputs if one.about.read]
    _, first = np.unique(rows.columns[REQUEST], return_index=True)
    first = first[:_MOST_ROWS]  # by fingerprint, so by chance
    codes = {
        one.name: _codes([rows.parts[part][first] for part in one.about.parts]) for one in read
    }
    order = random_stream(seed, Purpose.PERMUTED_INPUT).permutation(len(first))
    found = []
    for told, by in permutations(codes, 2):
        share = _share_told(codes[told], codes[by], order)
        if share >= STRONG:
            found.append(Dependence(input=told, by=by, share=share))
    return tuple(sorted(found, key=lambda one: -one.share))


def _share_told(y: Codes, x: Codes, order: npt.NDArray[np.intp]) -> float:
    by_chance = _unknown(y, x[order])
    return 1.0 - _unknown(y, x) / by_chance if by_chance > _LEAST_UNKNOWN else 0.0


def _unknown(y: Codes, x: Codes) -> float:
    """H(y | x) in nats."""
    pairs = np.unique(x * np.intp(y.max() + 1) + y, return_counts=True)[1]
    return _entropy(pairs) - _entropy(np.bincount(x))


def _entropy(counts: npt.NDArray[np.intp]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _codes(parts: Sequence[npt.NDArray[Any]]) -> Codes:
    """Rows with the same values of all parts have the same number; numbers are cut into 16 parts of
    equal rows.
    """
    columns = []
    for part in parts:
        values = part.reshape(len(part), -1)
        columns += [_binned(column) for column in values.T]
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _binned(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if column.dtype.kind != "f":
        return column
    borders = np.quantile(column, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(np.unique(borders), column)
