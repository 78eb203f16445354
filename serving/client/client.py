"""One model of a server, asked in rows."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import Message

from configs.calls.argument_types import checks_arguments
from configs.errors import InputError
from serving.client.asked_model import AskedModel
from serving.client.connection import MOST_ATTEMPTS, Tls, open_channel
from serving.client.failures import status_error
from serving.wire.messages import (
    METADATA_METHOD,
    PREDICT_METHOD,
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    ModelSpec,
    PredictRequest,
    PredictResponse,
    SignatureDefMap,
)


class Client(AskedModel):
    """A connection to one model of a server. May be used from several threads.

    It asks the server for the signature's inputs, so it works with any model whose inputs have
    shape ``[N]`` or ``[N, L]``.
    """

    @checks_arguments
    def __init__(
        self,
        target: str,
        model_name: str,
        *,
        version: int | str | None = None,
        deadline_seconds: float | None = 30.0,
        batch_size: int = 256,
        attempts: int = MOST_ATTEMPTS,
        wait_for_ready: bool = False,
        tls: Tls | None = None,
        strict_domain: bool = False,
    ) -> None:
        """Connects when the first request is sent.

        Args:
          target: ``HOST:PORT``.
          model_name: the model, as the server calls it.
          version: the version that must answer, by its number or its label; None for the newest.
          deadline_seconds: for each request to the server, whatever its attempts; None waits for as
            long as it takes.
          batch_size: most rows in a request of ``predict``.
          attempts: how often a request is sent while the server is UNAVAILABLE or overloaded, at
            most (``connection.open_channel``).
          wait_for_ready: wait, whatever ``attempts``, for a server that cannot be reached;
            DEADLINE_EXCEEDED when the deadline passes.
          tls: None for an unencrypted connection.
          strict_domain: refuse an answer that another domain than the one asked for has given;
            otherwise a warning is logged, once for each pair of domains.

        Raises:
          InputError: TLS files that cannot be used.
        """
        super().__init__(model_name, batch_size=batch_size, strict_domain=strict_domain)
        self._target = target
        self._spec = _spec(model_name, version)
        self._deadline = deadline_seconds
        self._wait_for_ready = wait_for_ready
        self._channel = open_channel(target, tls, attempts=attempts)
        self._predict_method = _method(self._channel, PREDICT_METHOD, PredictResponse)
        self._metadata_method = _method(self._channel, METADATA_METHOD, GetModelMetadataResponse)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def signatures(self) -> dict[str, Message]:
        """What the served version can be asked, by name. Raises ``StatusError``."""
        request = GetModelMetadataRequest(model_spec=self._spec, metadata_field=["signature_def"])
        response = self._call(self._metadata_method, request)
        found = SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)

    def _run(self, signature: str, inputs: dict[str, Message]) -> tuple[Mapping[str, Message], int]:
        request = PredictRequest(model_spec=self._spec, inputs=inputs)
        request.model_spec.signature_name = signature
        response = self._call(self._predict_method, request)
        return response.outputs, response.model_spec.version.value

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._deadline, wait_for_ready=self._wait_for_ready)
        except grpc.RpcError as error:
            self._signatures = {}  # the served version may have changed; the next call asks again
            raise status_error(self._target, error) from None


def _spec(model_name: str, version: int | str | None) -> Message:
    try:
        spec = ModelSpec(name=model_name)
    except UnicodeEncodeError:
        raise InputError(f"model name {model_name!r} is not UTF-8 text") from None
    if isinstance(version, str):
        spec.version_label = version
    elif version is not None:
        spec.version.value = version
    return spec


def _method(channel: grpc.Channel, name: str, response: Any) -> Callable[..., Any]:
    return channel.unary_unary(  # type: ignore[no-any-return, unused-ignore]
        name,
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=response.FromString,
    )
