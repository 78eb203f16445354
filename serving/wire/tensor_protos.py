"""``TensorProto`` to NumPy and back, with TensorFlow's reading of the message and without its
trust in the sender.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

Array = npt.NDArray[Any]

_FIELDS: dict[int, tuple[str, Any]] = {
    types_pb2.DT_FLOAT: ("float_val", np.float32),
    types_pb2.DT_DOUBLE: ("double_val", np.float64),
    types_pb2.DT_INT64: ("int64_val", np.int64),
    types_pb2.DT_INT32: ("int_val", np.int32),
    types_pb2.DT_INT16: ("int_val", np.int16),
    types_pb2.DT_INT8: ("int_val", np.int8),
    types_pb2.DT_UINT8: ("int_val", np.uint8),
    types_pb2.DT_UINT16: ("int_val", np.uint16),
    types_pb2.DT_UINT32: ("uint32_val", np.uint32),
    types_pb2.DT_UINT64: ("uint64_val", np.uint64),
    types_pb2.DT_BOOL: ("bool_val", np.bool_),
    types_pb2.DT_STRING: ("string_val", np.object_),
}
"""Data type -> the repeated field that carries it, and its NumPy type. Other types (half,
complex, ...) go through TensorFlow itself.
"""

_PACKED = {types_pb2.DT_FLOAT: ("<f4", b"\x2a"), types_pb2.DT_DOUBLE: ("<f8", b"\x32")}
"""Data type -> how its repeated field lies in a message, packed: NumPy type and tag (field 5 or
6, length-delimited).
"""
_STRING_BYTES = 24
"""What TensorFlow allocates for a string before its characters."""
_MOST_DIMENSIONS = 32
"""NumPy before 2 has no more; TensorFlow allows 254, and no model uses them."""


def dtype_name(dtype: int) -> str:
    """``DT_FLOAT`` for 1, and the bare number for one that does not exist."""
    return (
        str(types_pb2.DataType.Name(dtype)) if dtype in types_pb2.DataType.values() else str(dtype)
    )


def shape_of(proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
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


def claimed_bytes(proto: tensor_pb2.TensorProto) -> int:
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


def decode(proto: tensor_pb2.TensorProto) -> Array:
    """The tensor in a message; strings as an object array of ``bytes``.

    As TensorFlow reads it: ``tensor_content`` if there is any, else the repeated field of the data
    type; with fewer values than elements the last one is repeated, and no value at all means zeros
    or empty strings. Stricter than TensorFlow in one thing: more values than elements are refused
    and not cut off. Check ``claimed_bytes`` first.

    Raises:
      ValueError: content that does not fit the shape or the data type.
    """
    shape = shape_of(proto)
    count = math.prod(shape)
    if proto.dtype not in _FIELDS or (proto.dtype == types_pb2.DT_STRING and proto.tensor_content):
        return _decode_by_tensorflow(proto)
    field, kind = _FIELDS[proto.dtype]
    if proto.tensor_content:
        size = np.dtype(kind).itemsize
        if len(proto.tensor_content) != count * size:
            raise ValueError(
                f"tensor_content has {len(proto.tensor_content)} bytes; shape {_brief(shape)} needs"
                f" {count * size}"
            )
        flat: Array = np.frombuffer(proto.tensor_content, np.uint8 if kind is np.bool_ else kind)
        return (flat != 0 if kind is np.bool_ else flat).reshape(shape)

    values = getattr(proto, field)
    given = len(values)
    _check_count(field, given, shape)
    if field == "string_val":
        flat = np.full(count, values[-1] if given else b"", np.object_)
        flat[:given] = list(values)
        return flat.reshape(shape)
    try:
        part = np.fromiter(values, kind, given)
    except (OverflowError, ValueError):
        raise ValueError(f"{field} has a value outside {dtype_name(proto.dtype)}") from None
    if given < count:
        flat = np.full(count, part[-1] if given else 0, kind)
        flat[:given] = part
        part = flat
    return part.reshape(shape)


def strings_message(proto: tensor_pb2.TensorProto) -> Array:
    """A message of strings, serialized, as the scalar that ``tf.io.parse_tensor`` takes; refused
    where ``decode`` would refuse it.
    """
    if proto.tensor_content:
        decode(proto)
    else:
        _check_count("string_val", len(proto.string_val), shape_of(proto))
    message: Array = np.array(proto.SerializeToString(), np.object_)
    return message


def encode(value: Any, dtype: int, *, packed: bool = False) -> tensor_pb2.TensorProto:
    """A message for a tensor.

    Args:
      value: array of the data type, or a scalar (what a session returns for a fetched scalar).
      dtype: its ``DataType``.
      packed: write numbers as ``tensor_content``, which is smaller and faster; else into the
        repeated field (``float_val``, ...), which is what TensorFlow Serving answers with. Strings
        always go into ``string_val``.
    """
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(value)
    field, kind = _FIELDS[dtype]
    array = np.asarray(value, kind)
    proto = tensor_pb2.TensorProto(dtype=dtype)
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
        getattr(proto, field).extend(array.ravel().tolist())
    return proto


def _check_count(field: str, given: int, shape: tuple[int, ...]) -> None:
    if given > math.prod(shape):
        raise ValueError(
            f"{field} has {given} values; shape {_brief(shape)} needs {math.prod(shape)}"
        )


def varint(number: int) -> bytes:
    """A whole number from 0 on as protocol buffers and LevelDB write it."""
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def _decode_by_tensorflow(proto: tensor_pb2.TensorProto) -> Array:
    if proto.dtype in (types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT) or dtype_name(
        proto.dtype
    ).endswith(("_REF", "INVALID")):
        raise ValueError(f"{dtype_name(proto.dtype)} cannot be sent")
    try:
        return np.asarray(
            tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy()
        )
    except (tf.errors.OpError, TypeError):
        raise ValueError(
            f"its content does not fit {dtype_name(proto.dtype)} and shape"
            f" {_brief(shape_of(proto))}"
        ) from None


def _brief(shape: tuple[int, ...]) -> str:
    return str(list(shape)) if len(shape) <= 8 else f"{list(shape[:8])}..."
