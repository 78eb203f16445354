"""Cross features: the strings of several columns of a row, hours and buckets among them, hashed
together into one id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs import Experiment
from configs.features.ids import CrossFeature, crossed_feature
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
        """Columns ``[N]`` -> one int32 id ``[N]``; 0 where one of what is crossed is missing."""
        from configs.tensorflow_import import tf

        columns = dict(zip(self.experiment.columns_of(self.name), raw, strict=True))
        parts = [self._part(name, columns, constants) for name in self.settings.columns]
        joined = tf.strings.join(parts, _UNIT_SEPARATOR)
        ids = 1 + tf.strings.to_hash_bucket_fast(joined, self.settings.hash_buckets)
        missing = tf.reduce_any(tf.equal(tf.stack(parts), ""), axis=0)
        return {self.name: tf.cast(tf.where(missing, tf.zeros_like(ids), ids), tf.int32)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        reads = self.settings.reads(self.name, self.experiment.features)
        raw = [columns.tensor(column, kind) for column, kind in reads.items()]
        return {name: ids.numpy() for name, ids in self.graph(raw, constants).items()}

    def _part(self, name: str, raw: Mapping[str, Tensor], constants: Constants) -> Tensor:
        """What is crossed, as strings ``[N]``: a raw column, or the ids of another feature; empty
        where missing.
        """
        from configs.tensorflow_import import tf

        made_by = crossed_feature(name, self.experiment.features)
        if made_by is None:
            return raw[name]
        given = [raw[column] for column in self.experiment.columns_of(made_by)]
        ids = constants.features[made_by].graph(given, constants)[name]
        return tf.where(tf.equal(ids, 0), "", tf.strings.as_string(ids))
