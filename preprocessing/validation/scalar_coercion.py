"""Reads single values: a raw Arrow column of any type -> text, numbers, labels, weights or
moments. ``configs.values`` says what is accepted.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from configs.values import (
    EXACT_FLOAT,
    FIRST_SECOND,
    LAST_SECOND,
    LONG_TEXT,
    MAX_TEXT_BYTES,
    MICROSECONDS,
    NEGATIVE_WEIGHT,
    NO_AMOUNT,
    NO_LABEL,
    NO_NUMBER,
    NO_TEXT,
    NO_TIMESTAMP,
    NO_UTF8,
    NO_WEIGHT,
    NOT_FINITE,
    OUT_OF_RANGE,
    TRUTH_VALUES,
    WHOLE_FRACTION,
    parse_number,
    parse_seconds,
    text_of,
)
from preprocessing.logs.schema import ARROW_TYPES, Kind

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # in a second

Mask = npt.NDArray[np.bool_]


class Coerced(NamedTuple):
    """A canonical column, and rules with the mask ``[N]`` of the rows that break them (their
    values mean nothing).
    """

    values: pa.Array
    problems: list[tuple[str, Mask]]


def mask_of(values: pa.Array) -> Mask:
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def refuse_all(values: pa.Array, kind: Kind, rule: str) -> Coerced:
    return Coerced(pa.nulls(len(values), ARROW_TYPES[kind]), [(rule, mask_of(values.is_valid()))])


def _blank(values: pa.Array, bad: Mask) -> pa.Array:
    return pc.if_else(pa.array(bad), pa.scalar(None, values.type), values) if bad.any() else values


def without_nulls(values: pa.Array, nulls: Sequence[str]) -> pa.Array:
    """Text or bytes of which those that mean a missing value are null."""
    known = pc.is_in(values, value_set=pa.array(nulls, values.type)) if nulls else None
    return values if known is None else _blank(values, mask_of(known))


def _as_typed(text: pa.Array) -> pa.Array:
    """Text of a CSV file, of which whole fractions and truth values are as a format with types
    has them (``configs.values.text_of_field``).
    """
    spelt = pc.is_in(text, value_set=pa.array(TRUTH_VALUES, text.type))
    text = pc.if_else(spelt, pc.utf8_lower(text), text)
    whole = pc.match_substring_regex(text, f"^{WHOLE_FRACTION}$")
    if not pc.any(whole).as_py():
        return text
    digits = pc.replace_substring_regex(text, r"\.0+$", "")
    digits = pc.if_else(pc.equal(digits, "-0"), "0", digits)
    return pc.if_else(whole, digits, text)


def is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
        or _is_bytes(type_)
    )


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_fixed_size_binary(type_)
    )


def read_texts(values: pa.Array, untyped: bool = False) -> Coerced:
    """Reads values of any type as text; with ``untyped``, text is that of a CSV file."""
    type_ = values.type
    problems: list[tuple[str, Mask]] = []
    if is_text(type_):
        values, problems = decode_text(values)
        values = _as_typed(values) if untyped else values
    elif pa.types.is_floating(type_):
        bad = mask_of(pc.invert(pc.is_finite(values)))
        problems = [(NO_TEXT, bad)]
        values = _text_of_floats(_blank(values, bad))
    elif pa.types.is_decimal(type_):
        values = _by_distinct(values, text_of, pa.string())
    elif (
        pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_date(type_)
        or pa.types.is_timestamp(type_)
    ):
        values = values.cast(pa.string())
    else:
        return refuse_all(values, "string", NO_TEXT)
    long = mask_of(pc.greater(pc.binary_length(values), MAX_TEXT_BYTES))
    if long.any():
        problems.append((LONG_TEXT, long))
    empty = mask_of(pc.equal(pc.binary_length(values), 0))
    return Coerced(_blank(values, empty), problems)


def decode_text(values: pa.Array) -> tuple[pa.Array, list[tuple[str, Mask]]]:
    """Text or bytes -> valid UTF-8 text. A Parquet file can call any bytes text, so text is
    checked too.
    """
    try:
        if not pa.types.is_string(values.type):
            values = values.cast(pa.string())
        values.validate(full=True)
        return values, []
    except pa.ArrowInvalid:
        raw = values.cast(pa.binary())
        bad = np.array(
            [value is not None and not _is_utf8(value) for value in raw.to_pylist()], np.bool_
        )
        return _blank(raw, bad).cast(pa.string()), [(NO_UTF8, bad)]


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_of_floats(values: pa.Array) -> pa.Array:
    values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), EXACT_FLOAT))
    integers = pc.if_else(whole, values, pa.scalar(None, values.type)).cast(pa.int64())
    return pc.coalesce(integers.cast(pa.string()), values.cast(pa.string()))


def _numbers(values: pa.Array) -> Coerced:
    """To float64: every source type takes the same way, so that the formats agree to the last
    bit.
    """
    type_ = values.type
    if is_text(type_):
        values, problems = decode_text(values)
        values, bad = _parse_numbers(values)
        return Coerced(values, [*problems, (NO_NUMBER, bad)])
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return Coerced(values.cast(pa.float64(), safe=False), [])
    if pa.types.is_boolean(type_):
        return Coerced(values.cast(pa.int8()).cast(pa.float64()), [])
    return Coerced(pa.nulls(len(values), pa.float64()), [(NO_NUMBER, mask_of(values.is_valid()))])


def _parse_numbers(text: pa.Array) -> tuple[pa.Array, Mask]:
    text = _blank(text, mask_of(pc.equal(text, "")))
    try:
        return text.cast(pa.float64()), np.zeros(len(text), np.bool_)
    except pa.ArrowInvalid:
        return _parse_distinct(text, parse_number, pa.float64())


def _parse_distinct(
    text: pa.Array, parse: Callable[[str], float | None], type_: pa.DataType
) -> tuple[pa.Array, Mask]:
    """Parses with a Python function; None, and a bad mask, where it finds nothing."""
    values = _by_distinct(text, parse, type_)
    return values, mask_of(pc.and_(values.is_null(), text.is_valid()))


def _by_distinct(
    values: pa.Array, function: Callable[[Any], object], type_: pa.DataType
) -> pa.Array:
    """Applies a Python function, once a distinct value."""
    encoded = values.dictionary_encode()
    found = pa.array([function(value) for value in encoded.dictionary.to_pylist()], type_)
    return found.take(encoded.indices)


def _finite(values: pa.Array) -> Coerced:
    numbers, problems = _numbers(values)
    single = numbers.cast(pa.float32(), safe=False)
    infinite = mask_of(pc.invert(pc.is_finite(single)))
    return Coerced(_blank(single, infinite), [*problems, (NOT_FINITE, infinite)])


def _labels(values: pa.Array) -> Coerced:
    numbers, problems = _numbers(values)
    bad = mask_of(pc.invert(pc.or_(pc.equal(numbers, 0.0), pc.equal(numbers, 1.0))))
    for _, mask in problems:
        bad = bad | mask
    return Coerced(_blank(numbers, bad).cast(pa.float32()), [(NO_LABEL, bad)])


def _amounts(values: pa.Array) -> Coerced:
    numbers, problems = _finite(values)
    bad = mask_of(pc.less(numbers, 0.0))
    for _, mask in problems:
        bad = bad | mask
    return Coerced(_blank(numbers, bad), [(NO_AMOUNT, bad)])


def _weights(values: pa.Array) -> Coerced:
    numbers, problems = _finite(values)
    negative = mask_of(pc.less(numbers, 0.0))
    bad = np.zeros_like(negative)
    for _, mask in problems:
        bad = bad | mask
    return Coerced(_blank(numbers, bad | negative), [(NO_WEIGHT, bad), (NEGATIVE_WEIGHT, negative)])


def _timestamps(values: pa.Array) -> Coerced:
    exact, problems = _microseconds(values)
    # Integers are divided towards 0, and no moment is before 1990.
    return Coerced(pc.divide(exact, MICROSECONDS), problems)


def _microseconds(values: pa.Array) -> Coerced:
    type_ = values.type
    problems: list[tuple[str, Mask]] = []
    if pa.types.is_date(type_):
        values = values.cast(pa.timestamp("ms"))
        type_ = values.type
    if pa.types.is_timestamp(type_):
        ticks = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        unit = _UNITS[type_.unit]
        seconds = (ticks // unit).astype(np.float64)
        parts = ticks % unit * MICROSECONDS // unit
    else:
        if is_text(type_):
            values, problems = decode_text(values)
            values, bad = _parse_timestamps(values)
            problems.append((NO_TIMESTAMP, bad))
        elif pa.types.is_boolean(type_) or not (
            pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
        ):
            return refuse_all(values, "microseconds", NO_TIMESTAMP)
        else:
            values = values.cast(pa.float64(), safe=False)
        doubles = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore", invalid="ignore"):
            seconds = np.rint(doubles * MICROSECONDS) // MICROSECONDS
            parts = np.nan_to_num(np.rint(doubles * MICROSECONDS) % MICROSECONDS)
    inside = (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)  # False for NaN
    outside = ~inside & values.is_valid().to_numpy(zero_copy_only=False)
    whole = np.where(inside, seconds, 0).astype(np.int64) * MICROSECONDS
    exact = whole + np.where(inside, parts, 0).astype(np.int64)
    return Coerced(pa.array(exact, mask=~inside), [*problems, (OUT_OF_RANGE, outside)])


def _parse_timestamps(text: pa.Array) -> tuple[pa.Array, Mask]:
    """ISO text or numbers -> float64 seconds. Arrow reads what is uniform, Python what is mixed
    or unusual.
    """
    text = _blank(text, mask_of(pc.equal(text, "")))
    nothing = np.zeros(len(text), np.bool_)
    for type_ in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            ticks = text.cast(type_).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        return pc.divide(ticks.cast(pa.float64(), safe=False), 1e6), nothing
    try:
        return text.cast(pa.float64()), nothing
    except pa.ArrowInvalid:
        return _parse_distinct(text, parse_seconds, pa.float64())


SCALARS: dict[Kind, Callable[[pa.Array], Coerced]] = {
    "string": read_texts,
    "number": _finite,
    "label": _labels,
    "amount": _amounts,
    "weight": _weights,
    "timestamp": _timestamps,
    "double": _numbers,
    "microseconds": _microseconds,
}
