"""The messages are TensorFlow's: every stated field, and the bytes of every signature's request."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from serving.wire import messages
from serving.wire.message_classes import message_classes
from serving.wire.messages import DataType
from serving.wire.request_encoding import encoded
from serving.wire.row_codec import Row, decode_rows
from serving.wire.tensor_protos import decode
from serving.wire.tf_examples import example

THEIRS: dict[str, Any] = {
    "TensorProto": tensor_pb2.TensorProto,
    "SignatureDef": meta_graph_pb2.SignatureDef,
    "Example": example_pb2.Example,
    "Feature": tf.train.Feature,
    "ModelSpec": model_pb2.ModelSpec,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "PredictionLog": prediction_log_pb2.PredictionLog,
}


def stated(descriptor: Any, seen: set[str]) -> list[tuple[Any, ...]]:
    """Every field that can be reached from a message: names, numbers and types."""
    if descriptor.full_name in seen or descriptor.file.name == any_pb2.DESCRIPTOR.name:
        return []
    seen.add(descriptor.full_name)
    found: list[tuple[Any, ...]] = []
    for field in descriptor.fields:
        kind = field.message_type or field.enum_type
        oneof = field.containing_oneof
        found.append(
            (
                field.full_name,
                field.number,
                field.type,
                field.is_repeated,
                field.is_packed,
                field.has_presence,
                kind and kind.full_name,
                oneof and oneof.name,
                bool(field.message_type and field.message_type.GetOptions().map_entry),
            )
        )
        if field.message_type:
            found += stated(field.message_type, seen)
    return found


@pytest.mark.parametrize("name", THEIRS)
def test_every_stated_field_is_tensorflows(name: str) -> None:
    ours, theirs = (
        stated(kind.DESCRIPTOR, set()) for kind in (getattr(messages, name), THEIRS[name])
    )
    assert len(ours) >= 1 and set(ours) <= set(theirs)


def test_the_data_types_are_tensorflows() -> None:
    assert {kind.name: kind.value for kind in DataType} == {
        name: number for name, number in types_pb2.DataType.items() if not name.endswith("_REF")
    }


def test_what_is_not_stated_is_kept() -> None:
    handle = {"resource_handle_val": [{"name": "table"}], "dtype": types_pb2.DT_RESOURCE}
    sent = tensor_pb2.TensorProto(**handle).SerializeToString()
    assert messages.TensorProto.FromString(sent).SerializeToString() == sent


def test_a_later_package_names_an_earlier_ones_and_one_value_of_a_oneof_stands() -> None:
    made = message_classes(
        {
            "first": {"Point": {"x": (1, "repeated double")}},
            "first.second": {
                "Shape": {
                    "points": (2, "map .first.Point"),
                    "name": (3, "string", "called"),
                    "number": (4, "int64", "called"),
                }
            },
        }
    )
    shape = made["Shape"](points={"a": {"x": [1.0]}}, name="")
    assert shape.WhichOneof("called") == "name"
    shape.number = 0
    assert shape.WhichOneof("called") == "number" and not shape.HasField("name")
    # field 2, a map entry: key "a" in its field 1; value in its field 2, one packed double
    assert (
        shape.SerializeToString().hex()
        == "120f" + "0a0161" + "120a" + ("0a08" + "000000000000f03f") + "2000"
    )


# ---- requests

NOW = 1_700_000_000
USERS: list[Row] = [
    {"user": "u1", "clicks": ["a", "b"], "price": 0.25, "time": NOW},
    {"user": "ü", "clicks": ["c"], "price": -1.5, "time": NOW + 1},
    {"user": "u3", "clicks": [], "time": NOW + 2},
]
EXAMPLES: list[Row] = [{"examples": example({"user": "u1", "time": NOW})}] * 2
COLUMNS: dict[str, tuple[tf.DType, Any]] = {
    "user": (tf.string, [b"u1", "ü".encode(), b"u3"]),
    "clicks": (tf.string, [[b"a", b"b"], [b"c", b""], [b"", b""]]),
    "price": (tf.float32, [0.25, -1.5, np.nan]),
    "time": (tf.int64, [NOW, NOW + 1, NOW + 2]),
    "domain": (tf.string, [b"all"] * 3),
}
ONCE = ("user", "clicks", "time", "domain")
REQUESTS: dict[str, tuple[list[Row], str | None, dict[str, tuple[tf.DType, Any]]]] = {
    "serving_default": (USERS, "all", COLUMNS),
    "rank": (
        USERS,
        "all",
        {
            name: (dtype, values[:1] if name in ONCE else values)
            for name, (dtype, values) in COLUMNS.items()
        },
    ),
    "all_domains": (
        USERS,
        None,
        {name: column for name, column in COLUMNS.items() if name != "domain"},
    ),
    "examples": (
        EXAMPLES,
        "auto",
        {
            "examples": (tf.string, [row["examples"] for row in EXAMPLES]),
            "domain": (tf.string, [b"auto"] * 2),
        },
    ),
}
"""Signature -> rows, domain, and the tensors they are sent as."""


def tensor(dtype: tf.DType, values: Any) -> tensor_pb2.TensorProto:
    """As TensorFlow's own class has it."""
    array = np.array(values, object if dtype is tf.string else dtype.as_numpy_dtype)
    made = tensor_pb2.TensorProto(
        dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(array.shape).as_proto()
    )
    if dtype is tf.string:
        made.string_val.extend(array.ravel().tolist())
    else:
        made.tensor_content = array.tobytes()
    return made


