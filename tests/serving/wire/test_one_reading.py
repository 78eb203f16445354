"""What a request, an example and a golden request make of a value is what ``configs.values`` says,
as preprocessing does (``tests/preprocessing/validation/test_one_reading.py``).
"""

import math
from datetime import UTC
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import meta_graph_pb2

from configs.errors import InputError
from configs.values import READERS, UnreadableValueError
from preprocessing.logs.schema import raw_columns
from serving.wire.row_codec import encode_rows
from serving.wire.tensor_protos import decode
from serving.wire.tf_examples import example
from tests.preprocessing.shop_logs import experiment
from tests.raw_values import FRACTIONS, HUGE, MOMENTS, TEXTS, WHOLE, outcome
from trainer.registry.golden_scores import record_batch

ATOMS = st.one_of(
    st.none(),
    TEXTS,
    TEXTS.map(str.encode),
    WHOLE,
    HUGE,
    FRACTIONS,
    st.booleans(),
    MOMENTS,
    MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    MOMENTS.map(lambda moment: moment.date()),
    st.sampled_from(["\ud800", b"\xff"]),
)
VALUES = ATOMS | st.lists(ATOMS, max_size=3) | st.lists(TEXTS | st.none(), max_size=3)
TYPES = {
    "string": (tf.string, [None], ""),
    "number": (tf.float32, [None], None),
    "timestamp": (tf.int64, [None], None),
    "strings": (tf.string, [None, None], None),
    "numbers": (tf.float32, [None, None], None),
}
COLUMNS = {"string": "scene", "strings": "history", "number": "price", "timestamp": "time"}


def sent(kind: str, value: object) -> Any:
    """What the client sends, None for missing; an ``InputError`` for what it refuses."""
    dtype, shape, _ = TYPES[kind]
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["x"].dtype = dtype.as_datatype_enum
    signature.inputs["x"].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    cell = decode(encode_rows(signature, [{"x": value}])["x"])[0]
    if kind == "strings":
        return [text.decode() for text in cell if text]
    if kind == "numbers":
        elements = value if isinstance(value, list) else ()
        return [None if math.isnan(part) else part.item() for part in cell[: len(elements)]]
    if kind == "string":
        return cell.decode() or None
    return None if math.isnan(cell) else cell.item()


def without_nan(value: object) -> object:
    """A list in which missing numbers, as data frames have them, are null."""
    if not isinstance(value, list):
        return value
    return [None if isinstance(part, float) and math.isnan(part) else part for part in value]


@pytest.mark.parametrize("kind", TYPES)
@settings(deadline=None, max_examples=300)
@given(value=VALUES)
def test_a_request(kind: str, value: object) -> None:
    expected = outcome(kind, without_nan(value) if kind == "numbers" else value)
    if kind == "number" and isinstance(value, float) and math.isnan(value):
        assert sent(kind, value) is None  # a data frame's missing number
    elif isinstance(expected, str) and expected.startswith("expected "):
        with pytest.raises(InputError, match=r"^row 0: x must be .*, received "):
            sent(kind, value)
    elif kind == "timestamp" and expected is None:
        with pytest.raises(InputError, match="whole number"):  # a moment cannot be missing
            sent(kind, value)
    else:
        assert sent(kind, value) == expected


@pytest.mark.parametrize("kind", COLUMNS)
@settings(deadline=None, max_examples=150)
@given(value=VALUES)
def test_a_golden_request(kind: str, value: object) -> None:
    config, name, expected = experiment(), COLUMNS[kind], outcome(kind, value)
    if isinstance(expected, str) and expected.startswith("expected "):
        with pytest.raises(InputError, match=f"^golden: damaged: {name}: expected .*, received "):
            record_batch(config, [{name: value}], "golden")
    else:
        batch = record_batch(config, [{name: value}], "golden")
        assert batch.column(name).to_pylist() == [expected]
        assert batch.schema.names == list(raw_columns(config))


def features_of(value: object) -> Any:
    """What an example of the value holds, None where it is left out."""
    features = tf.train.Example.FromString(example({"x": value})).features.feature
    if "x" not in features:
        return None
    kind = features["x"].WhichOneof("kind")
    return kind, list(getattr(features["x"], kind).value)


@settings(deadline=None, max_examples=300)
@given(value=VALUES)
def test_an_example(value: object) -> None:
    if isinstance(value, bool):
        with pytest.raises(UnreadableValueError, match="a fraction or a moment, received"):
            example({"x": value})
        return
    there = [part for part in value if part is not None] if isinstance(value, list) else []
    fractions = bool(there) and all(isinstance(part, float) for part in there)
    if fractions:
        value = without_nan(value)
    kind, field = (
        ("numbers", "float_list")
        if fractions
        else ("strings", "bytes_list")
        if isinstance(value, list)
        else ("string", "bytes_list")
        if isinstance(value, str | bytes)
        else ("number", "float_list")
        if isinstance(value, float)
        else ("timestamp", "int64_list")
    )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        assert features_of(value) is None
        return
    if isinstance(value, list) and not there:
        assert features_of(value) is None
        return
    try:
        expected = READERS[kind](value)
    except UnreadableValueError as error:
        with pytest.raises(UnreadableValueError) as caught:
            example({"x": value})
        assert caught.value.rule == error.rule
        return
    if fractions:
        found = features_of(value)
        assert found is not None
        assert found[0] == field
        assert [None if math.isnan(part) else part for part in found[1]] == expected
        return
    texts = expected if kind == "strings" else [expected]
    if field == "bytes_list":
        texts = [text.encode() for text in texts if text is not None]  # type: ignore[attr-defined]
    if expected is None:
        assert features_of(value) is None
    elif texts == []:
        assert features_of(value) == ("bytes_list", [])
    else:
        assert features_of(value) == (field, texts)


def test_narrow_floats_of_a_data_frame_are_written_as_they_are_in_a_log() -> None:
    assert sent("string", np.float32(0.1)) == "0.1"
    assert sent("strings", np.array([0.1, 2.0], np.float32)) == ["0.1", "2"]
    assert sent("string", np.float32(123456789)) == "123456792"  # the whole number that it is
    assert sent("timestamp", np.float32(1741913144)) == 1741913088


def test_an_array_without_dimensions_is_its_value() -> None:
    assert sent("number", np.array(3.5)) == 3.5
    assert sent("string", np.array("u1")) == "u1"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_narrow_floats_keep_every_bit(value: float) -> None:
    assert sent("number", np.float32(value)) == value
