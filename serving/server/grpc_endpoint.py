"""Starts the gRPC server with its limits, TLS and health, and turns failures into status codes."""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)

from serving.server.failures import status_of
from serving.server.health import Health
from serving.server.prediction_service import Service
from serving.wire.errors import StatusError
from serving.wire.messages import GetModelMetadataRequest, PredictRequest

Observe = Callable[[Any, grpc.StatusCode, float, Message | None], None]
"""Takes a request that was answered, its code, its seconds, and the answer where there is one."""

_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_MOST_PENDING = 1 << 16


@dataclass(frozen=True)
class Endpoint:
    """Where and how to listen.

    Attributes:
      host: address.
      port: port; 0 for a free one.
      threads: requests that are run at once; more wait.
      most_waiting: requests run and waiting together; what comes on top is refused with
        RESOURCE_EXHAUSTED.
      most_bytes: size of a request message; a larger one is refused with RESOURCE_EXHAUSTED.
      arguments: more of gRPC's channel arguments.
      shared: whether other processes listen on the port too (``processes.shared_port``).
      credentials: TLS; None for plain text.
    """

    host: str = "127.0.0.1"
    port: int = 0
    threads: int = 4
    most_waiting: int = 1024
    most_bytes: int = 64 << 20
    arguments: tuple[tuple[str, int | str], ...] = ()
    shared: bool = False
    credentials: grpc.ServerCredentials | None = None


def start(
    service: Service, endpoint: Endpoint, health: Health, observe: Observe | None = None
) -> tuple[grpc.Server, int]:
    """Starts to listen.

    Args:
      service: what answers.
      endpoint: where and how.
      health: answers gRPC's health checks.
      observe: told of every Predict request.

    Returns:
      The running server and its port.

    Raises:
      OSError: cannot listen there.
    """
    options = [
        ("grpc.max_receive_message_length", endpoint.most_bytes),
        ("grpc.max_send_message_length", -1),
        (
            "grpc.so_reuseport",
            int(endpoint.shared),
        ),  # two servers must not share a port without knowing it
        # Below us gRPC has a limit of its own, for requests nobody has looked at yet; it answers
        # CANCELLED, which says nothing to a peer.
        ("grpc.server.max_pending_requests", _MOST_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
        *endpoint.arguments,
    ]
    pool = ThreadPoolExecutor(endpoint.threads, thread_name_prefix="grpc")
    server = grpc.server(pool, options=options, maximum_concurrent_rpcs=endpoint.most_waiting)
    server.add_generic_rpc_handlers(_handlers(service, observe))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if not endpoint.shared:
        try_address(endpoint.host, endpoint.port)
    address = (
        f"[{endpoint.host}]:{endpoint.port}"
        if ":" in endpoint.host
        else f"{endpoint.host}:{endpoint.port}"
    )
    try:
        if endpoint.credentials is None:
            bound = int(server.add_insecure_port(address))
        else:
            bound = int(server.add_secure_port(address, endpoint.credentials))
    except RuntimeError:
        why = "" if endpoint.credentials is None else ": its key and certificate cannot be used"
        raise OSError(f"cannot listen on {endpoint.host}:{endpoint.port}{why}") from None
    server.start()
    return server, bound


def try_address(host: str, port: int) -> None:
    """Raises ``OSError`` with the reason where nobody can listen there; gRPC itself would print
    it and raise without it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _handlers(service: Service, observe: Observe | None) -> Sequence[grpc.GenericRpcHandler]:
    prediction_methods = {
        "Predict": _method(service.predict, PredictRequest, observe),
        "GetModelMetadata": _method(service.get_model_metadata, GetModelMetadataRequest),
        "Classify": _method(service.classify, classification_pb2.ClassificationRequest),
        "Regress": _method(service.regress, regression_pb2.RegressionRequest),
        "MultiInference": _method(service.multi_inference, inference_pb2.MultiInferenceRequest),
    }
    model_methods = {
        "GetModelStatus": _method(
            service.get_model_status, get_model_status_pb2.GetModelStatusRequest
        ),
        "HandleReloadConfigRequest": _method(
            service.handle_reload_config_request, model_management_pb2.ReloadConfigRequest
        ),
    }
    return [
        grpc.method_handlers_generic_handler(name, methods)
        for name, methods in zip(_SERVICES, (prediction_methods, model_methods), strict=True)
    ]


def _method(
    function: Callable[[Any, grpc.ServicerContext], Message],
    request_type: Any,
    observe: Observe | None = None,
) -> grpc.RpcMethodHandler:
    def answer(request: Any, context: grpc.ServicerContext) -> Message | StatusError:
        try:
            if isinstance(request, DecodeError):
                return StatusError(
                    grpc.StatusCode.INTERNAL,
                    f"the request is not a {request_type.DESCRIPTOR.full_name}",
                )
            return function(request, context)
        except Exception as error:
            return status_of(error)

    def handle(request: Any, context: grpc.ServicerContext) -> Message:
        start = time.perf_counter()
        result = answer(request, context)
        failure = result if isinstance(result, StatusError) else None
        if observe is not None and not isinstance(request, DecodeError):
            code = failure.code if failure else grpc.StatusCode.OK
            observe(request, code, time.perf_counter() - start, None if failure else result)
        # Outside any except clause: abort raises too, and neither exception may show up as the
        # cause of the other.
        return context.abort(failure.code, failure.message) if failure else result

    def parse(data: bytes) -> Any:
        try:
            return request_type.FromString(data)
        except DecodeError as error:
            # raised here, gRPC would log its traceback and keep some 15 KB of the call for ever
            return error

    return grpc.unary_unary_rpc_method_handler(
        handle, request_deserializer=parse, response_serializer=_serialize
    )


def _serialize(response: Message) -> bytes:
    return bytes(response.SerializeToString())
