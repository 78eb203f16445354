"""Compares two sides: every feature, and with a job its model on the rows of today."""

from pathlib import Path

import trainer  # noqa: F401 - must come before TensorFlow
from configs import Experiment
from operations.drift.drift_result import DriftResult, FeatureDrift, RowsRead
from operations.drift.feature_drift import FeatureComparison
from operations.drift.feature_samples import FeatureReader
from operations.drift.paths import is_dataset
from operations.drift.sides import Side, dataset_side, requests_side
from preprocessing.features.fitted import Fitted
from trainer.job import Job

_NOT_CARRIED = "no row of the other side carries what it reads"


def compare(
    experiment: Experiment,
    first: Path,
    other: Path,
    *,
    split: str | None = None,
    other_split: str | None = None,
    model: str | None = None,
    job: Job | None = None,
) -> DriftResult:
    """Compares two windows of rows.

    Args:
      experiment: whose features both have; its section ``drift`` has the thresholds.
      first: dataset of the window before.
      other: dataset of the window after, or a log of requests.
      split: of the first dataset; all splits that have rows where None.
      other_split: of the other dataset, likewise; with a job ``evaluation.split`` where None.
      model: whose requests of a log are read; None where it holds those of one model alone.
      job: whose transform says what is known, and whose model is judged where the other side has
        labels. Without one the transform of the first side is the reference.

    Raises:
      InputError: a side or the job cannot be used.
    """
    if job is not None and is_dataset(other):
        other_split = other_split or experiment.evaluation.split
    one = dataset_side(first, experiment, split)
    reference = job.fitted() if job else one.fitted
    two = (
        dataset_side(other, experiment, other_split)
        if is_dataset(other)
        else requests_side(other, experiment, reference, model)
    )
    for side in (one, two):
        side.check_size()
    features, not_compared = compare_sides(experiment, one, two, reference)
    calibration = age = None
    if job is not None and is_dataset(other):
        from operations.drift.model_drift import model_drift

        calibration, age = model_drift(
            experiment, other, job, other_split or experiment.evaluation.split
        )
    drifted = (
        any(feature.reasons for feature in features)
        or any(cell.drifted for cell in calibration or ())
        or bool(age and age.pretrain)
    )
    return DriftResult(
        thresholds=experiment.drift,
        first=_rows_read(one),
        other=_rows_read(two),
        drifted=drifted,
        features=features,
        not_compared=not_compared,
        calibration=calibration,
        age=age,
    )


def compare_sides(
    experiment: Experiment, first: Side, other: Side, reference: Fitted
) -> tuple[tuple[FeatureDrift, ...], dict[str, str]]:
    """Every output of the transform on two sides, those that have drifted first, and why others
    are not compared.

    Args:
      experiment: whose features they are.
      first: rows of the window before.
      other: rows of the window after.
      reference: the transform in whose terms both are told.
    """
    reader = FeatureReader(experiment, reference)
    not_compared = reader.not_comparable(first.fitted) | reader.not_comparable(other.fitted)
    one, two = (
        reader.read(side.columns, side.groups, side.fitted, side.whole) for side in (first, other)
    )
    both = [name for name in one if name in two and name not in not_compared]
    not_compared |= {name: _NOT_CARRIED for name in reader.outputs if name not in {*one} & {*two}}
    found = []
    for name in both:
        feature = reader.outputs[name].feature
        compared = FeatureComparison(
            name,
            one[name],
            two[name],
            reader.keys.get(name),
            first.top.get(feature, {}),
            other.top.get(feature, {}),
        )
        found.append(compared.judged(experiment.drift, len(both)))
    order = sorted(found, key=lambda one: (-one.severity, -(one.beyond_chance or 0.0)))
    return tuple(order), not_compared


def _rows_read(side: Side) -> RowsRead:
    kind = "dataset" if side.kind == "dataset" else "requests"
    return RowsRead(path=str(side.path), kind=kind, splits=side.splits, rows=len(side.groups))
