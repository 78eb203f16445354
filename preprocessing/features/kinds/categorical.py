"""Categorical features: one string a row, as its id."""

from dataclasses import dataclass
from pathlib import Path

from configs import Experiment
from configs.features.ids import CategoricalFeature
from configs.features.settings import Vocabulary
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Lookup, Output, Tensor
from preprocessing.features.fitted import Fitted
from preprocessing.features.vocabulary import VocabularyStatistic, id_count, id_lookup


@dataclass(frozen=True)
class Categorical:
    """See ``FeatureKind``."""

    name: str
    settings: CategoricalFeature
    experiment: Experiment

    def statistic(self) -> VocabularyStatistic | None:
        """Counts of the values, unless they are hashed."""
        if self.settings.hash_buckets:
            return None
        return VocabularyStatistic(self._column, self.settings.vocabulary or Vocabulary())

    def outputs(self, fitted: Fitted) -> list[Output]:
        """One id a row."""
        size = id_count(self.settings, fitted, self.name)
        return [Output(self.name, self.name, "id", self.name, size)]

    def lookup(self, fitted: Fitted, folder: Path) -> Lookup:
        """The vocabulary, or the hash."""
        return id_lookup(self.name, self.settings, fitted, folder)

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Strings ``[N]`` -> int32 ``[N]``."""
        return {self.name: constants.lookups[self.name](raw[0])}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same, once per distinct value."""
        return {self.name: columns.by_distinct_value(self._column, constants.lookups[self.name])}

    @property
    def _column(self) -> str:
        return self.experiment.column_of(self.name)
