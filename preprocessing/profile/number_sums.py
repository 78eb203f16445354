"""Mean, deviation and range of numbers: the same bits whatever the order in which batches are
added, in memory that does not grow with them.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

import numpy as np
import numpy.typing as npt

from preprocessing.features.numbers import ROUNDING

Floats = npt.NDArray[np.float64]

_ROUNDING = Fraction(ROUNDING)


@dataclass(frozen=True)
class NumberSums:
    """Mergeable sums of numbers.

    What a batch gives is rounded once, to doubles; sums of batches are fractions and exact, so
    their order is no matter. A fraction of doubles has a power of two as its denominator, so it has
    at most some thousand bits.

    Attributes:
      count: how many numbers.
      total: their sum.
      squares: the sum of their squares.
      least, greatest: their range; None without numbers.
    """

    count: int = 0
    total: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)
    least: float | None = None
    greatest: float | None = None

    @classmethod
    def of(cls, values: Floats) -> "NumberSums":
        """Of a batch's numbers ``[N]``, all of them finite."""
        if not len(values):
            return cls()
        count, mean = len(values), Fraction(float(values.mean()))
        around = Fraction(float(np.square(values - float(mean)).sum()))
        total, squares = count * mean, around + count * mean * mean
        return cls(count, total, squares, float(values.min()), float(values.max()))

    def __add__(self, other: "NumberSums") -> "NumberSums":
        return NumberSums(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            min((x for x in (self.least, other.least) if x is not None), default=None),
            max((x for x in (self.greatest, other.greatest) if x is not None), default=None),
        )

    @property
    def mean(self) -> float | None:
        """None without numbers."""
        return float(self.total / self.count) if self.count else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation; 0 where all numbers are equal, None without any."""
        if not self.count:
            return None
        mean = self.total / self.count
        variance = self.squares / self.count - mean * mean
        return sqrt(variance) if variance > _ROUNDING * mean * mean else 0.0
