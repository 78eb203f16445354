"""Data types that NumPy does not have go through TensorFlow, in both directions."""

import numpy as np
import pytest
import tensorflow as tf

from serving.server.tensors import decode, encode
from serving.wire.messages import DataType, TensorProto


def test_types_without_a_numpy_type_survive() -> None:
    values = tf.constant([1.0, -2.5, 0.0], tf.bfloat16).numpy()
    message = encode(values, DataType.DT_BFLOAT16)
    assert message.dtype == DataType.DT_BFLOAT16
    np.testing.assert_array_equal(decode(message), values)


def test_the_others_are_what_the_wire_has() -> None:
    assert decode(encode([1.0, 2.0], DataType.DT_FLOAT)).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            TensorProto(dtype=DataType.DT_BFLOAT16, tensor_content=b"abc"),
            "does not fit DT_BFLOAT16",
        ),
        (TensorProto(dtype=DataType.DT_RESOURCE), "DT_RESOURCE cannot be sent"),
        (TensorProto(), "DT_INVALID cannot be sent"),
        (TensorProto(dtype=101), "101 cannot be sent"),
    ],
)
def test_what_no_tensor_is(message: TensorProto, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(message)
