"""``TensorProto`` is read as TensorFlow reads it, and hostile ones are refused before they cost
anything.
"""

import time
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from serving.wire.messages import TensorProto
from serving.wire.tensor_protos import claimed_bytes, decode, encode, varint

NUMBERS = [
    np.float32,
    np.float64,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.bool_,
    np.float16,
    np.complex64,
    np.complex128,
]


def proto(dtype: tf.DType, *shape: int, **fields: object) -> Message:
    message = TensorProto(dtype=dtype.as_datatype_enum, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda kind: hnp.arrays(
            kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        )
    )
)
def test_numbers_survive_both_encodings(array: np.ndarray) -> None:
    dtype = tf.as_dtype(array.dtype).as_datatype_enum
    for packed in (False, True):
        message = encode(array, dtype, packed=packed)
        np.testing.assert_array_equal(decode(message), array, strict=True)
        theirs = tensor_pb2.TensorProto.FromString(message.SerializeToString())
        np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    np.testing.assert_array_equal(decode(tf.make_tensor_proto(array)), array, strict=True)


@pytest.mark.parametrize(
    "count", [0, 1, 31, 32, 5_000, 600_000]
)  # around the lengths that take another byte to write
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_lie_in_the_repeated_field_as_protobuf_writes_them(kind: Any, count: int) -> None:
    array = np.random.default_rng(count).standard_normal(count).astype(kind)
    dtype = tf.as_dtype(kind)
    field = {np.float32: "float_val", np.float64: "double_val"}[kind]
    expected = proto(dtype, count, **{field: array.tolist()})
    received = encode(array, dtype.as_datatype_enum)
    assert received.SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    assert len(getattr(received, field)) == count and not received.tensor_content


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=9), max_size=6))
def test_strings_survive_with_their_zero_bytes(values: list[bytes]) -> None:
    message = encode(np.array([*values, None], np.object_)[:-1], tf.string.as_datatype_enum)
    assert decode(message).tolist() == values
    assert tf.io.parse_tensor(message.SerializeToString(), tf.string).numpy().tolist() == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=6))
def test_strings_in_the_content_are_read_as_tensorflow_reads_them(values: list[bytes]) -> None:
    lengths = b"".join(varint(len(value)) for value in values)
    message = proto(tf.string, len(values), tensor_content=lengths + b"".join(values))
    if not values:  # no content at all
        assert decode(message).tolist() == []
        return
    assert tf.io.parse_tensor(message.SerializeToString(), tf.string).numpy().tolist() == values
    assert decode(message).tolist() == values


def test_fewer_values_repeat_the_last_as_tensorflow_does() -> None:
    messages = [
        proto(tf.float32, 2, 2, float_val=[1.0, 2.0]),
        proto(tf.int64, 3, int64_val=[7]),
        proto(tf.string, 3, string_val=[b"a", b"b"]),
        proto(tf.float32, 2),
        proto(tf.string, 2),
        proto(tf.bool, 2, tensor_content=b"\x01\x00"),
        proto(tf.float16, 3, half_val=[0x3C00, 0xC000]),
        proto(tf.complex64, 3, scomplex_val=[1.0, 2.0, 3.0, -4.0]),
        proto(tf.complex128, 2, dcomplex_val=[1.0, 2.0]),
        proto(tf.string, 2, tensor_content=b"\x01\x02abb"),  # sizes, then characters
    ]
    for message in messages:
        expected = tf.io.parse_tensor(
            message.SerializeToString(), tf.as_dtype(message.dtype)
        ).numpy()
        np.testing.assert_array_equal(decode(message), expected)


@pytest.mark.parametrize(
    ("message", "dtype"),
    [
        (proto(tf.float32, 2, float_val=[1, 2, 3]), tf.float32),
        (proto(tf.float32, 0, float_val=[1]), tf.float32),
        (proto(tf.string, 1, string_val=[b"a", b"b"]), tf.string),
        (proto(tf.int64, 1, 2, int64_val=[1, 2, 3, 4]), tf.int64),
        (proto(tf.complex64, 1, scomplex_val=[1.0, 2.0, 3.0, 4.0]), tf.complex64),
        (proto(tf.float16, 1, half_val=[15360, 16384]), tf.float16),
        (proto(tf.bool, 1, bool_val=[True, False]), tf.bool),
    ],
)
def test_values_beyond_the_shape_are_left_out_as_tensorflow_leaves_them(
    message: Message, dtype: tf.DType
) -> None:
    expected = tf.io.parse_tensor(message.SerializeToString(), dtype).numpy()
    np.testing.assert_array_equal(decode(message), expected)


@pytest.mark.parametrize(
    "message",
    [
        proto(tf.float32, 2, tensor_content=b"abc"),
        proto(tf.string, 2, tensor_content=b"\xff\xff\xff\xff\xff"),
        proto(tf.string, 1, tensor_content=b"\x02a"),
        proto(tf.string, 1, tensor_content=b"\x01ab"),
        proto(tf.complex64, 2, scomplex_val=[1.0]),
        proto(tf.float16, 1, half_val=[1 << 16]),
        proto(tf.bfloat16, 1, half_val=[1]),
        proto(tf.int8, 1, int_val=[1000]),
        proto(tf.float32, -1, float_val=[1]),
        proto(tf.float32, *[1] * 40),
        proto(tf.float16, 2, tensor_content=b"abc"),
        proto(tf.resource),
        proto(tf.variant),
        TensorProto(),
        TensorProto(dtype=999),
        TensorProto(dtype=101),
    ],
)
def test_content_that_does_not_fit_is_refused(message: Message) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(message)


def test_claims_are_worked_out_without_allocating() -> None:
    began = time.perf_counter()
    assert claimed_bytes(proto(tf.float32, 1 << 40, 1 << 40)) == 4 << 80
    assert claimed_bytes(proto(tf.float32, 0, 1 << 60)) == 4 << 60
    assert claimed_bytes(proto(tf.float16, 1 << 50)) >= 2 << 50
    assert claimed_bytes(proto(tf.string, 1 << 20, string_val=[b"x" * 1000])) > 1000 << 20
    assert time.perf_counter() - began < 0.1
