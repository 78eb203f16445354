"""Fits the transform: one pass of mergeable statistics over the pre-training rows.

Every statistic gives the same bits whatever the order in which batches are added and merged, so
that one dataset has one digest.
"""

from dataclasses import dataclass, field

import pyarrow as pa

from configs import Experiment, InputError
from preprocessing.features.feature_kind import Statistic
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds.registry import features_of
from preprocessing.features.label_copies import LabelCopies
from preprocessing.features.vocabulary import VocabularyStatistic
from preprocessing.logs.schema import raw_columns


@dataclass
class Statistics:
    """Mergeable statistics of validated rows of the pre-training split.

    Attributes:
      experiment: what is fitted.
      rows: rows seen.
      by_feature: feature -> its statistic, of those that are fitted.
      copies: columns that were a copy of a label on every row so far.
    """

    experiment: Experiment
    rows: int = 0
    by_feature: dict[str, Statistic] = field(default_factory=dict)
    copies: LabelCopies = field(default_factory=LabelCopies)

    @classmethod
    def without_vocabularies(cls, experiment: Experiment) -> "Statistics":
        """The same but for the features of ``vocabulary_statistics``."""
        empty = cls.empty(experiment)
        for name in vocabulary_statistics(experiment):
            del empty.by_feature[name]
        return empty

    @classmethod
    def empty(cls, experiment: Experiment) -> "Statistics":
        """Statistics of no rows."""
        return cls(
            experiment,
            by_feature=_of_features(experiment),
            copies=LabelCopies.of(
                [
                    column.name
                    for column in raw_columns(experiment).values()
                    if column.served and column.kind in ("string", "number")
                ],
                [
                    label
                    for label in experiment.label_columns
                    if label not in experiment.tasks.amounts
                ],
            ),
        )

    def add(self, batch: pa.RecordBatch) -> "Statistics":
        """Adds validated rows, in place."""
        self.rows += batch.num_rows
        for statistic in self.by_feature.values():
            statistic.add(batch)
        self.copies.add(batch)
        return self

    def compact(self) -> "Statistics":
        """Merges what waits to be merged, so that little travels to another worker."""
        for statistic in self.by_feature.values():
            statistic.compact()
        return self

    def merge(self, other: "Statistics") -> "Statistics":
        """Adds another's rows, in place."""
        self.rows += other.rows
        for name, statistic in self.by_feature.items():
            statistic.merge(other.by_feature[name])
        self.copies.merge(other.copies)
        return self


def vocabulary_statistics(experiment: Experiment) -> dict[str, VocabularyStatistic]:
    """Those of no rows of the features whose values are counted, by name. They grow with the
    logs; all others stay small.
    """
    return {
        name: statistic
        for name, statistic in _of_features(experiment).items()
        if isinstance(statistic, VocabularyStatistic)
    }


def _of_features(experiment: Experiment) -> dict[str, Statistic]:
    return {
        name: statistic
        for name, feature in features_of(experiment).items()
        if (statistic := feature.statistic()) is not None
    }


def fit(experiment: Experiment, statistics: Statistics) -> Fitted:
    """Turns statistics into a fitted transform.

    Raises:
      InputError: there are no rows, or a feature's column is a copy of a label on every row.
    """
    if not statistics.rows:
        raise InputError("nothing to fit the transform on: the pretrain split has no sound row")
    for column, label, one, zero in statistics.copies.found():
        raise InputError(
            f"column '{column}' equals label '{label}' on all {statistics.rows} pre-training rows"
            f" ({one} where it is 1, {zero} where it is 0); it cannot be a feature"
        )
    return Fitted.of(
        experiment,
        {name: statistic.fit() for name, statistic in statistics.by_feature.items()},
    )
