"""The messages of TensorFlow Serving's API that both ends of the line exchange or log, and of
``tf.Example``: stated here with TensorFlow's names and field numbers, so that neither end needs
TensorFlow for them.

Fields that are not stated (a tensor of resources, say) are kept when a message is read and written
again.
"""

from enum import IntEnum
from typing import Any

from serving.wire.message_classes import message_classes


class DataType(IntEnum):
    """A tensor's data type: ``tensorflow.DataType`` but for its references (100 more each), which
    no message carries.
    """

    DT_INVALID = 0
    DT_FLOAT = 1
    DT_DOUBLE = 2
    DT_INT32 = 3
    DT_UINT8 = 4
    DT_INT16 = 5
    DT_INT8 = 6
    DT_STRING = 7
    DT_COMPLEX64 = 8
    DT_INT64 = 9
    DT_BOOL = 10
    DT_QINT8 = 11
    DT_QUINT8 = 12
    DT_QINT32 = 13
    DT_BFLOAT16 = 14
    DT_QINT16 = 15
    DT_QUINT16 = 16
    DT_UINT16 = 17
    DT_COMPLEX128 = 18
    DT_HALF = 19
    DT_RESOURCE = 20
    DT_VARIANT = 21
    DT_UINT32 = 22
    DT_UINT64 = 23
    DT_FLOAT8_E5M2 = 24
    DT_FLOAT8_E4M3FN = 25
    DT_FLOAT8_E4M3FNUZ = 26
    DT_FLOAT8_E4M3B11FNUZ = 27
    DT_FLOAT8_E5M2FNUZ = 28
    DT_INT4 = 29
    DT_UINT4 = 30
    DT_INT2 = 31
    DT_UINT2 = 32
    DT_FLOAT4_E2M1FN = 33


_MODEL_SPEC = ".tensorflow.serving.ModelSpec"
_CLASSES = message_classes(
    {
        "tensorflow": {
            "DataType": DataType,
            "TensorShapeProto": {
                "dim": (2, "repeated .tensorflow.TensorShapeProto.Dim"),
                "unknown_rank": (3, "bool"),
            },
            "TensorShapeProto.Dim": {"size": (1, "int64"), "name": (2, "string")},
            "TensorProto": {
                "dtype": (1, ".tensorflow.DataType"),
                "tensor_shape": (2, ".tensorflow.TensorShapeProto"),
                "version_number": (3, "int32"),
                "tensor_content": (4, "bytes"),
                "float_val": (5, "repeated float"),
                "double_val": (6, "repeated double"),
                "int_val": (7, "repeated int32"),
                "string_val": (8, "repeated bytes"),
                "scomplex_val": (9, "repeated float"),
                "int64_val": (10, "repeated int64"),
                "bool_val": (11, "repeated bool"),
                "dcomplex_val": (12, "repeated double"),
                "half_val": (13, "repeated int32"),
                "uint32_val": (16, "repeated uint32"),
                "uint64_val": (17, "repeated uint64"),
                "float8_val": (18, "bytes"),
            },
            "TensorInfo": {
                "name": (1, "string", "encoding"),
                "dtype": (2, ".tensorflow.DataType"),
                "tensor_shape": (3, ".tensorflow.TensorShapeProto"),
            },
            "SignatureDef": {
                "inputs": (1, "map .tensorflow.TensorInfo"),
                "outputs": (2, "map .tensorflow.TensorInfo"),
                "method_name": (3, "string"),
                "defaults": (4, "map .tensorflow.TensorProto"),
            },
            "BytesList": {"value": (1, "repeated bytes")},
            "FloatList": {"value": (1, "repeated float")},
            "Int64List": {"value": (1, "repeated int64")},
            "Feature": {
                "bytes_list": (1, ".tensorflow.BytesList", "kind"),
                "float_list": (2, ".tensorflow.FloatList", "kind"),
                "int64_list": (3, ".tensorflow.Int64List", "kind"),
            },
            "Features": {"feature": (1, "map .tensorflow.Feature")},
            "Example": {"features": (1, ".tensorflow.Features")},
        },
        "tensorflow.serving": {
            "ModelSpec": {
                "name": (1, "string"),
                "version": (2, ".google.protobuf.Int64Value", "version_choice"),
                "signature_name": (3, "string"),
                "version_label": (4, "string", "version_choice"),
            },
            "PredictRequest": {
                "model_spec": (1, _MODEL_SPEC),
                "inputs": (2, "map .tensorflow.TensorProto"),
                "output_filter": (3, "repeated string"),
            },
            "PredictResponse": {
                "outputs": (1, "map .tensorflow.TensorProto"),
                "model_spec": (2, _MODEL_SPEC),
            },
            "SignatureDefMap": {"signature_def": (1, "map .tensorflow.SignatureDef")},
            "GetModelMetadataRequest": {
                "model_spec": (1, _MODEL_SPEC),
                "metadata_field": (2, "repeated string"),
            },
            "GetModelMetadataResponse": {
                "model_spec": (1, _MODEL_SPEC),
                "metadata": (2, "map .google.protobuf.Any"),
            },
            "SamplingConfig": {"sampling_rate": (1, "double")},
            "LogMetadata": {
                "model_spec": (1, _MODEL_SPEC),
                "sampling_config": (2, ".tensorflow.serving.SamplingConfig"),
                "timestamp_secs": (4, "int64"),
            },
            "PredictLog": {
                "request": (1, ".tensorflow.serving.PredictRequest"),
                "response": (2, ".tensorflow.serving.PredictResponse"),
            },
            "PredictionLog": {
                "log_metadata": (1, ".tensorflow.serving.LogMetadata"),
                "predict_log": (6, ".tensorflow.serving.PredictLog", "log_type"),
            },
        },
    }
)

TensorProto: Any = _CLASSES["TensorProto"]
"""A tensor: its data type, its shape and its values."""
SignatureDef: Any = _CLASSES["SignatureDef"]
"""What a model can be asked: inputs and outputs by name."""
Feature: Any = _CLASSES["Feature"]
"""A column of an example: a list of texts, of fractions or of whole numbers."""
Example: Any = _CLASSES["Example"]
"""A raw row, ``tf.train.Example``."""
ModelSpec: Any = _CLASSES["ModelSpec"]
"""Which model, version (or label) and signature is meant."""
PredictRequest: Any = _CLASSES["PredictRequest"]
"""Tensors to score."""
PredictResponse: Any = _CLASSES["PredictResponse"]
"""Tensors of scores."""
SignatureDefMap: Any = _CLASSES["SignatureDefMap"]
"""Signatures by name."""
GetModelMetadataRequest: Any = _CLASSES["GetModelMetadataRequest"]
"""Asks for a model's signatures."""
GetModelMetadataResponse: Any = _CLASSES["GetModelMetadataResponse"]
"""A model's signatures, packed as a ``SignatureDefMap``."""
PredictionLog: Any = _CLASSES["PredictionLog"]
"""A logged request with its answer, and when, by which version and under which sampling."""

PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"
METADATA_METHOD = "/tensorflow.serving.PredictionService/GetModelMetadata"
