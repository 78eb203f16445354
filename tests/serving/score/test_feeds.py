"""Columns become the very tensors that a client sends for the same rows."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import meta_graph_pb2

from preprocessing.logs.schema import Kind
from preprocessing.validation.coercion import coerce
from serving.score.feeds import feed_of, repeated_text
from serving.wire.row_codec import encode_rows
from serving.wire.signatures import LIST_LENGTH
from serving.wire.tensor_protos import decode

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5) | st.integers(0, 4000).map("é".__mul__)
SHORT = TEXTS.filter(lambda text: len(text.encode()) <= 4096)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
MOMENTS = st.integers(700_000_000, 4_000_000_000)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "string": st.none() | SHORT,
    "strings": st.none() | st.lists(st.none() | SHORT, max_size=4),
    "number": st.none() | NUMBERS,
    "numbers": st.none() | st.lists(st.none() | NUMBERS, max_size=4),
    "timestamp": MOMENTS,
}
DTYPES: dict[Kind, tuple[Any, list[int | None]]] = {
    "string": (tf.string, [None]),
    "strings": (tf.string, [None, None]),
    "number": (tf.float32, [None]),
    "numbers": (tf.float32, [None, None]),
    "timestamp": (tf.int64, [None]),
}
RAW: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
    "number": pa.float32(),
    "numbers": pa.list_(pa.float32()),
    "timestamp": pa.int64(),
}


def signature_of(kind: Kind, stated: int) -> meta_graph_pb2.SignatureDef:
    dtype, shape = DTYPES[kind]
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["x"].dtype = dtype.as_datatype_enum
    signature.inputs["x"].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    if len(shape) == 2 and stated:
        signature.inputs["x"].tensor_shape.dim[1].name = f"{LIST_LENGTH}{stated}"
    return signature


def fed(feed: Any, dtype: Any) -> Any:
    """What the graph sees of a feed."""
    return tf.io.parse_tensor(feed.item(), tf.string).numpy() if dtype == tf.string else feed


@pytest.mark.parametrize("kind", VALUES)
@settings(max_examples=150)
@given(data=st.data())
def test_a_column_is_what_a_client_sends(kind: Kind, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[kind], min_size=1, max_size=6))
    before = data.draw(st.integers(0, len(values) - 1))  # a part begins anywhere in a batch
    signature = signature_of(kind, data.draw(st.integers(0, 6)))
    column = coerce(pa.array(values, RAW[kind]), kind)
    assert not any(mask.any() for _, mask in column.problems)
    received = fed(feed_of(column.values.slice(before), signature.inputs["x"]), DTYPES[kind][0])
    sent = decode(encode_rows(signature, [{"x": value} for value in values[before:]])["x"])
    assert received.shape == sent.shape
    np.testing.assert_array_equal(received, sent)


def test_a_vector_has_its_size_and_a_missing_one_is_nan() -> None:
    signature = signature_of("numbers", 0)
    signature.inputs["x"].tensor_shape.dim[1].size = 3
    column = coerce(pa.array([None, [1, 2, 3], []], pa.list_(pa.float32())), "numbers").values
    received = feed_of(column, signature.inputs["x"])
    missing = [math.nan] * 3
    np.testing.assert_array_equal(received, np.array([missing, [1, 2, 3], missing], np.float32))


@given(text=SHORT, rows=st.integers(1, 5))
def test_one_text_for_all_rows(text: str, rows: int) -> None:
    assert fed(repeated_text(text, rows), tf.string).tolist() == [text.encode()] * rows
