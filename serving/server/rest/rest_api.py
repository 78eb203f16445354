"""Serves the part of TensorFlow Serving's HTTP port that probes and Prometheus need: a model's
state as JSON, and metrics. It answers no predictions.
"""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToJson
from tensorflow_serving.apis import get_model_status_pb2

from configs.errors import InputError
from serving.server.prediction_service import Service
from serving.server.settings_protos import MonitoringConfig, read_text
from serving.wire.errors import StatusError

_METRICS_PATH = "/monitoring/prometheus/metrics"
_STATUS = re.compile(r"/v1/models/([^/:?#]+)(?:/versions/(\d{1,19}))?")
_IDLE_SECONDS = 10.0


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
    host: str, port: int, service: Service, texts: Mapping[str, Callable[[], bytes]]
) -> Iterator[int]:
    """Serves ``GET /v1/models/NAME[/versions/V]``, and some texts, while the context lasts.

    Args:
      host: address to listen on.
      port: port; 0 for a free one.
      service: knows the models' states.
      texts: path -> the plain text that is found there.

    Yields:
      The port.

    Raises:
      OSError: cannot listen there.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _IDLE_SECONDS

        def do_GET(self) -> None:
            status = _STATUS.fullmatch(self.path)
            if self.path in texts:
                self._answer(
                    HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", texts[self.path]()
                )
            elif status:
                self._answer(*model_status(service, status[1], status[2]))
            else:
                self._answer(HTTPStatus.NOT_FOUND, *_error("not found"))

        def _answer(self, code: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing: a probe comes every few seconds."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def model_status(service: Service, name: str, version: str | None) -> tuple[HTTPStatus, str, bytes]:
    """``GetModelStatus`` as HTTP's code, content type and body."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
    if version is not None:
        request.model_spec.version.value = min(int(version), 2**63 - 1)
    try:
        response = service.get_model_status(request, None)
    except StatusError as error:
        code = (
            HTTPStatus.NOT_FOUND
            if error.code is grpc.StatusCode.NOT_FOUND
            else HTTPStatus.BAD_REQUEST
        )
        return code, *_error(error.message)
    text = MessageToJson(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return HTTPStatus.OK, "application/json", text.encode()


def _error(message: str) -> tuple[str, bytes]:
    return "application/json", json.dumps({"error": message}).encode()
