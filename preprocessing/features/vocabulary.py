"""Ids of values, by a vocabulary or by hashing: what categorical features and lists share.

Ids: 0 is padding or missing, then the out-of-vocabulary buckets, then the vocabulary.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from configs.features.settings import FeatureSettings, Vocabulary
from preprocessing.features.feature_kind import Lookup
from preprocessing.features.fitted import Fitted, FittedFeature
from preprocessing.features.value_counts import ValueCounts


@dataclass
class VocabularyStatistic:
    """Counts the values of a column; those of a list one by one, as many as are read.

    Attributes:
      column: what is counted.
      kept: how often a value must occur, and how many are kept.
      longest: how many values of a list are read; all where None.
      counts: rows by value.
    """

    column: str
    kept: Vocabulary
    longest: int | None = None
    counts: ValueCounts = field(default_factory=ValueCounts)

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""
        values = batch.column(self.column)
        if pa.types.is_list(values.type):
            values = pc.list_slice(values, 0, self.longest).flatten()
        self.counts.add(values)

    def merge(self, other: "VocabularyStatistic") -> None:
        """Adds another's rows."""
        self.counts.merge(other.counts)

    def compact(self) -> None:
        """Merges the counts of batches."""
        self.counts.table()

    def fit(self) -> FittedFeature:
        """The vocabulary."""
        return FittedFeature(
            vocabulary=self.counts.most_frequent(self.kept.min_count, self.kept.max_size)
        )


def id_count(settings: FeatureSettings, fitted: Fitted, owner: str) -> int:
    """How many ids a feature has that owns its ids, padding included.

    Args:
      settings: the feature's.
      fitted: its vocabulary, unless its values are hashed.
      owner: its name.
    """
    return 1 + (settings.hashed_ids or settings.oov_ids + len(fitted.vocabularies[owner]))


def id_lookup(name: str, settings: FeatureSettings, fitted: Fitted, folder: Path) -> Lookup:
    """A ``tf.Module`` from strings to the int32 ids of a feature that owns its ids."""
    from preprocessing.features.ids import Ids

    vocabulary = () if settings.hashed_ids else fitted.vocabularies[name]
    return Ids(name, settings.hashed_ids or settings.oov_ids, vocabulary, folder)
