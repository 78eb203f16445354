"""``TensorProto`` to NumPy and back as ``serving.wire.tensor_protos`` has it, and by TensorFlow
itself for the data types that NumPy does not have (bfloat16, ...).
"""

from typing import Any

import numpy as np
from google.protobuf.message import Message

from configs.tensorflow_import import tf
from serving.wire import tensor_protos
from serving.wire.messages import DataType, TensorProto
from serving.wire.tensor_protos import Array, dtype_name, is_known, shape_of

_UNSENDABLE = (DataType.DT_INVALID, DataType.DT_RESOURCE, DataType.DT_VARIANT)


def decode(proto: Message) -> Array:
    """The tensor in a message. Raises ``ValueError`` as ``tensor_protos.decode``."""
    if is_known(proto.dtype) or proto.dtype in _UNSENDABLE or proto.dtype not in list(DataType):
        return tensor_protos.decode(proto)
    shape = shape_of(proto)
    try:
        return np.asarray(
            tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype)).numpy()
        )
    except (tf.errors.OpError, TypeError):
        raise ValueError(
            f"its content does not fit {dtype_name(proto.dtype)} and shape {list(shape)}"
        ) from None


def encode(value: Any, dtype: int) -> Message:
    """A message for a tensor, numbers in the repeated field as TensorFlow Serving answers."""
    if is_known(dtype):
        return tensor_protos.encode(value, dtype)
    return TensorProto.FromString(tf.make_tensor_proto(value).SerializeToString())
