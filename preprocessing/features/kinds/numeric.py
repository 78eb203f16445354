"""Numeric features: one number a row, standardised, as the id of its quantile bucket, or as its
position among quantiles.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import Experiment
from configs.features.numbers import NumericFeature
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted
from preprocessing.features.numbers import (
    Moments,
    NumberReader,
    QuantileSample,
    standardised,
)


@dataclass(frozen=True)
class Numeric:
    """See ``FeatureKind``."""

    name: str
    settings: NumericFeature
    experiment: Experiment

    def statistic(self) -> Moments | QuantileSample:
        """Mean and deviation, or the boundaries of buckets or pieces."""
        if buckets := self.settings.quantile_buckets:
            return QuantileSample(self._reader, buckets)
        if self._is_position:
            return QuantileSample(self._reader, self.settings.bins, ends=True)
        return Moments(self._reader)

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

        values, missing = self._reader.of_tensors(raw)
        fitted = constants.fitted
        if self.settings.quantile_buckets:
            boundaries = tf.constant(fitted.boundaries[self.name], tf.float64)
            bucket = 1 + tf.searchsorted(boundaries, values, side="right")
            return {self.name: tf.where(missing, 0, bucket)}
        if self._is_position:
            return {self.name: _position(values, missing, fitted.boundaries[self.name])}
        if self.settings.standardise:
            return {self.name: standardised(values, missing, fitted.moments[self.name])}
        filled = fitted.moments[self.name][0] if fitted.fills_with_mean else 0.0
        return {self.name: standardised(values, missing, None, filled)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        raw = [columns.numbers(column) for column in self._reader.columns]
        return {name: values.numpy() for name, values in self.graph(raw, constants).items()}

    @property
    def _reader(self) -> NumberReader:
        columns = self.experiment.columns_of(self.name)
        return NumberReader(columns, self.settings.expression, self.settings.log1p)

    @property
    def _is_position(self) -> bool:
        return self.settings.encoding == "piecewise_linear"


def _position(values: Tensor, missing: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Where float64 numbers ``[N]`` stand among ascending edges, float32 ``[N]``: the number of
    pieces below plus the share of the one it is in; 0 below all of them, -1 where missing. It
    holds all that a piecewise linear encoding needs (``trainer.backbone.layers.number_encoding``).
    """
    from configs.tensorflow_import import tf

    position = tf.zeros_like(values)
    if len(edges) > 1:
        starts = tf.constant(edges[:-1], tf.float64)
        widths = tf.constant(np.diff(edges), tf.float64)
        piece = tf.maximum(tf.searchsorted(starts, values, side="right") - 1, 0)
        share = (values - tf.gather(starts, piece)) / tf.gather(widths, piece)
        position = tf.cast(piece, tf.float64) + tf.clip_by_value(share, 0.0, 1.0)
    return tf.cast(tf.where(missing, -tf.ones_like(position), position), tf.float32)
