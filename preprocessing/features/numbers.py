"""Numbers before they are standardised, how they are, and what is fitted on them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import fsum, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs.prediction.expressions import value_of
from preprocessing.features.batch_columns import BatchColumns, is_list
from preprocessing.features.expressions import operations
from preprocessing.features.feature_kind import Tensor
from preprocessing.features.fitted import FittedFeature

_SAMPLE = 100_000  # rows kept for quantiles: the error of a quantile's rank is about 0.2%
ROUNDING = 1e-24
"""Of doubles, relative to the square of their mean: a variance up to it is none."""

_STANDARD_SCORE_LIMIT = 10.0  # our choice: a hostile number may be an outlier, never an overflow

Floats = npt.NDArray[np.float64]
Sample = tuple[npt.NDArray[np.uint64], Floats]


@dataclass(frozen=True)
class NumberReader:
    """Reads the numbers of a feature.

    Attributes:
      columns: that are read; one, or those of the expression.
      expression: of the columns; None for the column itself.
      log1p: whether sign(x) * log(1 + |x|) of them is taken.
    """

    columns: tuple[str, ...]
    expression: str | None = None
    log1p: bool = False

    def of_tensors(self, raw: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Float64 numbers, 0 where missing, and whether each is missing, both of the shape of raw
        tensors: float32 of one shape, NaN where missing.

        An expression is rounded to float32, as the logarithm is, for the same reason; it is missing
        where a column is, and where it is no finite number.
        """
        from configs.tensorflow_import import tf

        missing = tf.reduce_any(
            tf.stack([tf.logical_not(tf.math.is_finite(column)) for column in raw]), axis=0
        )
        values = [
            tf.cast(tf.where(missing, tf.zeros_like(column), column), tf.float64) for column in raw
        ]
        if self.expression is None:
            (number,) = values
        else:
            named = dict(zip(self.columns, values, strict=True))
            found = _rounded(value_of(self.expression, named, _operations_of_doubles()))
            missing = tf.logical_or(missing, tf.logical_not(tf.math.is_finite(found)))
            number = tf.where(missing, tf.zeros_like(found), found)
        return signed_log1p(number) if self.log1p else number, missing

    def of_batch(self, batch: pa.RecordBatch) -> Floats:
        """The numbers that validated rows have, those of lists one after the other; missing ones
        are left out.
        """
        if self.expression is None:
            column = batch.column(self.columns[0])
            column = column.flatten() if is_list(column) else column
            values: Floats = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
            if self.log1p:
                from configs.tensorflow_import import tf

                values = signed_log1p(tf.constant(values)).numpy()
            return values
        columns = BatchColumns(batch)
        numbers, missing = self.of_tensors([columns.numbers(name) for name in self.columns])
        present: Floats = numbers.numpy()[~missing.numpy()]
        return present


def signed_log1p(values: Tensor) -> Tensor:
    """sign(x) * log(1 + |x|) of float64, elementwise, rounded to float32's 24 bits.

    Vector and scalar code paths of a logarithm differ in the last bit, and so would a row alone and
    the row in a batch.
    """
    from configs.tensorflow_import import tf

    return _rounded(tf.sign(values) * tf.math.log1p(tf.abs(values)))


def standardised(
    numbers: Tensor, missing: Tensor, moments: tuple[float, float] | None, filled: float = 0.0
) -> Tensor:
    """Float64 numbers as float32 standard scores within +-10, ``filled`` where missing.

    Args:
      numbers: of any shape.
      missing: of the same shape.
      moments: mean and deviation; None leaves numbers as they are.
      filled: stands for a missing one.
    """
    from configs.tensorflow_import import tf

    if moments is not None:
        mean, deviation = moments
        limit = _STANDARD_SCORE_LIMIT
        numbers = tf.clip_by_value((numbers - mean) / deviation, -limit, limit)
    return tf.cast(tf.where(missing, tf.cast(filled, tf.float64), numbers), tf.float32)


def _rounded(values: Tensor) -> Tensor:
    from configs.tensorflow_import import tf

    return tf.cast(tf.cast(values, tf.float32), tf.float64)


def _operations_of_doubles() -> dict[str, Callable[..., Any]]:
    """The operations, for which a number of the expression is a double as the columns are."""
    from configs.tensorflow_import import tf

    def of_doubles(operation: Callable[..., Any], *operands: Any) -> Any:
        return operation(*(tf.convert_to_tensor(operand, tf.float64) for operand in operands))

    return {name: partial(of_doubles, operation) for name, operation in operations().items()}


