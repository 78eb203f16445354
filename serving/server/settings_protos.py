"""Reads TensorFlow Serving's settings files: protocol buffers as text, into the messages that its
server reads them into.

``tensorflow-serving-api`` ships ``ModelServerConfig`` alone; the other three are stated here, with
TensorFlow Serving's field numbers.
"""

from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from configs.errors import InputError

_Field = descriptor_pb2.FieldDescriptorProto
_INT64, _STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
_PACKAGE = "tensorflow.serving"
_MESSAGES: dict[str, dict[str, Any]] = {
    "SSLConfig": {"server_key": str, "server_cert": str, "custom_ca": str, "client_verify": bool},
    "PrometheusConfig": {"enable": bool, "path": str},
    "MonitoringConfig": {"prometheus_config": f".{_PACKAGE}.PrometheusConfig"},
    "BatchingParameters": {
        "max_batch_size": _INT64,
        "batch_timeout_micros": _INT64,
        "max_enqueued_batches": _INT64,
        "num_batch_threads": _INT64,
        "thread_pool_name": _STRING,
        "allowed_batch_sizes": list,
        "pad_variable_length_inputs": bool,
    },
}
"""Message -> fields in the order of their numbers, from 1; a text names the message that a field
holds, a list is of int64.
"""
_TYPES = {str: _Field.TYPE_STRING, bool: _Field.TYPE_BOOL, list: _Field.TYPE_INT64}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="server_settings.proto", package=_PACKAGE, syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            label = _Field.LABEL_REPEATED if kind is list else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                message.field.add(
                    name=field, number=number, label=label, type=_Field.TYPE_MESSAGE, type_name=kind
                )
            else:
                message.field.add(name=field, number=number, label=label, type=_TYPES[kind])
    pool = (
        descriptor_pool.DescriptorPool()
    )  # our own: the default one may hold TensorFlow Serving's messages of the same names
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _messages()
SSLConfig: Any = _CLASSES["SSLConfig"]
"""What ``--ssl_config_file`` holds: key and certificates, each the text of a PEM file."""
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
"""What ``--monitoring_config_file`` holds."""
BatchingParameters: Any = _CLASSES["BatchingParameters"]
"""What ``--batching_parameters_file`` holds."""
ModelServerConfig: Any = model_server_config_pb2.ModelServerConfig
"""What ``--model_config_file`` holds."""


def read_text(path: Path, message: Any) -> Any:
    """A message of the class ``message`` from a text file. Raises ``InputError`` with the line
    that cannot be read.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a {message.DESCRIPTOR.name} in protocol buffer text format: {error}"
        ) from None
