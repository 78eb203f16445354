"""Turns a raw column of any type into its canonical type (``columns.ARROW_TYPES``), whole columns
at a time.

What a value may look like:

- text: text, whole numbers, ``true``/``false``; numbers such as 3.0 read as ``3`` (a nullable
  integer column becomes one of floats on its way through pandas), other finite numbers as their
  shortest decimal form; at most 4096 bytes of UTF-8. Empty text is missing.
- number: finite in float32; numbers, ``true``/``false`` and their text. Empty text is missing.
- label: 0 or 1, ``true``/``false``, and their text. weight: a number of at least 0.
- timestamp: Arrow timestamps and dates, ISO 8601 text (UTC where it names no zone), seconds since
  1970 as number or text; from 1990 to 2100 (so milliseconds are refused, not misread); cut to whole
  seconds.
- list: lists of text; in CSV, text separated by ``|`` or a JSON array. Missing elements are left
  out, a missing list is empty.
"""

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.logs.readers import RawColumn, as_column
from preprocessing.logs.schema import ARROW_TYPES, Kind
from preprocessing.validation.scalar_coercion import (
    NO_TEXT,
    SCALARS,
    Coerced,
    Mask,
    decode_text,
    is_text,
    mask_of,
)

LIST_SEPARATOR = "|"

NO_LIST = "expected a list"
NO_TEXT_LIST = "expected a list of texts"


def coerce(column: RawColumn, kind: Kind, lists_as_text: bool = False) -> Coerced:
    """Reads a raw column as ``kind``; with ``lists_as_text`` (CSV), lists are read from text."""
    if isinstance(column, list):
        return _scatter(len(column), _groups_of_one_type(column), kind, lists_as_text)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if kind == "strings":
        return _lists(column, lists_as_text)
    return SCALARS[kind](column)


def _scatter(
    rows: int, groups: list[tuple[npt.NDArray[np.intp], pa.Array]], kind: Kind, lists_as_text: bool
) -> Coerced:
    """Reads groups of rows of different types, each as a column, and puts the rows back in
    order.
    """
    parts = [(where, coerce(values, kind, lists_as_text)) for where, values in groups]
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


def _groups_of_one_type(values: list[object]) -> list[tuple[npt.NDArray[np.intp], pa.Array]]:
    by_type: dict[type, list[int]] = {}
    for row, value in enumerate(values):
        by_type.setdefault(type(value), []).append(row)
    groups = []
    for rows in by_type.values():
        column = as_column([values[row] for row in rows])
        if isinstance(column, list):
            groups += [(np.array([row]), _single(values[row])) for row in rows]
        else:
            groups.append((np.array(rows), column))
    return groups


def _single(value: object) -> pa.Array:
    """One value as an array, also where Arrow has no type for it."""
    column = as_column([value])
    if isinstance(column, pa.Array):
        return column
    if isinstance(value, int):
        return pa.array([str(value)])
    if isinstance(value, str):  # half a surrogate pair: no UTF-8, so the text check refuses it
        return pa.array([value.encode("utf-8", "surrogatepass")])
    return pa.array(
        [[[]]] if isinstance(value, list) else [{}],
        pa.list_(pa.list_(pa.string())) if isinstance(value, list) else pa.struct([]),
    )


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _lists(values: pa.Array, lists_as_text: bool) -> Coerced:
    if lists_as_text and is_text(values.type):
        values, problems = decode_text(values)
        return _split(values, problems)
    if not _is_list(values.type):
        return Coerced(_no_lists(len(values)), [(NO_LIST, mask_of(values.is_valid()))])
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
    parent = np.repeat(np.arange(len(values)), lengths)
    elements, problems = coerce(values.flatten(), "string")
    spread = []
    for rule, mask in problems:
        if mask.any():
            rows = np.zeros(len(values), np.bool_)
            rows[parent[mask]] = True
            spread.append((NO_TEXT_LIST if rule == NO_TEXT else rule, rows))
    if elements.null_count:
        kept = elements.is_valid()
        lengths = np.bincount(parent[kept.to_numpy(zero_copy_only=False)], minlength=len(values))
        elements = elements.filter(kept)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return Coerced(
        pa.ListArray.from_arrays(pa.array(offsets), elements).cast(ARROW_TYPES["strings"]), spread
    )


def _no_lists(rows: int) -> pa.Array:
    return pa.ListArray.from_arrays(
        pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string())
    ).cast(ARROW_TYPES["strings"])


def _split(text: pa.Array, problems: list[tuple[str, Mask]]) -> Coerced:
    """Lists of a CSV file: JSON arrays where the text begins with ``[``, separated text
    otherwise.
    """
    is_json = mask_of(pc.starts_with(text, "["))
    if not is_json.any():
        lists = pc.split_pattern(text, LIST_SEPARATOR)
        return Coerced(*_lists(lists, False)._replace(problems=problems))
    rest = np.flatnonzero(~is_json)
    groups = _groups_of_one_type(
        [_json_list(value) for value in text.filter(pa.array(is_json)).to_pylist()]
    )
    groups = [(np.flatnonzero(is_json)[where], values) for where, values in groups]
    groups.append((rest, pc.split_pattern(text.take(pa.array(rest)), LIST_SEPARATOR)))
    coerced = _scatter(len(text), groups, "strings", False)
    return Coerced(coerced.values, [*problems, *coerced.problems])


def _json_list(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text  # text is no list, so the row is refused
