"""Numeric features: one number a row, standardised, or as the id of its quantile bucket."""

from dataclasses import dataclass, field
from math import fsum, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import Experiment
from configs.features import NumericFeature
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted, FittedFeature

_SAMPLE = 100_000  # rows kept for quantiles: the error of a quantile's rank is about 0.2%
_ROUNDING = 1e-24  # of a sum of squares of doubles, relative to the square of their mean
_STANDARD_SCORE_LIMIT = 10.0  # our choice: a hostile number may be an outlier, never an overflow

Floats = npt.NDArray[np.float64]
Sample = tuple[npt.NDArray[np.uint64], Floats]


def signed_log1p(values: Tensor) -> Tensor:
    """sign(x) * log(1 + |x|) of float64, elementwise, rounded to float32's 24 bits.

    Vector and scalar code paths of a logarithm differ in the last bit, and so would a row alone and
    the row in a batch.
    """
    from configs.tensorflow_import import tf

    return tf.cast(tf.cast(tf.sign(values) * tf.math.log1p(tf.abs(values)), tf.float32), tf.float64)


@dataclass(frozen=True)
class Numeric:
    """See ``FeatureKind``."""

    name: str
    settings: NumericFeature
    experiment: Experiment

    def statistic(self) -> "Moments | QuantileSample":
        """Mean and deviation, or the boundaries of the buckets."""
        column, log1p = self.experiment.column_of(self.name), self.settings.log1p
        if buckets := self.settings.quantile_buckets:
            return QuantileSample(column, log1p, buckets)
        return Moments(column, log1p)

    def outputs(self, fitted: Fitted) -> list[Output]:
        """One number a row, or one id."""
        if not self.settings.quantile_buckets:
            return [Output(self.name, self.name, "number", self.name)]
        buckets = 1 + len(fitted.boundaries[self.name])
        return [Output(self.name, self.name, "id", self.name, 1 + buckets)]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        """There are no strings."""

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Float32 ``[N]``, NaN where missing -> float32 ``[N]``, or int32 ``[N]`` where it is
        bucketed.
        """
        from configs.tensorflow_import import tf

        (column,) = raw
        missing = tf.logical_not(tf.math.is_finite(column))
        values = tf.cast(tf.where(missing, tf.zeros_like(column), column), tf.float64)
        if self.settings.log1p:
            values = signed_log1p(values)
        if self.settings.quantile_buckets:
            boundaries = tf.constant(constants.fitted.boundaries[self.name], tf.float64)
            bucket = 1 + tf.searchsorted(boundaries, values, side="right")
            return {self.name: tf.where(missing, 0, bucket)}
        if self.settings.standardise:
            mean, deviation = constants.fitted.moments[self.name]
            values = tf.clip_by_value(
                (values - mean) / deviation, -_STANDARD_SCORE_LIMIT, _STANDARD_SCORE_LIMIT
            )
        filled = 0.0
        if not self.settings.standardise and constants.fitted.fills_with_mean:
            filled = constants.fitted.moments[self.name][0]
        number = tf.cast(tf.where(missing, tf.cast(filled, tf.float64), values), tf.float32)
        return {self.name: number}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        raw = [columns.numbers(self.experiment.column_of(self.name))]
        return {name: values.numpy() for name, values in self.graph(raw, constants).items()}


@dataclass
class Moments:
    """Mean and standard deviation of a column, after log1p where the feature asks for it.

    Attributes:
      column: what is read.
      log1p: whether the logarithm is taken first.
      partials: (n, mean, sum of squared deviations) of every batch.
    """

    column: str
    log1p: bool
    partials: list[tuple[int, float, float]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        values = _present(batch.column(self.column), self.log1p)
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
        deviation = sqrt(variance) if variance > _ROUNDING * mean * mean else 1.0
        return FittedFeature(moments=(mean, deviation))


@dataclass
class QuantileSample:
    """A sample of a column's values, after log1p where the feature asks for it.

    Attributes:
      column: what is read.
      log1p: whether the logarithm is taken first.
      buckets: how many buckets are asked for.
      sample: (priority, value) of the rows with the smallest priorities.
    """

    column: str
    log1p: bool
    buckets: int
    sample: Sample = field(default_factory=lambda: (np.empty(0, np.uint64), np.empty(0)))

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        values = _present(batch.column(self.column), self.log1p)
        self.sample = _smallest(self.sample, (_priorities(values), values))

    def merge(self, other: "QuantileSample") -> None:
        """Adds another's rows."""
        self.sample = _smallest(self.sample, other.sample)

    def compact(self) -> None:
        """Nothing waits."""

    def fit(self) -> FittedFeature:
        """Boundaries of buckets with equal shares of the rows."""
        return FittedFeature(boundaries=equal_shares(np.sort(self.sample[1]), self.buckets))


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


def _present(column: pa.Array, log1p: bool) -> Floats:
    values: Floats = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
    if log1p:
        from configs.tensorflow_import import tf

        values = signed_log1p(tf.constant(values)).numpy()
    return values


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
