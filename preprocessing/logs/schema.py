"""Says which raw columns are read of logs, and which Arrow type each has once validated."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import pyarrow as pa

from configs import Experiment
from configs.features.settings import ReadAs
from configs.schema import Data

Kind = ReadAs | Literal["label", "amount", "weight", "double", "microseconds"]

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
    "number": pa.float32(),
    "numbers": pa.list_(pa.float32()),
    "timestamp": pa.int64(),
    "label": pa.float32(),
    "amount": pa.float32(),
    "weight": pa.float32(),
    "double": pa.float64(),
    "microseconds": pa.int64(),
}
"""Type of a validated column: null strings and numbers are missing, in lists of numbers too,
timestamps are whole seconds
since 1970 (UTC). No column is of the last two kinds: keys are compared in them.
"""


@dataclass(frozen=True)
class Column:
    """A raw column.

    Attributes:
      name: its name in the logs, and in a serving request.
      kind: how it is read.
      required: a null refuses the row; other columns may be missing in a row.
      served: a serving request carries it (features and topic fields do, and columns kept for
        topics to come may one day; labels and keys do not).
      side: side of its first feature, crosses coming last; ``context`` where only topics or memory
        read it; None where it is not served.
      size: how many numbers a list of numbers has where it is not missing; None for any number.
    """

    name: str
    kind: Kind
    required: bool = False
    served: bool = False
    side: str | None = None
    size: int | None = None


NULL_VALUES: tuple[str, ...] = Data.model_fields["null_values"].default
BATCH_ROWS: int = Data.model_fields["batch_rows"].default


@dataclass(frozen=True)
class LogTable:
    """What is read of logs: all that their readers, and the checks of values, need to know.

    Attributes:
      columns: the raw columns that are read and checked, by name.
      carried: further columns that are read and left as they came; none by default.
      batch_rows: rows of a batch at most, 65,536 by default.
      null_values: text that means a missing value in CSV and JSON lines.
      lists_alike: pairs of columns whose lists have as many elements in every row
        (``Experiment.lists_alike``); none by default.
    """

    columns: Mapping[str, Column]
    carried: tuple[str, ...] = ()
    batch_rows: int = BATCH_ROWS
    null_values: tuple[str, ...] = NULL_VALUES
    lists_alike: tuple[tuple[str, str], ...] = field(default=())

    @classmethod
    def of(cls, what: "Experiment | LogTable") -> "LogTable":
        """What an experiment reads; itself where it is that already."""
        if isinstance(what, cls):
            return what
        assert isinstance(what, Experiment)  # noqa: S101 - the other of the two
        data = what.data
        return cls(
            raw_columns(what),
            batch_rows=data.batch_rows,
            null_values=data.null_values,
            lists_alike=what.lists_alike,
        )

    @cached_property
    def read(self) -> dict[str, Column]:
        """Every column that is read, by name; a carried one as text where a format has to know."""
        carried = {name: Column(name, "string") for name in self.carried}
        return {
            **self.columns,
            **{name: carried[name] for name in carried if name not in self.columns},
        }


def raw_columns(experiment: Experiment) -> dict[str, Column]:
    """Every raw column the experiment reads, by name, features first and in the config's order."""
    columns: dict[str, Column] = {}
    features = experiment.features
    # Crosses last: a column that another feature reads as well is of that feature's side.
    for name in sorted(features, key=lambda name: features[name].joins_columns):
        settings = features[name]
        for column, way in settings.reads(name, features).items():
            size = settings.vector_size if way == "numbers" else None
            columns.setdefault(
                column, Column(column, way, served=True, side=settings.side, size=size)
            )
    for topic in experiment.topics.values():
        columns.setdefault(
            topic.column, Column(topic.column, topic.read_as, served=True, side="context")
        )
    remembered = experiment.memory.columns if experiment.memory else ()
    for name in (*remembered, *experiment.data.topic_columns):
        columns.setdefault(name, Column(name, "string", served=True, side="context"))

    data = experiment.data
    _require(columns, Column(data.timestamp, "timestamp", required=True))
    for label in experiment.label_columns:
        kind: Kind = "amount" if label in experiment.tasks.amounts else "label"
        _require(columns, Column(label, kind, required=True))
    if data.weight:
        _require(columns, Column(data.weight, "weight", required=True))
    truth = (experiment.evaluation.truth.key,) if experiment.evaluation.truth else ()
    for key in (data.request, data.user, *data.row_key, *truth):
        _require(columns, Column(key, "string", required=True))
    return columns


def served_columns(experiment: Experiment) -> list[Column]:
    """The raw columns of a request: all that features, topics and memory read, less the debias
    feature's own.
    """
    debias = experiment.backbone.debias
    features = {
        column
        for name in experiment.features
        if not debias or name != debias.feature
        for column in experiment.columns_of(name)
    }
    read = features | {topic.column for topic in experiment.topics.values()}
    if experiment.memory:
        read |= set(experiment.memory.columns)
    return [column for column in raw_columns(experiment).values() if column.name in read]


def _require(columns: dict[str, Column], column: Column) -> None:
    """Adds a required column; one that a feature reads already keeps its kind and is required
    from now on.
    """
    known = columns.get(column.name, column)
    columns[column.name] = replace(known, required=True)
