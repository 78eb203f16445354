"""Fits the transform: one pass of mergeable statistics over the pre-training rows.

Every statistic gives the same bits whatever the order in which batches are added and merged, so
that one dataset has one digest.
"""

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment, InputError
from preprocessing.features.feature_kind import Statistic
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds import features_of
from preprocessing.logs.schema import raw_columns


@dataclass
class Statistics:
    """Mergeable statistics of validated rows of the pre-training split.

    Attributes:
      experiment: what is fitted.
      rows: rows seen.
      by_feature: feature -> its statistic, of those that are fitted.
      equal_to_label: (column, label) pairs that were equal on every row so far.
      positives: label -> rows that carry it.
    """

    experiment: Experiment
    rows: int = 0
    by_feature: dict[str, Statistic] = field(default_factory=dict)
    equal_to_label: set[tuple[str, str]] = field(default_factory=set)
    positives: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, experiment: Experiment) -> "Statistics":
        """Statistics of no rows."""
        return cls(
            experiment,
            by_feature={
                name: statistic
                for name, feature in features_of(experiment).items()
                if (statistic := feature.statistic()) is not None
            },
            equal_to_label={
                (column.name, label)
                for column in raw_columns(experiment).values()
                if column.served and column.kind in ("string", "number")
                for label in experiment.label_columns
            },
        )

    def add(self, batch: pa.RecordBatch) -> "Statistics":
        """Adds validated rows, in place."""
        self.rows += batch.num_rows
        for statistic in self.by_feature.values():
            statistic.add(batch)
        self._compare_with_labels(batch)
        for label in self.experiment.label_columns:
            self.positives[label] += int(pc.sum(batch.column(label)).as_py() or 0)
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
        self.equal_to_label &= other.equal_to_label
        self.positives.update(other.positives)
        return self

    def _compare_with_labels(self, batch: pa.RecordBatch) -> None:
        for column, label in tuple(self.equal_to_label):
            values, labels = batch.column(column), batch.column(label)
            if pa.types.is_string(values.type):
                one, zero = (
                    pc.is_in(pc.utf8_lower(values), pa.array(texts))
                    for texts in (["1", "1.0", "true"], ["0", "0.0", "false"])
                )
                values = pc.if_else(one, 1.0, pc.if_else(zero, 0.0, None))
            if not pc.all(pc.fill_null(pc.equal(values, labels), False), min_count=0).as_py():
                self.equal_to_label.discard((column, label))


def fit(experiment: Experiment, statistics: Statistics) -> Fitted:
    """Turns statistics into a fitted transform.

    Raises:
      InputError: there are no rows, or a feature's column equals a label on every row.
    """
    if not statistics.rows:
        raise InputError("nothing to fit the transform on: the pretrain split has no sound row")
    for column, label in sorted(statistics.equal_to_label):
        if not 0 < statistics.positives[label] < statistics.rows:
            continue  # both are constant: that says nothing
        raise InputError(
            f"column '{column}' equals label '{label}' on all {statistics.rows} pre-training rows;"
            " it cannot be a feature"
        )
    return Fitted.of(
        experiment,
        {name: statistic.fit() for name, statistic in statistics.by_feature.items()},
    )