@dataclass
class Moments:
    """Mean and standard deviation of numbers.

    Attributes:
      reader: of the numbers.
      partials: (n, mean, sum of squared deviations) of every batch.
    """

    reader: NumberReader
    partials: list[tuple[int, float, float]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        values = self.reader.of_batch(batch)
        if len(values):
            mean = float(values.mean())
            self.partials.append((len(values), mean, float(np.square(values - mean).sum())))

    def merge(self, other: "Moments") -> None:
        """Adds another's rows."""
        self.partials.extend(other.partials)

    def compact(self) -> None:
        """Nothing waits: partial sums stay apart until the end, so that their order is no
        matter.
        """

    def fit(self) -> FittedFeature:
        """Mean and standard deviation; ``fsum`` rounds once, so the order of batches does not
        matter. A constant has deviation 1, and what varies by more than doubles round varies.
        """
        total = sum(n for n, _, _ in self.partials)
        if not total:
            return FittedFeature(moments=(0.0, 1.0))
        mean = fsum(n * batch_mean for n, batch_mean, _ in self.partials) / total
        variance = (
            fsum(m2 + n * (batch_mean - mean) ** 2 for n, batch_mean, m2 in self.partials) / total
        )
        deviation = sqrt(variance) if variance > ROUNDING * mean * mean else 1.0
        return FittedFeature(moments=(mean, deviation))


@dataclass
class QuantileSample:
    """A sample of numbers, for the boundaries between them.

    Attributes:
      reader: of the numbers.
      buckets: how many buckets are asked for.
      ends: whether the smallest and the largest number of the sample are boundaries, too.
      sample: (priority, value) of the rows with the smallest priorities.
    """

    reader: NumberReader
    buckets: int
    ends: bool = False
    sample: Sample = field(default_factory=lambda: (np.empty(0, np.uint64), np.empty(0)))

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        values = self.reader.of_batch(batch)
        self.sample = _smallest(self.sample, (_priorities(values), values))

    def merge(self, other: "QuantileSample") -> None:
        """Adds another's rows."""
        self.sample = _smallest(self.sample, other.sample)

    def compact(self) -> None:
        """Nothing waits."""

    def fit(self) -> FittedFeature:
        """Boundaries of buckets with equal shares of the rows."""
        values = np.sort(self.sample[1])
        boundaries = equal_shares(values, self.buckets)
        if self.ends and len(values):
            boundaries = tuple(np.unique([values[0], *boundaries, values[-1]]).tolist())
        return FittedFeature(boundaries=boundaries)


def equal_shares(values: Floats, buckets: int) -> tuple[float, ...]:
    """Ascending boundaries of buckets that hold equal shares of sorted values. A value that has
    more than a share by itself has a bucket of its own, and the buckets that are left share the
    values above it; so there may be fewer buckets than are asked for.
    """
    boundaries: list[float] = []
    start, count = 0, len(values)  # of the values that have no bucket yet
    for left in range(buckets, 1, -1):
        wanted = start + -(-(count - start) // left)
        if wanted >= count:
            break
        # A bucket ends where another value begins: before the value that the share ends in,
        # or, where that is the bucket's first value, after it.
        end = int(np.searchsorted(values, values[wanted], "left"))
        if end == start:
            end = int(np.searchsorted(values, values[wanted], "right"))
        if end == count:
            break
        boundaries.append(float(values[end]))
        start = end
    return tuple(boundaries)


def _priorities(values: Floats) -> npt.NDArray[np.uint64]:
    """Pseudo-random, and a function of the batch alone: splitmix64 over position and value,
    salted by all values of the batch.
    """
    order = np.arange(1, len(values) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    salt = np.add.reduce(values.view(np.uint64) ^ order, dtype=np.uint64)
    mixed = (
        values.view(np.uint64)
        + order
        + np.array(salt, np.uint64) * np.array(0xD6E8FEB86659FD93, np.uint64)
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    priorities: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return priorities


def _smallest(first: Sample, second: Sample) -> Sample:
    priorities, values = (
        np.concatenate([first[0], second[0]]),
        np.concatenate([first[1], second[1]]),
    )
    order = np.lexsort((values, priorities))[:_SAMPLE]
    return priorities[order], values[order]
