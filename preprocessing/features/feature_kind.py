"""What every kind of feature says of itself; ``kinds`` binds each to its settings.

Nothing here, nor in the file of a kind, loads TensorFlow before a graph is built or a batch is
transformed: what only plans, or counts, starts without it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import pyarrow as pa

from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.fitted import Fitted, FittedFeature

Tensor = Any
"""A ``tf.Tensor``."""

Lookup = Callable[[Tensor], Tensor]
"""Strings of any shape -> ids of the same shape, each a function of its string alone."""


@dataclass(frozen=True)
class Output:
    """One output of the transform.

    Attributes:
      name: the feature's name, with ``_hour`` or ``_weekday`` for parts of a timestamp.
      feature: the feature it comes from.
      kind: ``id`` int32 ``[N]``, ``ids`` int32 ``[N, length]``, ``number`` float32 ``[N]``,
        ``numbers`` float32 ``[N, length]``.
      table: the output whose embedding table it uses (its own name unless it shares one); numbers
        have none.
      size: number of ids, padding included; 0 for numbers.
      length: of each row's list or vector.
    """

    name: str
    feature: str
    kind: Literal["id", "ids", "number", "numbers"]
    table: str
    size: int = 0
    length: int = 0


class Statistic(Protocol):
    """What is counted for one feature over validated rows; it gives the same bits whatever the
    order in which batches are added and merged. It travels between workers.
    """

    def add(self, batch: pa.RecordBatch) -> None:
        """Adds a batch's rows."""

    def merge(self, other: Self) -> None:
        """Adds another's rows."""

    def compact(self) -> None:
        """Merges what waits to be merged, so that little travels to another worker."""

    def fit(self) -> FittedFeature:
        """The feature's constants."""


class FeatureKind(Protocol):
    """One feature of an experiment: its statistic, its outputs, and two ways to the same bits.

    Its constructor takes the feature's name, its settings and the experiment. Which raw columns it
    reads, and how, its settings say (``configs.features.FeatureSettings``).
    """

    def statistic(self) -> Statistic | None:
        """An empty statistic; None where nothing is fitted."""

    def outputs(self, fitted: Fitted) -> list[Output]:
        """What it gives: ``settings.output_names``, in that order."""

    def lookup(self, fitted: Fitted, folder: Path) -> Lookup | None:
        """A ``tf.Module`` that turns strings into ids; None where it has none of its own.

        Args:
          fitted: the constants.
          folder: for files that the module reads when it is made and when it is saved.
        """

    def graph(self, raw: list[Tensor], constants: "Constants") -> dict[str, Tensor]:
        """Its outputs by name, as a graph.

        Args:
          raw: its raw columns in order, as ``Transform`` describes them.
          constants: of the fitted transform.
        """

    def batch(self, columns: BatchColumns, constants: "Constants") -> dict[str, Array]:
        """Its outputs by name, of validated rows: the bits that ``graph`` gives."""


@dataclass(frozen=True)
class Constants:
    """What graphs and batches are transformed with.

    Attributes:
      fitted: the constants of every feature.
      lookups: feature -> what turns its strings into ids, of those that own one.
      features: every feature, for those that are made of others.
    """

    fitted: Fitted
    lookups: Mapping[str, Lookup]
    features: Mapping[str, FeatureKind]
