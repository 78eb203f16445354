"""A feature whose kind another package computes: what that fails in is one line which names it."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np

from configs import Experiment
from configs.features.settings import FeatureSettings
from configs.plugins import FEATURES, answering_for, load, part_named, unfit
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import (
    Constants,
    FeatureKind,
    Lookup,
    Output,
    Statistic,
    Tensor,
)
from preprocessing.features.fitted import Fitted


def foreign_kind(name: str, settings: FeatureSettings, experiment: Experiment) -> FeatureKind:
    """A feature of a kind of another package. Raises ``InputError`` where the package fails to give
    what computes it.
    """
    point = part_named(settings.computed_by, FEATURES)
    computing, where = load(point), f"features.{name}"
    with answering_for(point, where):
        kind = computing(name, settings, experiment)
    return _ForeignKind(kind, point, where, settings.output_names(name))


@dataclass(frozen=True)
class _ForeignKind:
    """See ``FeatureKind``; every method raises ``InputError`` where the package's own fails, or
    gives other outputs than its settings name.
    """

    kind: FeatureKind
    point: EntryPoint
    where: str
    names: tuple[str, ...]

    def statistic(self) -> Statistic | None:
        with answering_for(self.point, self.where):
            return self.kind.statistic()

    def outputs(self, fitted: Fitted) -> list[Output]:
        with answering_for(self.point, self.where):
            found = self.kind.outputs(fitted)
            names = [output.name for output in found]
        self._check("outputs", names)
        return found

    def lookup(self, fitted: Fitted, folder: Path) -> Lookup | None:
        with answering_for(self.point, self.where):
            return self.kind.lookup(fitted, folder)

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        with answering_for(self.point, self.where):
            found: dict[str, Any] = dict(self.kind.graph(raw, constants))
        self._check("graph", found)
        return found

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        with answering_for(self.point, self.where):
            made: dict[str, Any] = dict(self.kind.batch(columns, constants))
            found = {name: np.asarray(values) for name, values in made.items()}
        self._check("batch", found)
        for name, values in found.items():
            self._check_values(name, values, len(columns))
        return found

    def _check(self, method: str, names: Collection[str]) -> None:
        if sorted(names) != sorted(self.names):
            expected = f"the outputs {', '.join(self.names)} from '{method}'"
            raise unfit(self.point, self.where, expected, ", ".join(names) or "none")

    def _check_values(self, name: str, values: Array, rows: int) -> None:
        """Holds an output of a batch to ``Output``; a record would hold anything else as it is."""
        fits = values.dtype in (np.int32, np.float32) and values.ndim in (1, 2)
        if not fits or len(values) != rows:
            expected = f"int32 or float32 of {rows} rows as '{name}' from 'batch'"
            raise unfit(self.point, self.where, expected, f"{values.dtype} {list(values.shape)}")
        if values.dtype == np.float32 and not np.isfinite(values).all():
            raise unfit(self.point, self.where, f"numbers as '{name}' from 'batch'", "NaN or inf")
