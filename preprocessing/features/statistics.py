"""Fits the transform: one pass of mergeable statistics over the pre-training rows.

Every statistic gives the same bits whatever the order in which batches are added and merged, so
that one dataset has one digest.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import fsum, sqrt

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment, InputError
from configs.features import CategoricalFeature, ListFeature, NumericFeature
from configs.tensorflow_import import tf
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import signed_log1p
from preprocessing.features.value_counts import ValueCounts
from preprocessing.logs.schema import raw_columns

_SAMPLE = 100_000  # rows kept for quantiles: the error of a quantile's rank is about 0.2%

Floats = npt.NDArray[np.float64]


@dataclass
class Statistics:
    """Mergeable statistics of validated rows of the pre-training split.

    Attributes:
      experiment: what is fitted.
      rows: rows seen.
      counts: vocabulary feature -> rows by value.
      partials: numeric feature -> (n, mean, sum of squared deviations) of every batch.
      samples: bucketed feature -> (priority, value) of the rows with the smallest priorities.
      equal_to_label: (column, label) pairs that were equal on every row so far.
      positives: label -> rows that carry it.
    """

    experiment: Experiment
    rows: int = 0
    counts: dict[str, ValueCounts] = field(default_factory=dict)
    partials: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)
    samples: dict[str, tuple[npt.NDArray[np.uint64], Floats]] = field(default_factory=dict)
    equal_to_label: set[tuple[str, str]] = field(default_factory=set)
    positives: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, experiment: Experiment) -> "Statistics":
        """Statistics of no rows."""
        statistics = cls(experiment)
        for name, spec in experiment.features.items():
            if (
                isinstance(spec, CategoricalFeature | ListFeature)
                and not spec.hash_buckets
                and not getattr(spec, "shares", None)
            ):
                statistics.counts[name] = ValueCounts()
            elif isinstance(spec, NumericFeature) and spec.quantile_buckets:
                statistics.samples[name] = (np.empty(0, np.uint64), np.empty(0))
            elif isinstance(spec, NumericFeature):
                statistics.partials[name] = []
        statistics.equal_to_label = {
            (column.name, label)
            for column in raw_columns(experiment).values()
            if column.served and column.kind in ("string", "number")
            for label in experiment.label_columns
        }
        return statistics

    def add(self, batch: pa.RecordBatch) -> "Statistics":
        """Adds validated rows, in place."""
        self.rows += batch.num_rows
        for name, counter in self.counts.items():
            column = batch.column(self.experiment.column_of(name))
            if isinstance(self.experiment.features[name], ListFeature):
                column = column.flatten()
            counter.add(column)
        for name, partials in self.partials.items():
            values = self._numbers(name, batch)
            if len(values):
                mean = float(values.mean())
                partials.append((len(values), mean, float(np.square(values - mean).sum())))
        for name, sample in self.samples.items():
            values = self._numbers(name, batch)
            self.samples[name] = _smallest(sample, (_priorities(values), values))
        self._compare_with_labels(batch)
        for label in self.experiment.label_columns:
            self.positives[label] += int(pc.sum(batch.column(label)).as_py() or 0)
        return self

    def compact(self) -> "Statistics":
        """Merges what waits to be merged, so that little travels to another worker."""
        for counter in self.counts.values():
            counter.table()
        return self

    def merge(self, other: "Statistics") -> "Statistics":
        """Adds another's rows, in place."""
        self.rows += other.rows
        for name, counter in self.counts.items():
            counter.merge(other.counts[name])
        for name, partials in self.partials.items():
            partials.extend(other.partials[name])
        for name, sample in self.samples.items():
            self.samples[name] = _smallest(sample, other.samples[name])
        self.equal_to_label &= other.equal_to_label
        self.positives.update(other.positives)
        return self

    def _numbers(self, name: str, batch: pa.RecordBatch) -> Floats:
        spec = self.experiment.features[name]
        column = batch.column(self.experiment.column_of(name))
        values: Floats = column.drop_null().to_numpy(zero_copy_only=False).astype(np.float64)
        if isinstance(spec, NumericFeature) and spec.log1p:
            values = signed_log1p(tf.constant(values)).numpy()
        return values

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
    return Fitted(
        settings=Fitted.settings_of(experiment),
        vocabularies={
            name: _vocabulary(experiment, name, counts)
            for name, counts in statistics.counts.items()
        },
        moments={name: _moments(partials) for name, partials in statistics.partials.items()},
        boundaries={
            name: _boundaries(experiment, name, values)
            for name, (_, values) in statistics.samples.items()
        },
    )


def _vocabulary(experiment: Experiment, name: str, counts: ValueCounts) -> tuple[str, ...]:
    spec = experiment.features[name]
    assert isinstance(spec, CategoricalFeature | ListFeature)  # noqa: S101 - Statistics.empty counts no other
    min_count = spec.vocabulary.min_count if spec.vocabulary else 1
    max_size = spec.vocabulary.max_size if spec.vocabulary else 1_000_000
    return counts.most_frequent(min_count, max_size)


def _moments(partials: list[tuple[int, float, float]]) -> tuple[float, float]:
    """Mean and standard deviation; ``fsum`` rounds once, so the order of batches does not
    matter. A constant has deviation 1.
    """
    total = sum(n for n, _, _ in partials)
    if not total:
        return 0.0, 1.0
    mean = fsum(n * batch_mean for n, batch_mean, _ in partials) / total
    variance = fsum(m2 + n * (batch_mean - mean) ** 2 for n, batch_mean, m2 in partials) / total
    return mean, sqrt(variance) if variance > 1e-12 * max(1.0, mean * mean) else 1.0


def _boundaries(experiment: Experiment, name: str, values: Floats) -> tuple[float, ...]:
    spec = experiment.features[name]
    buckets = (
        spec.quantile_buckets if isinstance(spec, NumericFeature) and spec.quantile_buckets else 2
    )
    if not len(values):
        return ()
    inner = np.quantile(values, np.linspace(0, 1, buckets + 1)[1:-1], method="lower")
    return tuple(float(value) for value in np.unique(inner))


def _priorities(values: Floats) -> npt.NDArray[np.uint64]:
    """Pseudo-random, and a function of the batch alone: splitmix64 over position and value,
    salted by all values of the batch.
    """
    order = np.arange(1, len(values) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    salt = np.add.reduce(values.view(np.uint64) ^ order, dtype=np.uint64)
    mixed = (
        values.view(np.uint64)
        + order
        + np.array(salt, np.uint64) * np.array(0xD6E8FEB86659FD93, np.uint64)
    )
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    priorities: npt.NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return priorities


def _smallest(
    first: tuple[npt.NDArray[np.uint64], Floats], second: tuple[npt.NDArray[np.uint64], Floats]
) -> tuple[npt.NDArray[np.uint64], Floats]:
    priorities, values = (
        np.concatenate([first[0], second[0]]),
        np.concatenate([first[1], second[1]]),
    )
    order = np.lexsort((values, priorities))[:_SAMPLE]
    return priorities[order], values[order]
