"""Timestamp features: parts of the row's moment in a time zone, each an id."""

from dataclasses import dataclass
from pathlib import Path

from configs import Experiment
from configs.features.numbers import TimestampFeature
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted

_PARTS = {"hour": 24, "weekday": 7}


@dataclass(frozen=True)
class Timestamp:
    """See ``FeatureKind``."""

    name: str
    settings: TimestampFeature
    experiment: Experiment

    def statistic(self) -> None:
        """Nothing is fitted."""

    def outputs(self, fitted: Fitted) -> list[Output]:
        """One id a row and part."""
        return [
            Output(output, self.name, "id", output, 1 + _PARTS[part])
            for output, part in self._named_parts()
        ]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        """Ids are counted, not looked up."""

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Seconds since 1970 UTC, int64 ``[N]`` -> int32 ``[N]`` a part: hour 0 and Monday are
        1, 0 is missing.
        """
        from configs.tensorflow_import import tf
        from preprocessing.features.local_time import day_and_hour, known

        (seconds,) = raw
        day, hour = day_and_hour(seconds, self.settings.time_zone)
        parts = {"hour": hour, "weekday": (day + 3) % 7}  # 1970-01-01 was a Thursday; Monday is 0
        return {
            output: tf.where(known(seconds), 1 + tf.cast(parts[part], tf.int32), 0)
            for output, part in self._named_parts()
        }

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        raw = [columns.moments(self.experiment.column_of(self.name))]
        return {name: ids.numpy() for name, ids in self.graph(raw, constants).items()}

    def _named_parts(self) -> list[tuple[str, str]]:
        names = self.settings.output_names(self.name)
        return list(zip(names, self.settings.parts, strict=True))
