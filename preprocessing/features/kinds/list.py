"""List features: several strings a row, as their ids, cut or padded."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from configs import Experiment
from configs.features.ids import ListFeature
from configs.features.settings import Vocabulary
from preprocessing.features.batch_columns import (
    Array,
    BatchColumns,
    cut_or_pad,
    dense,
    encode,
    of_distinct_values,
)
from preprocessing.features.feature_kind import Constants, Lookup, Output, Tensor
from preprocessing.features.fitted import Fitted
from preprocessing.features.vocabulary import VocabularyStatistic, id_count, id_lookup

_MOST_WEIGHT = 1e6


@dataclass(frozen=True)
class List:
    """See ``FeatureKind``. Where it shares ids, its look-up is the other feature's."""

    name: str
    settings: ListFeature
    experiment: Experiment

    def statistic(self) -> VocabularyStatistic | None:
        """Counts of the values, unless they are hashed or another feature's."""
        if self.settings.hash_buckets or self.settings.shares:
            return None
        kept = self.settings.vocabulary or Vocabulary()
        return VocabularyStatistic(self._column, kept, self.settings.max_length)

    def outputs(self, fitted: Fitted) -> list[Output]:
        """``max_length`` ids a row, and as many weights where there are any."""
        size = id_count(self.experiment.features[self._owner], fitted, self._owner)
        length = self.settings.max_length
        name, *weights = self.settings.output_names(self.name)
        return [
            Output(name, self.name, "ids", self._owner, size, length),
            *(Output(name, self.name, "numbers", name, length=length) for name in weights),
        ]

    def lookup(self, fitted: Fitted, folder: Path) -> Lookup | None:
        """The vocabulary, or the hash."""
        if self.settings.shares:
            return None
        return id_lookup(self.name, self.settings, fitted, folder)

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Strings ``[N, L]`` -> int32 ``[N, max_length]``; weights float32 ``[N, L]``, NaN where
        missing, -> float32 ``[N, max_length]``.
        """
        values, *weights = raw
        ids = constants.lookups[self._owner](values)
        return {self.name: cut_or_pad(ids, self.settings.max_length), **self._weights(weights)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same, once per distinct value."""
        from configs.tensorflow_import import tf

        length = self.settings.max_length
        lists = pc.list_slice(columns.array(self._column), 0, length)
        ids = of_distinct_values(encode(lists.flatten()), constants.lookups[self._owner])
        weights = [columns.number_lists(column, length) for column in self._columns[1:]]
        return {
            self.name: cut_or_pad(tf.constant(dense(lists, ids)), length).numpy(),
            **{name: values.numpy() for name, values in self._weights(weights).items()},
        }

    def _weights(self, raw: list[Tensor]) -> dict[str, Tensor]:
        """Weights from 0 to 1e6 (our choice: hostile ones must not overflow their sum); 0 where
        missing.
        """
        from configs.tensorflow_import import tf

        length, names = self.settings.max_length, self.settings.output_names(self.name)[1:]
        found = {}
        for name, weights in zip(names, raw, strict=True):
            known = tf.where(tf.math.is_finite(weights), weights, tf.zeros_like(weights))
            found[name] = cut_or_pad(tf.clip_by_value(known, 0.0, _MOST_WEIGHT), length)
        return found

    @property
    def _columns(self) -> tuple[str, ...]:
        return self.experiment.columns_of(self.name)

    @property
    def _column(self) -> str:
        return self._columns[0]

    @property
    def _owner(self) -> str:
        return self.settings.shares or self.name
