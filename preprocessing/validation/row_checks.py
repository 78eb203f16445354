"""Separates sound rows, in canonical form, from rows that broke a rule, and says which rule."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs import Experiment
from preprocessing.logs.readers import RawBatch, RawColumn
from preprocessing.logs.schema import LogTable
from preprocessing.validation.coercion import carrier_of, coerce

_SHOWN = 80  # characters of a received value that a reason repeats

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]
Problems = list[tuple[str, Mask]]


class Rejection(NamedTuple):
    """A row that is not part of the dataset.

    Attributes:
      row: its number in the file, from 0.
      rule: what it broke; the manifest counts rows by rule.
      position: in ``raw.rows``; in ``raw.broken`` where the format itself could not read the row.
      column: the column whose value broke the rule, where one did.
      broken: whether it is one of ``raw.broken``.
    """

    row: int
    rule: str
    position: int
    column: str | None = None
    broken: bool = False


class RejectedRow(NamedTuple):
    """A rejection as it is shown: the reason is the rule and the received value; values are the
    columns read, or the text of the line.
    """

    row: int
    reason: str
    values: dict[str, object] | str


@dataclass(frozen=True)
class CheckedBatch:
    """A validated batch.

    Attributes:
      raw: what was read.
      rows: sound rows in canonical form (``preprocessing.logs.schema.ARROW_TYPES``), one column for
        each of ``LogTable.columns``.
      index: position in ``raw.rows`` of every sound row.
      rejections: every other row, in the order of the file.
    """

    raw: RawBatch
    rows: pa.RecordBatch
    index: Rows
    rejections: tuple[Rejection, ...]

    def without(self, positions: Rows, rule: str) -> "CheckedBatch":
        """Rejects the sound rows at these positions of ``raw.rows``."""
        bad = np.isin(self.index, positions)
        if not bad.any():
            return self
        rejections = [
            Rejection(int(self.raw.rows[position]), rule, position)
            for position in self.index[bad].tolist()
        ]
        ordered = sorted((*self.rejections, *rejections))
        return CheckedBatch(
            self.raw, self.rows.filter(pa.array(~bad)), self.index[~bad], tuple(ordered)
        )


def validate(raw: RawBatch, experiment: Experiment) -> CheckedBatch:
    """Reads every column as its kind (``coerce`` says what is accepted) and refuses rows that
    break a rule, the first one counting; the rules of labels are among them.
    """
    rows = _Rows(raw, LogTable.of(experiment))
    _fill_undefined_labels(rows.arrays, rows.problems, experiment)
    rows.check_columns()
    for earlier, later in experiment.tasks.steps:
        rows.refuse(label_without(earlier, later), None, _is_without(rows.arrays, earlier, later))
    return rows.checked()


def check_columns(raw: RawBatch, table: LogTable) -> CheckedBatch:
    """The same where there are no labels, as in a request: the rules of columns alone."""
    rows = _Rows(raw, table)
    rows.check_columns()
    return rows.checked()


class _Rows:
    """The rows of a batch while they are checked.

    Attributes:
      arrays: every column, coerced.
      problems: what ``coerce`` found in each.
    """

    def __init__(self, raw: RawBatch, table: LogTable) -> None:
        self._raw, self._table = raw, table
        self._broken = np.zeros(len(raw.rows), np.bool_)
        self._found: list[tuple[str, str | None, Rows]] = []
        self.arrays: dict[str, pa.Array] = {}
        self.problems: dict[str, Problems] = {}
        carrier = carrier_of(raw.source.format, table.null_values)
        for name, column in table.columns.items():
            read = coerce(raw.columns[name], column.kind, carrier)
            self.arrays[name], self.problems[name] = read

    def refuse(self, rule: str, column: str | None, mask: Mask) -> None:
        """Refuses the rows of a mask that have broken no rule before."""
        fresh = mask & ~self._broken
        if fresh.any():
            self._found.append((rule, column, np.flatnonzero(fresh)))
            self._broken[fresh] = True

    def check_columns(self) -> None:
        """The rules of each column, and of lists that belong together."""
        arrays = self.arrays
        for name, column in self._table.columns.items():
            for rule, mask in self.problems[name]:
                self.refuse(f"{name}: {rule}", name, mask)
            if column.required and arrays[name].null_count:
                missing = arrays[name].is_null().to_numpy(zero_copy_only=False)
                self.refuse(f"{name}: missing", None, missing)
            if column.size:
                lengths = _lengths(arrays[name])
                wrong = (lengths != 0) & (lengths != column.size)
                self.refuse(f"{name}: expected {column.size} numbers, or none", name, wrong)
        for list_, beside in self._table.lists_alike:
            differ = _lengths(arrays[list_]) != _lengths(arrays[beside])
            self.refuse(f"{beside}: expected as many values as '{list_}' has", beside, differ)

    def checked(self) -> CheckedBatch:
        """The batch, sound rows and others."""
        index = np.flatnonzero(~self._broken)
        rows = pa.RecordBatch.from_arrays(list(self.arrays.values()), names=list(self.arrays))
        if len(index) < len(self._raw.rows):
            rows = rows.filter(pa.array(~self._broken))
        rejections = tuple(sorted(_rejections(self._raw, self._found)))
        return CheckedBatch(self._raw, rows, index, rejections)


def _lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    """Elements of each row's list."""
    lengths: npt.NDArray[np.int64] = (
        lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    )
    return lengths


