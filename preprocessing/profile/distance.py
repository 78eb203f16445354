"""How far two distributions of a feature are apart: the population stability index.

The index of shares p and q over bins is the sum of (p - q) * ln(p / q), the symmetric divergence of
Kullback and Leibler (1951). In credit scoring, where it comes from, up to 0.1 counts as little
change, up to 0.25 as moderate, and more as one that needs a look (Lewis 1994, An Introduction to
Credit Scoring; Siddiqi 2006, Credit Risk Scorecards). Two samples of n and m rows of one
distribution are (bins - 1) * (1/n + 1/m) apart in the mean (Yurdakul and Naranjo 2020, Statistical
properties of the population stability index).
"""

from collections.abc import Iterable, Sequence
from math import fsum, log

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.features.numbers import equal_shares
from preprocessing.profile.data_profile import Bins
from preprocessing.profile.number_sums import Floats

DIGITS = 6
"""Of shares and distances."""

BINS = 10  # of numbers, as usual
VALUES = 20  # of text
ID_COVERAGE = 0.5
"""Where the most frequent values together have less than this share, values are ids, of which
single ones come and go: they have no distance, and their share outside the vocabulary tells (our
choice).
"""

_LEAST = 1e-4  # a share that is smaller, or 0, counts as this: one row of a sample (our choice)


def stability_index(reference: Sequence[float], found: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins."""
    pairs = zip(reference, found, strict=True)
    floored = [(max(p, _LEAST), max(q, _LEAST)) for p, q in pairs]
    return round(fsum((p - q) * log(p / q) for p, q in floored), DIGITS)


def most_frequent(texts: pa.Array, most: int) -> dict[str, float]:
    """The most frequent values with their shares, ties by value; nulls and empty texts do not
    count.
    """
    counted = pa.Table.from_struct_array(pc.value_counts(texts.drop_null()))
    counted = counted.filter(pc.not_equal(counted["values"], ""))
    total = pc.sum(counted["counts"]).as_py() or 1
    first = counted.sort_by([("counts", "descending"), ("values", "ascending")]).slice(0, most)
    pairs = zip(first["values"].to_pylist(), first["counts"].to_pylist(), strict=True)
    return {value: round(count / total, DIGITS) for value, count in pairs}


def bins_of_numbers(numbers: Floats, missing: float) -> Bins:
    """The distribution of sorted numbers over bins of about equal shares.

    Args:
      numbers: of a sample, sorted, without missing ones.
      missing: share of missing ones in all rows.
    """
    boundaries = equal_shares(numbers, BINS)
    return Bins(boundaries=boundaries, shares=shares_of_numbers(boundaries, numbers, missing))


def shares_of_numbers(
    boundaries: Sequence[float], numbers: Floats, missing: float
) -> tuple[float, ...]:
    """The shares of the same bins in other numbers."""
    places = np.searchsorted(np.asarray(boundaries, np.float64), numbers, side="right")
    counts = np.bincount(places, minlength=len(boundaries) + 1)
    return _with_missing((count / max(len(numbers), 1) for count in counts.tolist()), missing)


def bins_of_texts(texts: pa.Array, missing: float) -> Bins | None:
    """The distribution of a sample's values over the most frequent; None where they are ids."""
    top = most_frequent(texts, VALUES)
    if sum(top.values()) < ID_COVERAGE:
        return None
    return Bins(values=tuple(top), shares=shares_of_values(tuple(top), texts, missing))


def shares_of_values(values: Sequence[str], texts: pa.Array, missing: float) -> tuple[float, ...]:
    """The shares of the same values in other texts."""
    every = most_frequent(texts, len(texts))
    shares = [every.get(value, 0.0) for value in values]
    others = max(0.0, 1.0 - fsum(shares)) if every else 0.0
    return _with_missing([*shares, others], missing)


def _with_missing(shares: Iterable[float], missing: float) -> tuple[float, ...]:
    return (*(round(share * (1.0 - missing), DIGITS) for share in shares), missing)