def signature(name: str) -> meta_graph_pb2.SignatureDef:
    """That takes a request's tensors, as TensorFlow's own class has it."""
    made = meta_graph_pb2.SignatureDef()
    for column, (dtype, values) in REQUESTS[name][2].items():
        first = 1 if name == "rank" and column in ONCE else None
        shape = [first, *[None] * (np.ndim(values) - 1)]
        made.inputs[column].dtype = dtype.as_datatype_enum
        made.inputs[column].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return made


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_the_bytes_of_tensorflow_servings_own_class(name: str) -> None:
    rows, domain, tensors = REQUESTS[name]
    expected = predict_pb2.PredictRequest(
        model_spec={"name": "m", "signature_name": name},
        inputs={column: tensor(*values) for column, values in tensors.items()},
    ).SerializeToString(deterministic=True)
    for known in (
        signature(name),
        messages.SignatureDef.FromString(signature(name).SerializeToString()),
    ):
        sent = encoded(known, "m", name, rows, domain)
        request = messages.PredictRequest.FromString(sent)
        assert request.SerializeToString(deterministic=True) == expected
        assert len(sent) == len(expected)  # maps may lie in another order


def test_answers_of_tensorflow_servings_own_class_are_read() -> None:
    answer = predict_pb2.PredictResponse(
        model_spec={"name": "m", "version": {"value": 7}},
        outputs={
            "ctr": tf.make_tensor_proto([0.5, 0.25]),
            "served_domain": tf.make_tensor_proto([b"all", b"backbone"]),
        },
    )
    known = meta_graph_pb2.SignatureDef()
    for name in answer.outputs:
        known.outputs[name].tensor_shape.dim.add(size=-1)
    metadata = get_model_metadata_pb2.GetModelMetadataResponse()
    metadata.metadata["signature_def"].Pack(
        get_model_metadata_pb2.SignatureDefMap(signature_def={"serving_default": known})
    )
    read = messages.GetModelMetadataResponse.FromString(metadata.SerializeToString())
    signatures = messages.SignatureDefMap()
    assert read.metadata["signature_def"].Unpack(signatures)
    received = messages.PredictResponse.FromString(answer.SerializeToString())
    assert received.model_spec.version.value == 7
    assert decode_rows(signatures.signature_def["serving_default"], received.outputs, 2) == [
        {"ctr": 0.5, "served_domain": "all"},
        {"ctr": 0.25, "served_domain": "backbone"},
    ]
    np.testing.assert_array_equal(decode(received.outputs["ctr"]), [0.5, 0.25])


def test_specs_have_either_a_version_or_a_label() -> None:
    spec = messages.ModelSpec(name="m", version_label="stable")
    spec.version.value = 3
    theirs = model_pb2.ModelSpec.FromString(spec.SerializeToString())
    assert theirs == model_pb2.ModelSpec(name="m", version={"value": 3})


def test_examples_are_read_by_tensorflow() -> None:
    row = {"user": "ü", "clicks": ["a", "", "b"], "price": 0.1, "time": NOW, "none": None}
    sent = tf.train.Example.FromString(example(row | {"nan": float("nan"), "empty": ""}))
    features = sent.features.feature
    assert set(features) == {"user", "clicks", "price", "time"}
    assert list(features["user"].bytes_list.value) == ["ü".encode()]
    assert list(features["clicks"].bytes_list.value) == [b"a", b"b"]
    assert list(features["price"].float_list.value) == [float(np.float32(0.1))]
    assert list(features["time"].int64_list.value) == [NOW]
