"""Reads single values: a raw Arrow column of any type -> text, numbers, labels, weights or
moments. ``configs.values`` says what is accepted.
"""

from collections.abc import Callable
from typing import NamedTuple

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
    NO_LABEL,
    NO_NUMBER,
    NO_TEXT,
    NO_TIMESTAMP,
    NO_UTF8,
    NO_WEIGHT,
    NOT_FINITE,
    OUT_OF_RANGE,
    parse_number,
    parse_seconds,
)
from preprocessing.logs.schema import ARROW_TYPES, Kind

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

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


def read_texts(values: pa.Array) -> Coerced:
    type_ = values.type
    problems: list[tuple[str, Mask]] = []
    if is_text(type_):
        values, problems = decode_text(values)
    elif pa.types.is_floating(type_):
        bad = mask_of(pc.invert(pc.is_finite(values)))
        problems = [(NO_TEXT, bad)]
        values = _text_of_floats(_blank(values, bad))
    elif (
        pa.types.is_integer(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
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
    """Parses with a Python function, once a distinct value; None, and a bad mask, where it finds
    nothing.
    """
    encoded = text.dictionary_encode()
    parsed = pa.array([parse(value) for value in encoded.dictionary.to_pylist()], type_)
    values = parsed.take(encoded.indices)
    return values, mask_of(pc.and_(values.is_null(), text.is_valid()))


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


def _weights(values: pa.Array) -> Coerced:
    numbers, problems = _finite(values)
    bad = mask_of(pc.less(numbers, 0.0))
    for _, mask in problems:
        bad = bad | mask
    return Coerced(_blank(numbers, bad), [(NO_WEIGHT, bad)])


def _timestamps(values: pa.Array) -> Coerced:
    type_ = values.type
    problems: list[tuple[str, Mask]] = []
    if pa.types.is_date(type_):
        values = values.cast(pa.timestamp("ms"))
        type_ = values.type
    if pa.types.is_timestamp(type_):
        ticks = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        seconds = (ticks // _UNITS[type_.unit]).astype(np.float64)
        known = values.is_valid()
    else:
        if is_text(type_):
            values, problems = decode_text(values)
            values, bad = _parse_timestamps(values)
            problems.append((NO_TIMESTAMP, bad))
        elif pa.types.is_boolean(type_) or not (
            pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
        ):
            return refuse_all(values, "timestamp", NO_TIMESTAMP)
        else:
            values = values.cast(pa.float64(), safe=False)
        known = values.is_valid()
        seconds = np.floor(pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False))
    inside = (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)  # False for NaN
    outside = ~inside & known.to_numpy(zero_copy_only=False)
    whole = np.where(inside, seconds, 0).astype(np.int64)
    return Coerced(pa.array(whole, mask=~inside), [*problems, (OUT_OF_RANGE, outside)])


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
    "weight": _weights,
    "timestamp": _timestamps,
}
