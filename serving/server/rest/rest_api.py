"""TensorFlow Serving's HTTP methods: a model's state and signatures, predictions in rows and in
columns, and metrics for Prometheus.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import grpc
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
)

from configs.errors import InputError
from serving.server.failures import status_of
from serving.server.prediction_service import Service
from serving.server.rest import json_tensors
from serving.server.rest.listener import Answer, listening
from serving.server.settings_protos import MonitoringConfig, read_text
from serving.wire.errors import invalid

Observe = Callable[[Any, grpc.StatusCode, float, Message | None], None]

_METRICS_PATH = "/monitoring/prometheus/metrics"
_OURS = "/v1/"
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_ASKED = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I | re.A
)
_POSTED = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>predict|classify|regress)", re.I | re.A
)
_JSON = "application/json"
_SECONDS = 30.0
_STATUSES = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""Codes as TensorFlow Serving's HTTP port has them; 500 for others."""


class _Call:
    """What a call over HTTP knows of itself, in the place of gRPC's context."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def time_remaining(self) -> float:
        return self._end - time.monotonic()

    def is_active(self) -> bool:
        return True


def metrics_path(monitoring_config_file: Path | None) -> str | None:
    """The path at which metrics are served; None where the ``MonitoringConfig`` file does not
    ask for it, or is not given.
    """
    if monitoring_config_file is None:
        return None
    config = read_text(monitoring_config_file, MonitoringConfig).prometheus_config
    if config.path and not config.path.startswith("/"):
        raise InputError(
            f"{monitoring_config_file}: prometheus_config.path must begin with /, received"
            f" {config.path}"
        )
    return (config.path or _METRICS_PATH) if config.enable else None


@contextmanager
def http_server(
    host: str,
    port: int,
    service: Service,
    texts: Mapping[str, Callable[[], bytes]],
    *,
    report: Callable[[str], None] = print,
    observe: Observe | None = None,
    seconds: float = _SECONDS,
    threads: int = 4,
) -> Iterator[int]:
    """Serves models over HTTP, and some texts, while the context lasts.

    Args:
      host: address to listen on.
      port: port; 0 for a free one.
      service: answers.
      texts: path -> the plain text that is found there.
      report: takes a line about a request that failed for no reason of the peer's.
      observe: told of every prediction.
      seconds: how long a prediction may take.
      threads: requests that are answered at once; more wait.

    Yields:
      The port.

    Raises:
      OSError: cannot listen there.
    """

    def handle(method: str, path: str, body: bytes) -> Answer:
        if method == "GET" and path in texts:
            return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", texts[path]()
        if not path.lower().startswith(_OURS):
            return HTTPStatus.NOT_FOUND, _JSON, _error("not found")
        try:
            return HTTPStatus.OK, _JSON, _answer(service, method, path, body, seconds, observe)
        except Exception as error:
            failure = status_of(error)
            return _STATUSES.get(failure.code, 500), _JSON, _error(failure.message)

    with listening(host, port, handle, report, threads=threads) as bound:
        yield bound


def _answer(
    service: Service,
    method: str,
    path: str,
    body: bytes,
    seconds: float,
    observe: Observe | None,
) -> bytes:
    pattern = {"GET": _ASKED, "POST": _POSTED}.get(method)
    found = pattern and pattern.fullmatch(path)
    if not found:
        raise invalid(f"Malformed request: {method} {path}")
    parts = found.groupdict()
    name, label = (_unquoted(parts[part]) for part in ("name", "label"))
    if name is None:
        raise invalid("Missing model name in request.")
    version = None if parts["version"] is None else int(parts["version"][:25])
    if version is not None and version >= 1 << 63:
        raise invalid(f"Failed to convert version: {parts['version'][:25]} to numeric.")
    spec = json_tensors.empty_request(name, version, label).model_spec
    if method == "GET":
        return (_metadata if parts["metadata"] else _status)(service, spec)
    document = json_tensors.parsed(body)
    if parts["method"].lower() != "predict":
        spec.signature_name = json_tensors.signature_name(document)
        service.refuse_method(f"tensorflow/serving/{parts['method'].lower()}", spec)
    return _predicted(service, spec, document, seconds, observe)


def _status(service: Service, spec: Any) -> bytes:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.ParseFromString(spec.SerializeToString())
    response = service.get_model_status(request, None)
    text: str = MessageToJson(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return text.encode()


def _metadata(service: Service, spec: Any) -> bytes:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.ParseFromString(spec.SerializeToString())
    response = service.get_model_metadata(request, _Call(_SECONDS))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.ParseFromString(response.metadata["signature_def"].value)
    described = {
        name: MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for name, message in (("model_spec", response.model_spec), ("signature_def", signatures))
    }
    document = {
        "model_spec": described["model_spec"],
        "metadata": {"signature_def": described["signature_def"]},
    }
    return json.dumps(document, indent=1).encode()


def _predicted(
    service: Service,
    spec: Any,
    document: dict[str, Any],
    seconds: float,
    observe: Observe | None,
) -> bytes:
    request = json_tensors.empty_request("", None, None)
    request.model_spec.CopyFrom(spec)
    request.model_spec.signature_name = json_tensors.signature_name(document)
    began, code, response = time.perf_counter(), grpc.StatusCode.OK, None
    try:
        signature = service.signature(request.model_spec)
        by_row = json_tensors.fill_inputs(request, document, signature.inputs)
        response = service.predict(request, _Call(seconds))
        return json_tensors.answer(response.outputs, by_row=by_row)
    except Exception as error:
        code = status_of(error).code
        raise
    finally:
        if observe is not None:
            observe(request, code, time.perf_counter() - began, response)


def _unquoted(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise invalid(f"Failed to decode: {text}") from None


def _error(message: str) -> bytes:
    return json.dumps({"error": message}).encode()
