"""Answers TensorFlow Serving's gRPC methods over the models of a server: Predict, GetModelMetadata,
GetModelStatus, HandleReloadConfigRequest.
"""

from typing import Any

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from serving.server.batch_scheduler import Batcher
from serving.server.model_config import model_configs
from serving.server.model_manager import Models
from serving.server.model_versions import Model
from serving.server.servable import Servable
from serving.wire.errors import StatusError, deadline_exceeded, invalid
from serving.wire.messages import (
    GetModelMetadataResponse,
    ModelSpec,
    PredictResponse,
    SignatureDefMap,
)
from serving.wire.signatures import DEFAULT_SIGNATURE

_METADATA_FIELD = "signature_def"


class Service:
    """The methods, as functions of a request that return a response or raise.

    Names, codes and messages are those of TensorFlow Serving: INVALID_ARGUMENT without a model spec
    or a model's name in it, NOT_FOUND for a model or version that is not served.
    """

    def __init__(
        self,
        models: Models[Servable],
        most_bytes: int,
        batcher: Batcher | None = None,
        *,
        reconfigurable: bool = True,
    ) -> None:
        """Serves the models.

        Args:
          models: what is served.
          most_bytes: what the decoded inputs of a request may take.
          batcher: runs requests together; None: each alone.
          reconfigurable: whether a peer may change which models are served.
        """
        self._models = models
        self._most_bytes = most_bytes
        self._batcher = batcher
        self._reconfigurable = reconfigurable

    def predict(self, request: Message, context: grpc.ServicerContext) -> Message:
        """Runs a signature; DEADLINE_EXCEEDED, without running it, for a request whose deadline
        passed while it waited.
        """
        remaining = context.time_remaining()
        if remaining is not None and remaining <= 0:
            raise deadline_exceeded()
        model, version = self._find(request)
        name, wanted = (
            request.model_spec.signature_name or DEFAULT_SIGNATURE,
            list(request.output_filter),
        )
        with model.acquire(version) as servable:
            if self._batcher is None:
                outputs = servable.predict(name, request.inputs, wanted, self._most_bytes)
            else:
                outputs = self._batcher.predict(
                    servable, name, request.inputs, wanted, self._most_bytes, remaining
                )
            response = PredictResponse(model_spec=_spec(model, servable, name))
        for alias, proto in outputs.items():
            response.outputs[alias].CopyFrom(proto)
        return response

    def get_model_metadata(self, request: Message, context: grpc.ServicerContext) -> Message:
        """A served version's signatures, packed as ``SignatureDefMap`` under ``signature_def``."""
        model, version = self._find(request)
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != _METADATA_FIELD:
                raise invalid(f"Metadata field {name} is not supported")
        with model.acquire(version) as servable:
            response = GetModelMetadataResponse(model_spec=_spec(model, servable, ""))
            signatures = SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].ParseFromString(signature.SerializeToString())
        response.metadata[_METADATA_FIELD].Pack(signatures)
        return response

    def get_model_status(
        self,
        request: get_model_status_pb2.GetModelStatusRequest,
        context: grpc.ServicerContext | None,
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """State of every version met so far, newest first, or of the one asked for."""
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        model = self._models.get(spec.name)
        statuses = model.statuses() if model else {}
        if spec.HasField("version"):
            version = spec.version.value
            if version not in statuses:
                raise StatusError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Could not find version {version} of model {spec.name}",
                )
            statuses = {version: statuses[version]}
        if not statuses:
            raise StatusError(
                grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}"
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in statuses.items():
            entry = response.model_version_status.add(version=version, state=int(status.state))
            entry.status.error_code = status.error.number if status.error else 0
            entry.status.error_message = status.error.message if status.error else ""
        return response

    def handle_reload_config_request(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Serves the models that the request lists and no others, as ``Models.reconfigure``;
        answers when the new ones are available.
        """
        if not self._reconfigurable:
            words = (
                "several processes share this port and a request reaches one of them; let all of"
                " them poll a --model_config_file"
            )
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, words)
        if request.config.WhichOneof("config") != "model_config_list":
            words = (
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only"
                " ModelConfigList is currently supported"
            )
            raise invalid(words)
        self._models.reconfigure(model_configs(request.config))
        return model_management_pb2.ReloadConfigResponse(status={"error_code": 0})

    def _find(self, request: Any) -> tuple[Model[Servable], int | None]:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return self._models.find(request.model_spec)


def _spec(model: Model[Servable], servable: Servable, signature_name: str) -> Message:
    spec = ModelSpec(name=model.name, signature_name=signature_name)
    spec.version.value = servable.version
    return spec
