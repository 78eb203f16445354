"""Turns checked columns into what ``Servable.run`` takes, whole columns at a time and with the
values and shapes that a client's request would have (``serving.wire.row_codec``).

A text never becomes a Python object: what Arrow holds, the lengths and the characters of all texts,
is what ``tensor_content`` of a tensor of strings holds, too.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf.message import Message

from preprocessing.features.batch_columns import dense, is_list
from serving.wire.messages import DataType, TensorProto
from serving.wire.row_codec import stated_length
from serving.wire.tensor_protos import Array

_MANY = 0x80  # of a byte: the length goes on in the next one


def feed_of(column: pa.Array, info: Message) -> Array:
    """What a session is fed for an input.

    Args:
      column: ``N`` values in canonical form (``preprocessing.logs.schema.ARROW_TYPES``).
      info: the input's ``TensorInfo``.

    Returns:
      ``[N]``, or ``[N, L]`` of lists, L being the longest or the length that the signature states
      where that is more; missing as a client sends it: "", NaN. Of text, the scalar that
      ``tf.io.parse_tensor`` takes.
    """
    if is_list(column):
        return _lists(column, info)
    if pa.types.is_string(column.type):
        return _strings(_lengths(column), _characters(column))
    numbers: Array = column.to_numpy(zero_copy_only=False)
    return numbers


def repeated_text(text: str, rows: int) -> Array:
    """The feed of one text for all rows, such as a domain's name."""
    content = text.encode()
    return _strings(np.full(rows, len(content), np.int64), content * rows)


def _lists(column: pa.Array, info: Message) -> Array:
    fixed = info.tensor_shape.dim[1].size
    length = fixed if fixed >= 0 else stated_length(info)
    flat = column.flatten()
    if not pa.types.is_string(flat.type):
        numbers = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        return _padded(dense(column, numbers, np.nan), length, np.nan)
    lengths = _padded(dense(column, _lengths(flat)), length, 0)
    return _strings(lengths, _characters(flat))


def _padded(array: Array, length: int, padding: float) -> Array:
    missing = max(length - array.shape[1], 0)
    return np.pad(array, [(0, 0), (0, missing)], constant_values=padding) if missing else array


def _offsets(text: pa.Array) -> npt.NDArray[np.int32]:
    if not len(text):
        return np.zeros(1, np.int32)
    return np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]


def _lengths(text: pa.Array) -> npt.NDArray[np.int64]:
    return np.diff(_offsets(text.fill_null(""))).astype(np.int64)


def _characters(text: pa.Array) -> bytes:
    text = text.fill_null("")
    offsets, buffer = _offsets(text), text.buffers()[2]
    return memoryview(buffer)[offsets[0] : offsets[-1]].tobytes() if buffer is not None else b""


def _strings(lengths: npt.NDArray[np.int64], characters: bytes) -> Array:
    """A message of texts, serialized: the length of each, then the characters of all."""
    proto = TensorProto(dtype=DataType.DT_STRING)
    for size in lengths.shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_content = _varints(lengths.ravel()) + characters
    message: Array = np.array(proto.SerializeToString(), np.object_)
    return message


def _varints(numbers: npt.NDArray[np.int64]) -> bytes:
    """Lengths as protocol buffers write whole numbers; texts have at most 4,096 bytes, which two
    bytes can say.
    """
    if numbers.max(initial=0) < _MANY:
        return numbers.astype(np.uint8).tobytes()
    more = numbers >= _MANY
    pairs = np.stack([numbers % _MANY + _MANY * more, numbers // _MANY], axis=1).astype(np.uint8)
    written = np.stack([np.ones_like(more), more], axis=1)
    return pairs[written].tobytes()