def _fill_undefined_labels(
    arrays: dict[str, pa.Array], problems: Mapping[str, Problems], experiment: Experiment
) -> None:
    """A label that is missing where the one it waits on is 0 is 0: nobody buys what they have not
    clicked, and a product over all rows (ESMM) is defined on every impression. So is one that is
    missing because the row is too young to carry it, and nobody reads that.
    """
    moments = arrays[experiment.data.timestamp]
    for label, known_before in experiment.known_before.items():
        seconds = pa.scalar(int(known_before.timestamp()), moments.type)
        young = pc.fill_null(pc.greater_equal(moments, seconds), False)
        _fill(arrays, problems, label, young)
    for earlier, later in experiment.tasks.waiting:
        excluded = pc.fill_null(pc.equal(arrays[earlier], 0.0), False)
        _fill(arrays, problems, later, excluded)


def _fill(
    arrays: dict[str, pa.Array], problems: Mapping[str, Problems], label: str, where: pa.Array
) -> None:
    """Makes a label 0 that is missing on some rows."""
    undefined = pc.and_(where, arrays[label].is_null())
    for _, mask in problems[label]:  # what is no label is not missing
        undefined = pc.and_(undefined, pa.array(~mask))
    arrays[label] = pc.if_else(undefined, pa.scalar(0.0, pa.float32()), arrays[label])


def label_without(earlier: str, later: str) -> str:
    """The rule that a row breaks whose later label is 1 and whose earlier is 0, such as
    ``conversion without click``.
    """
    return f"{later} without {earlier}"


def _is_without(arrays: dict[str, pa.Array], earlier: str, later: str) -> Mask:
    reached = arrays[later].fill_null(0.0).to_numpy(zero_copy_only=False)
    before = arrays[earlier].fill_null(0.0).to_numpy(zero_copy_only=False)
    mask: Mask = (reached == 1.0) & (before == 0.0)
    return mask


def _rejections(raw: RawBatch, found: list[tuple[str, str | None, Rows]]) -> Iterator[Rejection]:
    for position, row in enumerate(raw.broken):
        yield Rejection(row.row, row.rule, position, broken=True)
    for rule, column, positions in found:
        for position in positions.tolist():
            yield Rejection(int(raw.rows[position]), rule, position, column)


def first_of_each_rule(checked: CheckedBatch) -> dict[str, RejectedRow]:
    """The first rejection of a batch by each rule."""
    first: dict[str, Rejection] = {}
    for rejection in checked.rejections:
        first.setdefault(rejection.rule, rejection)
    return dict(zip(first, _as_shown(checked.raw, list(first.values())), strict=True))


def rejected_rows(checked: CheckedBatch) -> Iterator[RejectedRow]:
    """The rejections of a batch with reasons and values, ready for JSON."""
    return _as_shown(checked.raw, checked.rejections)


def _as_shown(raw: RawBatch, rejections: Sequence[Rejection]) -> Iterator[RejectedRow]:
    positions = [rejection.position for rejection in rejections if not rejection.broken]
    columns = {name: _values_at(column, positions) for name, column in raw.columns.items()}
    rows = iter(range(len(positions)))
    for rejection in rejections:
        if rejection.broken:
            line = raw.broken[rejection.position]
            yield RejectedRow(rejection.row, _reason(line.rule, line.received), line.text)
        else:
            place = next(rows)
            values = {name: column[place] for name, column in columns.items()}
            received = None if rejection.column is None else _shown(values[rejection.column])
            yield RejectedRow(
                rejection.row,
                _reason(rejection.rule, received),
                {name: _json_safe(value) for name, value in values.items()},
            )


def _reason(rule: str, received: str | None) -> str:
    return rule if received is None else f"{rule}, received {received}"


def _values_at(column: RawColumn, positions: list[int]) -> list[object]:
    if isinstance(column, list):
        return [column[position] for position in positions]
    taken = column.take(pa.array(positions, pa.int64()))
    try:
        values: list[object] = taken.to_pylist()
    except (
        UnicodeDecodeError,
        ValueError,
        OverflowError,
    ):  # bytes that call themselves text; moments that Python's datetime cannot hold
        is_text = pa.types.is_string(taken.type) or pa.types.is_large_string(taken.type)
        values = taken.cast(pa.binary() if is_text else pa.string()).to_pylist()
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value for value in values
    ]


def _shown(value: object) -> str:
    text = (
        repr(value)
        if isinstance(value, str | int | float) and not isinstance(value, bool)
        else json.dumps(_json_safe(value))
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _json_safe(value: object) -> object:
    """JSON has no NaN, no infinity, no bytes and no moments: those become text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_json_safe(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int | bool) else str(value)
