"""Turns a raw column of any type into its canonical type (``logs.schema.ARROW_TYPES``), whole
columns at a time.

What a value may look like is said in ``configs.values``: Arrow reads columns of one type, and tests
hold it equal to those functions; they read themselves what Arrow has no type for.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.values import (
    LIST_SEPARATOR,
    NO_LIST,
    NO_NUMBER,
    NO_NUMBER_LIST,
    NO_TEXT,
    NO_TEXT_LIST,
    READERS,
    UnreadableValueError,
    parse_array,
)
from preprocessing.logs.files import Format
from preprocessing.logs.readers import RawColumn, as_column
from preprocessing.logs.schema import ARROW_TYPES, Kind
from preprocessing.validation.scalar_coercion import (
    SCALARS,
    Coerced,
    Mask,
    decode_text,
    is_text,
    mask_of,
    read_texts,
    without_nulls,
)


@dataclass(frozen=True)
class Carrier:
    """What a file format leaves open.

    Attributes:
      untyped: whether every value is written as text, as in CSV; False by default.
      nulls: text that means a missing value, beside empty text; none by default.
    """

    untyped: bool = False
    nulls: tuple[str, ...] = ()


TYPED = Carrier()
"""Of formats that say themselves what a value is: Parquet."""


def carrier_of(format_: Format, nulls: tuple[str, ...]) -> Carrier:
    """How a format writes values; ``nulls`` are those of the formats whose values are text."""
    return TYPED if format_ == "parquet" else Carrier(format_ == "csv", nulls)


def coerce(column: RawColumn, kind: Kind, carrier: Carrier = TYPED) -> Coerced:
    """Reads a raw column as ``kind``."""
    if isinstance(column, list):
        return _join(len(column), _read_types(column, kind, carrier), kind)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if is_text(column.type):
        column = without_nulls(column, carrier.nulls)
    if kind in _ELEMENTS:
        return _lists(column, kind, carrier)
    if kind == "string":
        return read_texts(column, carrier.untyped)
    return SCALARS[kind](column)


_ELEMENTS: dict[Kind, Kind] = {"strings": "string", "numbers": "number"}
"""Of each kind of list, the kind of its elements."""

_OF_LISTS = {NO_TEXT: NO_TEXT_LIST, NO_NUMBER: NO_NUMBER_LIST}
"""What a list of such elements breaks."""

_Part = tuple[npt.NDArray[np.intp], Coerced]
"""Some rows of a column, and what they hold."""


def _join(rows: int, parts: list[_Part], kind: Kind) -> Coerced:
    """Puts the rows of a column back in order."""
    if not parts:
        return Coerced(pa.array([], ARROW_TYPES[kind]), [])
    order = np.argsort(np.concatenate([where for where, _ in parts]), kind="stable")
    problems = []
    for where, part in parts:
        for rule, mask in part.problems:
            spread = np.zeros(rows, np.bool_)
            spread[where[mask]] = True
            problems.append((rule, spread))
    return Coerced(
        pa.concat_arrays([part.values for _, part in parts]).take(pa.array(order)), problems
    )


def _read_types(values: list[object], kind: Kind, carrier: Carrier) -> list[_Part]:
    """Reads values of several types, those of each type together."""
    by_type: dict[type, list[int]] = {}
    for row, value in enumerate(values):
        by_type.setdefault(type(value), []).append(row)
    parts = []
    for rows in by_type.values():
        alike = [values[row] for row in rows]
        column = as_column(alike)
        if isinstance(column, list):
            read = _read_singly([_blanked(value, carrier.nulls) for value in alike], kind)
        else:
            read = coerce(column, kind, carrier)
        parts.append((np.array(rows), read))
    return parts


def _blanked(value: object, nulls: Collection[str]) -> object:
    """A value of JSON without text that means a missing one, in lists too."""
    if isinstance(value, list):
        return [_blanked(element, nulls) for element in value]
    return None if isinstance(value, str) and value in nulls else value


def _read_singly(values: list[object], kind: Kind) -> Coerced:
    """Reads values that Arrow has no common type for, such as numbers of more than 64 bits."""
    read: list[object] = []
    broken: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        try:
            read.append(READERS[kind](value))
        except UnreadableValueError as error:
            read.append([] if kind in _ELEMENTS else None)
            broken.setdefault(error.rule, []).append(row)
    problems = []
    for rule, rows in broken.items():
        mask = np.zeros(len(values), np.bool_)
        mask[rows] = True
        problems.append((rule, mask))
    return Coerced(pa.array(read, ARROW_TYPES[kind]), problems)


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _lists(values: pa.Array, kind: Kind, carrier: Carrier) -> Coerced:
    if carrier.untyped and is_text(values.type):
        values, problems = decode_text(values)
        return _split(values, problems, kind, carrier)
    if not _is_list(values.type):
        return Coerced(_no_lists(len(values), kind), [(NO_LIST, mask_of(values.is_valid()))])
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    parent = np.repeat(np.arange(len(values)), lengths)
    elements, problems = coerce(values.flatten(), _ELEMENTS[kind], carrier)
    spread = _first_of_each(len(values), parent, problems)
    if elements.null_count and kind == "strings":  # a missing number keeps its place
        kept = elements.is_valid()
        lengths = np.bincount(parent[kept.to_numpy(zero_copy_only=False)], minlength=len(values))
        elements = elements.filter(kept)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return Coerced(
        pa.ListArray.from_arrays(pa.array(offsets), elements).cast(ARROW_TYPES[kind]), spread
    )


def _first_of_each(
    lists: int, parent: npt.NDArray[np.intp], problems: list[tuple[str, Mask]]
) -> list[tuple[str, Mask]]:
    """The rule that each list breaks first: that of its first broken element, as where the list is
    read by itself. ``parent`` is the list of each element.
    """
    found = np.concatenate(
        [np.flatnonzero(mask) for _, mask in problems] or [np.array([], np.intp)]
    )
    rules = np.repeat(np.arange(len(problems)), [int(mask.sum()) for _, mask in problems])
    order = np.argsort(found, kind="stable")
    broken, first = np.unique(parent[found[order]], return_index=True)
    firsts = rules[order][first]
    spread = []
    for number, (rule, _) in enumerate(problems):
        rows = np.zeros(lists, np.bool_)
        rows[broken[firsts == number]] = True
        if rows.any():
            spread.append((_OF_LISTS.get(rule, rule), rows))
    return spread


def _no_lists(rows: int, kind: Kind) -> pa.Array:
    return pa.array([[]] * rows, ARROW_TYPES[kind])


def _split(
    text: pa.Array, problems: list[tuple[str, Mask]], kind: Kind, carrier: Carrier
) -> Coerced:
    """Lists of a CSV file: JSON arrays, which have types, where the text begins with ``[``,
    separated text otherwise; empty text is no list.
    """
    text = pc.if_else(pc.equal(text, ""), None, text)
    is_json = mask_of(pc.starts_with(text, "["))
    if not is_json.any():
        lists = _lists(pc.split_pattern(text, LIST_SEPARATOR), kind, carrier)
        return Coerced(lists.values, [*problems, *lists.problems])
    arrays, rest = np.flatnonzero(is_json), np.flatnonzero(~is_json)
    parsed = [parse_array(value) for value in text.filter(pa.array(is_json)).to_pylist()]
    typed = replace(carrier, untyped=False)
    parts = [(arrays[where], read) for where, read in _read_types(parsed, kind, typed)]
    separated = pc.split_pattern(text.take(pa.array(rest)), LIST_SEPARATOR)
    parts.append((rest, _lists(separated, kind, carrier)))
    coerced = _join(len(text), parts, kind)
    return Coerced(coerced.values, [*problems, *coerced.problems])
