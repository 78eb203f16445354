"""What features are like in the rows of one side: values, and how many are missing or unknown, by
groups of users.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs import Experiment
from operations.drift.chance import GROUPS, Counts
from operations.drift.keys import Integers, Keys
from preprocessing.features.feature_kind import Output
from preprocessing.features.fitted import Fitted
from preprocessing.features.output_spec import transform_outputs

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[np.generic]]

_QUANTUM = 1e-4
"""Of a standard deviation: what is nearer is the same number, since float32 of two transforms
differ.
"""


@dataclass(frozen=True)
class Values:
    """Values of rows, of lists one by one: keys int64 or numbers float64 ``[M]``, and the group of
    each.
    """

    values: npt.NDArray[np.generic]
    groups: Integers

    def counts(self, places: Integers, bins: int) -> Counts:
        """Values by group and bin; ``places`` are their bins ``[M]``."""
        flat = np.bincount(self.groups * bins + places, minlength=GROUPS * bins)
        return flat.reshape(GROUPS, bins)


@dataclass(frozen=True)
class FeatureSample:
    """An output of the transform in the rows of one side.

    Attributes:
      present: what is not missing.
      missing: rows with and without a missing value, ``[GROUPS, 2]``.
      unknown: values outside the vocabulary and in it, ``[GROUPS, 2]``; None without one.
      lengths: of lists, how many values each row that has any holds.
    """

    present: Values
    missing: Counts
    unknown: Counts | None = None
    lengths: Values | None = None


class FeatureReader:
    """Reads features of both sides in the terms of one transform.

    Args:
      experiment: names them.
      reference: the transform in whose terms they are read.

    Attributes:
      outputs: of the transform that are compared, by name: all but parts of moments, which are as
        different as the windows are.
      keys: output -> keys of its ids.
    """

    def __init__(self, experiment: Experiment, reference: Fitted) -> None:
        self._experiment, self._reference = experiment, reference
        features = experiment.features
        self.outputs: dict[str, Output] = {
            name: output
            for name, output in transform_outputs(experiment, reference).items()
            if features[output.feature].read_as != "timestamp"
            or features[output.feature].joins_columns
        }
        self.keys: dict[str, Keys] = {}
        for name, output in self.outputs.items():
            if output.kind in ("id", "ids"):
                owner = features[output.feature].shares_ids_of or output.feature
                self.keys[name] = Keys(features[owner], owner, reference)

    def not_comparable(self, fitted: Fitted) -> dict[str, str]:
        """Outputs of another transform that cannot be told in the terms of the reference, and
        why.
        """
        if fitted.same_outputs_as(self._reference):
            return {}
        found = {}
        for name, output in self.outputs.items():
            settings = self._experiment.features[output.feature]
            moved = fitted.boundaries != self._reference.boundaries
            own = fitted.boundaries.get(output.feature) != self._reference.boundaries.get(
                output.feature
            )
            if output.kind == "id" and (own or (settings.joins_columns and moved)):
                found[name] = "its buckets have other boundaries in the other transform"
        return found

    def read(
        self, columns: Columns, groups: Integers, fitted: Fitted, whole: Collection[str]
    ) -> dict[str, FeatureSample]:
        """Every output that is in the columns.

        Args:
          columns: ``feature/NAME`` of the record format, ``[N]`` or ``[N, length]``.
          groups: of the rows, ``[N]``.
          fitted: the transform that gave them.
          whole: features of which no row lacks a value: what stands for a missing number may be a
            number.
        """
        found = {}
        for name, output in self.outputs.items():
            column = columns.get(f"feature/{name}")
            if column is None:
                continue
            if name in self.keys:
                found[name] = self._ids(self.keys[name], column, groups, fitted)
            else:
                found[name] = self._numbers(output, column, groups, fitted, whole)
        return found

    def _ids(
        self, keys: Keys, column: npt.NDArray[np.generic], groups: Integers, fitted: Fitted
    ) -> FeatureSample:
        table = keys.of(column, fitted)
        present = _present(table, table != 0, groups)
        unknown = None
        if keys.has_vocabulary:
            outside = keys.is_unknown(present.values.astype(np.int64))
            unknown = present.counts(1 - outside.astype(np.int64), 2)
        lengths = None
        if table.ndim == 2:
            counts = np.count_nonzero(table, axis=1)
            lengths = _present(counts.astype(np.float64), counts > 0, groups)
        return FeatureSample(present, _missing(table != 0, groups), unknown, lengths)

    def _numbers(
        self,
        output: Output,
        column: npt.NDArray[np.generic],
        groups: Integers,
        fitted: Fitted,
        whole: Collection[str],
    ) -> FeatureSample:
        stored = column.astype(np.float64)
        raw, stands_for_missing = self._raw(output, stored, fitted)
        there = np.isfinite(stored)
        if output.feature not in whole:
            there &= column != np.asarray(stands_for_missing, column.dtype)
        return FeatureSample(_present(raw, there, groups), _missing(there, groups))

    def _raw(self, output: Output, stored: Floats, fitted: Fitted) -> tuple[Floats, float]:
        """Numbers as the logs have them, and what the transform gives where one is missing."""
        name = output.feature
        settings = self._experiment.features[name]
        decisive = settings.decisive()
        is_own = output.name == name
        if is_own and settings.number_encoding[0] == "piecewise_linear":
            edges = fitted.boundaries[name]
            return np.interp(stored, np.arange(len(edges)), edges), -1.0
        moments = fitted.moments.get(name) if is_own else None
        if moments is None:
            return stored, 0.0
        mean, deviation = moments
        missing = 0.0
        if decisive.get("standardise", True):
            stored = stored * deviation + mean
        elif output.kind == "number" and fitted.fills_with_mean:
            missing = mean
        quantum = _QUANTUM * self._reference.moments[name][1]
        if quantum > 0:
            stored = np.round(stored / quantum) * quantum
        return (np.expm1(stored) if decisive.get("log1p") else stored), missing


def _present(
    values: npt.NDArray[np.generic], there: npt.NDArray[np.bool_], groups: Integers
) -> Values:
    rows = np.nonzero(there)[0]
    return Values(values[there], groups[rows])


def _missing(there: npt.NDArray[np.bool_], groups: Integers) -> Counts:
    values = np.count_nonzero(there.reshape(len(there), -1), axis=1)
    filled: Integers = (values > 0).astype(np.int64)
    return Values(filled, groups).counts(filled, 2)
