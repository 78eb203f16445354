"""TensorFlow Serving's gRPC services over one model: Predict, GetModelMetadata and GetModelStatus; any other method is UNIMPLEMENTED."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from serving.servable import DEFAULT_SIGNATURE, Servable
from serving.status import StatusError, invalid, status_of
from serving.versions import Model

_METADATA_FIELD = "signature_def"


class Service:
    """The methods, as functions of a request that return a response or raise.

    Names, codes and messages are those of TensorFlow Serving: INVALID_ARGUMENT without a model spec or a model's name in it, NOT_FOUND for
    a model or version that is not served.
    """

    def __init__(self, model: Model[Servable], most_bytes: int) -> None:
        """Serves one model; the decoded inputs of a request may take ``most_bytes``."""
        self._model = model
        self._most_bytes = most_bytes

    def predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> predict_pb2.PredictResponse:
        """Runs a signature; DEADLINE_EXCEEDED, without running it, for a request whose peer has given up while it waited for a thread."""
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the request was run")
        version = self._version(request)
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._model.acquire(version) as servable:
            outputs = servable.predict(signature_name, request.inputs, list(request.output_filter), self._most_bytes)
            response = predict_pb2.PredictResponse(model_spec=self._spec(servable, signature_name))
        for alias, proto in outputs.items():
            response.outputs[alias].CopyFrom(proto)
        return response

    def get_model_metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The served version's signatures, packed as ``SignatureDefMap`` under ``signature_def``."""
        version = self._version(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != _METADATA_FIELD:
                raise invalid(f"Metadata field {name} is not supported")
        with self._model.acquire(version) as servable:
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=self._spec(servable, ""))
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signatures)
        response.metadata[_METADATA_FIELD].Pack(signatures)
        return response

    def get_model_status(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State of every version met so far, newest first, or of the one asked for."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        statuses = self._model.statuses() if spec.name == self._model.name else {}
        if spec.HasField("version"):
            version = spec.version.value
            if version not in statuses:
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
            statuses = {version: statuses[version]}
        if not statuses:
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in statuses.items():
            entry = response.model_version_status.add(version=version, state=int(status.state))
            entry.status.error_code = status.error.number if status.error else 0
            entry.status.error_message = status.error.message if status.error else ""
        return response

    def _version(self, request: Any) -> int | None:
        """The version a request names, None for the served one, once it is known to mean this model."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        if spec.version_label:
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        version = int(spec.version.value) if spec.HasField("version") else None
        if spec.name != self._model.name:
            asked = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
            raise StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return version

    def _spec(self, servable: Servable, signature_name: str) -> model_pb2.ModelSpec:
        spec = model_pb2.ModelSpec(name=self._model.name, signature_name=signature_name)
        spec.version.value = servable.version
        return spec


def start(service: Service, host: str, port: int, threads: int, most_bytes: int, *, shared: bool = False) -> tuple[grpc.Server, int]:
    """Starts to listen.

    Args:
      service: what answers.
      host: address to listen on.
      port: port; 0 for a free one.
      threads: requests that are run at once; more wait.
      most_bytes: size of a request message; a larger one is refused with RESOURCE_EXHAUSTED.
      shared: whether other processes listen on the port too (``processes.shared_port``).

    Returns:
      The running server and its port.

    Raises:
      OSError: cannot listen there.
    """
    options = [
        ("grpc.max_receive_message_length", most_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", int(shared)),  # two servers must not share a port without knowing it
    ]
    server = grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="grpc"), options=options)
    server.add_generic_rpc_handlers(_handlers(service))
    if not shared:
        try_address(host, port)
    try:
        bound = int(server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    except RuntimeError:
        raise OSError(f"cannot listen on {host}:{port}") from None
    server.start()
    return server, bound


def try_address(host: str, port: int) -> None:
    """Raises ``OSError`` with the reason where nobody can listen there; gRPC itself would print it and raise without it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _handlers(service: Service) -> Sequence[grpc.GenericRpcHandler]:
    metadata, status = get_model_metadata_pb2, get_model_status_pb2
    prediction_methods = {
        "Predict": _method(service.predict, predict_pb2.PredictRequest),
        "GetModelMetadata": _method(service.get_model_metadata, metadata.GetModelMetadataRequest),
    }
    model_methods = {"GetModelStatus": _method(service.get_model_status, status.GetModelStatusRequest)}
    return (
        grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", prediction_methods),
        grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", model_methods),
    )


def _method(function: Callable[[Any, grpc.ServicerContext], Message], request_type: Any) -> grpc.RpcMethodHandler:
    def handle(request: Any, context: grpc.ServicerContext) -> Message:
        try:
            if isinstance(request, DecodeError):
                raise StatusError(grpc.StatusCode.INTERNAL, f"the request is not a {request_type.DESCRIPTOR.full_name}")
            return function(request, context)
        except Exception as error:
            failure = status_of(error)
        # Outside the except clause: abort raises too, and neither exception may show up as the cause of the other.
        return context.abort(failure.code, failure.message)

    def parse(data: bytes) -> Any:
        try:
            return request_type.FromString(data)
        except DecodeError as error:
            return error  # raised here, gRPC would log its traceback and keep some 15 KB of the call for ever

    return grpc.unary_unary_rpc_method_handler(handle, request_deserializer=parse, response_serializer=_serialize)


def _serialize(response: Message) -> bytes:
    return bytes(response.SerializeToString())
