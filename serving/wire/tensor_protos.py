"""``TensorProto`` to NumPy and back, with TensorFlow's reading of the message and without its
trust in the sender.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from serving.wire.messages import DataType, TensorProto

Array = npt.NDArray[Any]

_FIELDS: dict[int, tuple[str, Any]] = {
    DataType.DT_FLOAT: ("float_val", np.float32),
    DataType.DT_DOUBLE: ("double_val", np.float64),
    DataType.DT_HALF: ("half_val", np.float16),
    DataType.DT_INT64: ("int64_val", np.int64),
    DataType.DT_INT32: ("int_val", np.int32),
    DataType.DT_INT16: ("int_val", np.int16),
    DataType.DT_INT8: ("int_val", np.int8),
    DataType.DT_UINT8: ("int_val", np.uint8),
    DataType.DT_UINT16: ("int_val", np.uint16),
    DataType.DT_UINT32: ("uint32_val", np.uint32),
    DataType.DT_UINT64: ("uint64_val", np.uint64),
    DataType.DT_BOOL: ("bool_val", np.bool_),
    DataType.DT_COMPLEX64: ("scomplex_val", np.complex64),
    DataType.DT_COMPLEX128: ("dcomplex_val", np.complex128),
    DataType.DT_STRING: ("string_val", np.object_),
}
"""Data type -> the repeated field that carries it, and its NumPy type. NumPy has no others."""

_IN_FIELD: dict[Any, tuple[Any, int]] = {
    np.float16: (np.uint16, 1),
    np.complex64: (np.float32, 2),
    np.complex128: (np.float64, 2),
}
"""NumPy type -> what lies in the repeated field where that is another type: the bits of a half,
the parts of a complex number; and how many of them are one element.
"""

_PACKED: dict[int, tuple[str, bytes]] = {
    DataType.DT_FLOAT: ("<f4", b"\x2a"),
    DataType.DT_DOUBLE: ("<f8", b"\x32"),
}
"""Data type -> how its repeated field lies in a message, packed: NumPy type and tag (field 5 or
6, length-delimited).
"""
_STRING_BYTES = 24
"""What TensorFlow allocates for a string before its characters."""
_DATA_TYPES = frozenset(DataType)
_MOST_DIMENSIONS = 32
"""NumPy before 2 has no more; TensorFlow allows 254, and no model uses them."""


def dtype_name(dtype: int) -> str:
    """``DT_FLOAT`` for 1, and the bare number for one that does not exist."""
    return DataType(dtype).name if dtype in _DATA_TYPES else str(dtype)


def is_known(dtype: int) -> bool:
    """Whether ``decode`` and ``encode`` take a data type."""
    return dtype in _FIELDS


def shape_of(proto: Message) -> tuple[int, ...]:
    """The shape a message states. Raises ``ValueError`` where it is unknown, has a negative
    dimension, or too many dimensions.
    """
    stated = proto.tensor_shape
    if stated.unknown_rank:
        raise ValueError("its rank is unknown")
    shape = tuple([dim.size for dim in stated.dim])
    if shape and min(shape) < 0:
        raise ValueError(f"shape {_brief(shape)} has a negative dimension")
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"it has {len(shape)} dimensions; at most {_MOST_DIMENSIONS} are served")
    return shape


def claimed_bytes(proto: Message) -> int:
    """Bytes that the decoded tensor would take, worked out without allocating any of them (a
    message of ten bytes can claim terabytes).

    Raises ``ValueError`` where ``shape_of`` does.
    """
    shape = shape_of(proto)
    field, kind = _FIELDS.get(proto.dtype, ("", np.complex128))
    count = math.prod(max(size, 1) for size in shape)
    if field != "string_val":
        return int(count * np.dtype(kind).itemsize)
    values = proto.string_val
    repeated = max(math.prod(shape) - len(values), 0) * len(values[-1]) if values else 0
    return int(count * _STRING_BYTES + repeated + proto.ByteSize())


def decode(proto: Message) -> Array:
    """The tensor in a message; strings as an object array of ``bytes``.

    As TensorFlow reads it: ``tensor_content`` if there is any, else the repeated field of the data
    type; with fewer values than elements the last one is repeated, and no value at all means zeros
    or empty strings, and values beyond the elements are left out. Check ``claimed_bytes`` first.

    Raises:
      ValueError: content that does not fit the shape or the data type, and a data type that NumPy
        does not have.
    """
    shape = shape_of(proto)
    if proto.dtype not in _FIELDS:
        raise ValueError(f"{dtype_name(proto.dtype)} cannot be sent")
    field, kind = _FIELDS[proto.dtype]
    if proto.tensor_content:
        return _decode_content(proto.tensor_content, shape, kind).reshape(shape)
    if field == "string_val":
        count = math.prod(shape)
        values = list(proto.string_val[:count])
        flat: Array = np.full(count, values[-1] if values else b"", np.object_)
        flat[: len(values)] = values
        return flat.reshape(shape)
    return _decode_numbers(proto, shape, field, kind).reshape(shape)


def strings_message(proto: Message) -> Array:
    """A message of strings, serialized, as the scalar that ``tf.io.parse_tensor`` takes; refused
    where ``decode`` would refuse it.
    """
    shape_of(proto)
    if proto.tensor_content:
        decode(proto)
    message: Array = np.array(proto.SerializeToString(), np.object_)
    return message


def encode(value: Any, dtype: int, *, packed: bool = False) -> Message:
    """A message for a tensor.

    Args:
      value: array of the data type, or a scalar (what a session returns for a fetched scalar).
      dtype: its ``DataType``.
      packed: write numbers as ``tensor_content``, which is smaller and faster; else into the
        repeated field (``float_val``, ...), which is what TensorFlow Serving answers with. Strings
        always go into ``string_val``.

    Raises:
      KeyError: a data type that is not ``is_known``.
    """
    field, kind = _FIELDS[dtype]
    array = np.asarray(value, kind)
    proto = TensorProto(dtype=dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if packed and kind is not np.object_:
        proto.tensor_content = array.tobytes()
    elif (
        dtype in _PACKED
    ):  # as one piece: a Python number for each element would take as long as a small model
        layout, tag = _PACKED[dtype]
        content = array.astype(layout, copy=False).tobytes()
        proto.MergeFromString(tag + varint(len(content)) + content)
    else:
        flat = array.ravel()
        getattr(proto, field).extend(flat.view(_IN_FIELD.get(kind, (kind, 1))[0]).tolist())
    return proto


def varint(number: int) -> bytes:
    """A whole number from 0 on as protocol buffers and LevelDB write it."""
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def _decode_content(content: bytes, shape: tuple[int, ...], kind: Any) -> Array:
    """The elements in ``tensor_content``."""
    if kind is np.object_:
        return _decode_strings(content, shape)
    needed = math.prod(shape) * np.dtype(kind).itemsize
    if len(content) != needed:
        raise ValueError(
            f"tensor_content has {len(content)} bytes; shape {_brief(shape)} needs {needed}"
        )
    flat: Array = np.frombuffer(content, np.uint8 if kind is np.bool_ else kind)
    return flat != 0 if kind is np.bool_ else flat


def _decode_strings(content: bytes, shape: tuple[int, ...]) -> Array:
    """Texts in ``tensor_content``: the length of each, then their characters."""
    start, lengths = 0, []
    for _ in range(math.prod(shape)):
        length = shift = 0
        while True:
            if start == len(content) or shift > 28:
                raise ValueError(f"its content does not fit DT_STRING and shape {_brief(shape)}")
            byte = content[start]
            start += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(length)
    if start + sum(lengths) != len(content):
        raise ValueError(f"its content does not fit DT_STRING and shape {_brief(shape)}")
    flat: Array = np.empty(len(lengths), np.object_)
    for index, length in enumerate(lengths):
        flat[index] = content[start : start + length]
        start += length
    return flat


def _decode_numbers(proto: Message, shape: tuple[int, ...], field: str, kind: Any) -> Array:
    """The elements in a repeated field."""
    stored, parts = _IN_FIELD.get(kind, (kind, 1))
    values = getattr(proto, field)
    given, left_over = divmod(len(values), parts)
    if left_over:
        raise ValueError(f"{field} has {len(values)} values, which is no whole number of elements")
    count = math.prod(shape)
    given = min(given, count)
    try:
        part: Array = np.fromiter(values[: given * parts], stored, given * parts).view(kind)
    except (OverflowError, ValueError):
        raise ValueError(f"{field} has a value outside {dtype_name(proto.dtype)}") from None
    if given == count:
        return part
    flat: Array = np.full(count, part[-1] if given else 0, kind)
    flat[:given] = part
    return flat


def _brief(shape: tuple[int, ...]) -> str:
    return str(list(shape)) if len(shape) <= 8 else f"{list(shape[:8])}..."
