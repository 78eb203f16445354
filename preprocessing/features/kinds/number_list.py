"""Several numbers a row: vectors, and numbers that belong to the entries of a list."""

from dataclasses import dataclass
from pathlib import Path

from configs import Experiment
from configs.features.numbers import NumberListFeature, VectorFeature
from preprocessing.features.batch_columns import Array, BatchColumns, cut_or_pad
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted
from preprocessing.features.numbers import Moments, NumberReader, standardised


@dataclass(frozen=True)
class NumberList:
    """See ``FeatureKind``."""

    name: str
    settings: NumberListFeature | VectorFeature
    experiment: Experiment

    def statistic(self) -> Moments:
        """One mean and one deviation, of all numbers of all rows."""
        return Moments(self._reader)

    def outputs(self, fitted: Fitted) -> list[Output]:
        """``numbers`` numbers a row."""
        return [Output(self.name, self.name, "numbers", self.name, length=self.settings.numbers)]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        """There are no strings."""

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        """Float32 ``[N, L]``, NaN where missing -> float32 ``[N, numbers]``, cut or padded; 0 where
        missing, which is the mean of what is standardised.
        """
        moments = constants.fitted.moments[self.name] if self.settings.standardise else None
        cut = [cut_or_pad(raw[0], self.settings.numbers, float("nan"))]
        return {self.name: standardised(*self._reader.of_tensors(cut), moments)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        """The same."""
        raw = [
            columns.number_lists(column, self.settings.numbers) for column in self._reader.columns
        ]
        return {name: values.numpy() for name, values in self.graph(raw, constants).items()}

    @property
    def _reader(self) -> NumberReader:
        columns = self.experiment.columns_of(self.name)
        return NumberReader(columns, log1p=self.settings.log1p)
