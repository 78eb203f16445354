"""What the kind ``cyclic_time`` computes."""

from dataclasses import dataclass
from math import pi
from pathlib import Path

from domain_kernels import Experiment
from domain_kernels.parts import (
    Array,
    BatchColumns,
    Constants,
    Fitted,
    Output,
    Tensor,
    known,
)
from own_parts.settings import CyclicTimeFeature

_HOUR = 3_600


@dataclass(frozen=True)
class CyclicTime:
    """See ``domain_kernels.parts.FeatureKind``."""

    name: str
    settings: CyclicTimeFeature
    experiment: Experiment

    def statistic(self) -> None:
        """Nothing is fitted."""

    def outputs(self, fitted: Fitted) -> list[Output]:
        """Two numbers a row."""
        names = self.settings.output_names(self.name)
        return [Output(name, self.name, "number", name) for name in names]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        """There are no strings."""

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Seconds since 1970, int64 ``[N]`` -> float32 ``[N]`` each; 0 and 0 where missing."""
        import tensorflow as tf  # not where only a plan is made

        (seconds,) = raw
        period = self.settings.period_hours * _HOUR
        angle = tf.cast(seconds % period, tf.float64) * (2 * pi / period)
        sine, cosine = self.settings.output_names(self.name)
        found = {sine: tf.sin(angle), cosine: tf.cos(angle)}
        return {
            name: tf.where(known(seconds), tf.cast(value, tf.float32), 0.0)
            for name, value in found.items()
        }

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        (column,) = self.experiment.columns_of(self.name)
        outputs = self.graph([columns.moments(column)], constants)
        return {name: values.numpy() for name, values in outputs.items()}
