"""Cross features: the strings of several columns of a row, hashed together into one id."""

from dataclasses import dataclass
from pathlib import Path

from configs import Experiment
from configs.features import CrossFeature
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted

_UNIT_SEPARATOR = "\x1f"  # between the values of a cross: ("a", "bc") is not ("ab", "c")


@dataclass(frozen=True)
class Cross:
    """See ``FeatureKind``."""

    name: str
    settings: CrossFeature
    experiment: Experiment

    def statistic(self) -> None:
        """Nothing is fitted."""

    def outputs(self, fitted: Fitted) -> list[Output]:
        """One id a row."""
        return [Output(self.name, self.name, "id", self.name, 1 + self.settings.hash_buckets)]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        """No value has an id of its own."""

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Strings ``[N]`` of several columns -> one int32 id ``[N]``; 0 where one of them is
        empty.
        """
        from configs.tensorflow_import import tf

        joined = tf.strings.join(raw, _UNIT_SEPARATOR)
        ids = 1 + tf.strings.to_hash_bucket_fast(joined, self.settings.hash_buckets)
        missing = tf.reduce_any(tf.equal(tf.stack(raw), ""), axis=0)
        return {self.name: tf.cast(tf.where(missing, tf.zeros_like(ids), ids), tf.int32)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same; every distinct value of a column becomes a TensorFlow string once."""
        from configs.tensorflow_import import tf

        raw = [
            tf.constant(columns.by_distinct_value(column, tf.identity))
            for column in self.settings.columns
        ]
        return {name: ids.numpy() for name, ids in self.graph(raw, constants).items()}
