"""List features: several strings a row, as their ids, cut or padded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from configs.features import ListFeature, Vocabulary
from preprocessing.features.batch_columns import Array, BatchColumns, encode, of_distinct_values
from preprocessing.features.feature_kind import Constants, Lookup, Output, Tensor
from preprocessing.features.fitted import Fitted
from preprocessing.features.vocabulary import VocabularyStatistic, id_count, id_lookup


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
        """``max_length`` ids a row."""
        size = id_count(self.experiment.features[self._owner], fitted, self._owner)
        return [Output(self.name, self.name, "ids", self._owner, size, self.settings.max_length)]

    def lookup(self, fitted: Fitted, folder: Path) -> Lookup | None:
        """The vocabulary, or the hash."""
        if self.settings.shares:
            return None
        return id_lookup(self.name, self.settings, fitted, folder)

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Strings ``[N, L]`` -> int32 ``[N, max_length]``."""
        ids = constants.lookups[self._owner](raw[0])
        return {self.name: _cut_or_pad(ids, self.settings.max_length)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same, once per distinct value."""
        from configs.tensorflow_import import tf

        length = self.settings.max_length
        lists = pc.list_slice(columns.array(self._column), 0, length)
        ids = of_distinct_values(encode(lists.flatten()), constants.lookups[self._owner])
        return {self.name: _cut_or_pad(tf.constant(_dense(lists, ids)), length).numpy()}

    @property
    def _column(self) -> str:
        return self.experiment.column_of(self.name)

    @property
    def _owner(self) -> str:
        return self.settings.shares or self.name


def _cut_or_pad(ids: Tensor, length: int) -> Tensor:
    """``[N, L]`` -> ``[N, length]``."""
    from configs.tensorflow_import import tf

    ids = ids[:, :length]
    ids = tf.pad(ids, [[0, 0], [0, length - tf.shape(ids)[1]]])
    return tf.ensure_shape(ids, [None, length])


def _dense(lists: pa.Array, flat_ids: Array) -> Array:
    """Ragged ids -> ``[N, longest]`` padded with 0, as a client pads a request with empty
    strings.
    """
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    dense = np.zeros((len(lists), int(lengths.max(initial=0))), flat_ids.dtype)
    row = np.repeat(np.arange(len(lists)), lengths)
    dense[row, np.arange(len(flat_ids)) - np.repeat(starts, lengths)] = flat_ids
    return dense
