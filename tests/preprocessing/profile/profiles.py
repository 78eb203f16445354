"""Counts and profiles of a few batches: what the tests of this room share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from configs import Experiment, parse_experiment
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.statistics import Statistics, fit
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from preprocessing.profile.changes import find_changes
from preprocessing.profile.counts import ProfileCounts, count_batch, merge_counts
from preprocessing.profile.data_profile import Change, FeatureProfile
from preprocessing.profile.describe import describe_features, own_reference
from preprocessing.validation.splits import split_masks
from tests.configs import TASKS_AND_SPLITS
from tests.preprocessing.shop_logs import START

EXPERIMENT = parse_experiment(
    """
name: shop
data: {timestamp: time, request: request, user: user}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  user: {kind: categorical, side: user, vocabulary: {min_count: 2}}
  city: {kind: categorical, side: user, vocabulary: {}}
  device: {kind: categorical, side: context, hash_buckets: 10}
  history: {kind: list, side: user, shares: user, max_length: 2}
  price: {kind: numeric, side: item}
  stock: {kind: numeric, side: item, quantile_buckets: 4}
  place: {kind: cross, side: user, columns: [city, device], hash_buckets: 10}
  moment: {kind: timestamp, side: context, column: time}
"""
)
DAY = 86_400
SPLITS = tuple(EXPERIMENT.splits)


def batch_of(split: str = "pretrain", **columns: list[Any]) -> pa.RecordBatch:
    """A validated batch of a split's rows; what is not given is null."""
    size = len(next(iter(columns.values())))
    moment = START + DAY * SPLITS.index(split)
    known = {"time": [moment] * size, "click": [0.0] * size, "order": [0.0] * size} | columns
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array(known.get(name, [None] * size), ARROW_TYPES[column.kind])
            for name, column in raw_columns(EXPERIMENT).items()
        }
    )


def counts_of(
    batches: Sequence[pa.RecordBatch], experiment: Experiment = EXPERIMENT
) -> list[ProfileCounts]:
    """What each batch gives, under the transform that is fitted on the pre-training rows."""
    statistics = Statistics.empty(experiment)
    for batch in batches:
        statistics.add(batch.filter(pa.array(split_masks(batch, experiment)["pretrain"])))
    transform = Transform(experiment, fit(experiment, statistics))
    found = []
    for place, batch in enumerate(batches):
        rows = BatchColumns(batch)
        splits = {
            name: np.flatnonzero(mask) for name, mask in split_masks(batch, experiment).items()
        }
        columns = transform.apply_batch(rows)
        found.append(count_batch(experiment, rows, columns, splits, str(place)))
    return found


def features_of(*batches: pa.RecordBatch) -> dict[str, FeatureProfile]:
    """Every feature, compared with the pre-training rows."""
    counts = merge_counts(counts_of(batches))
    return describe_features(EXPERIMENT, counts, own_reference(EXPERIMENT, counts))


def changes_of(*batches: pa.RecordBatch) -> tuple[Change, ...]:
    """The features that change after the pre-training rows."""
    counts = merge_counts(counts_of(batches))
    features = describe_features(EXPERIMENT, counts, own_reference(EXPERIMENT, counts))
    rows = {name: split.rows for name, split in counts.items()}
    return find_changes(features, rows, "pretrain", own=True)
