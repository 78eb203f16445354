"""Answers TensorFlow Serving's gRPC methods over the models of a server: Predict, GetModelMetadata,
GetModelStatus, HandleReloadConfigRequest.
"""

from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from serving.server.batching import row_parts
from serving.server.batching.batch_scheduler import Batcher
from serving.server.flags import MOST_ROWS
from serving.server.model_config import check_below, model_configs
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

_DECODED, _FREE = 16, 64 << 10
"""How many bytes a request's decoded inputs may take for each byte of it, and beside that: the
shortest texts grow thirteenfold, and a shape may claim anything.
"""
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_METHODS = {CLASSIFY: "classification", REGRESS: "regression"}
_PREDICT_ALONE = "this server answers Predict alone; ask for the same signature with it"
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
        most_rows: int = MOST_ROWS,
        reload_root: Path | None = None,
    ) -> None:
        """Serves the models.

        Args:
          models: what is served.
          most_bytes: what the decoded inputs of a request may take, however large it is; they may
            not take more than a multiple of its own size either.
          batcher: runs requests together; None: each alone.
          most_rows: the largest first dimension of an input.
          reload_root: folder below which base paths must lie that a peer's
            HandleReloadConfigRequest names; None: peers may not change which models are served.
        """
        self._models = models
        self._most_bytes = most_bytes
        self._most_rows = most_rows
        self._batcher = batcher
        self._reload_root = reload_root

    def predict(self, request: Message, context: grpc.ServicerContext) -> Message:
        """Runs a signature; DEADLINE_EXCEEDED or CANCELLED, without running it, for a request that
        nobody waits for any more.
        """
        check = partial(_check_wanted, context)
        check()
        model, version = self._find(request)
        rows = self._checked_rows(request)
        most_bytes = min(self._most_bytes, _DECODED * request.ByteSize() + _FREE)
        name, wanted = (
            request.model_spec.signature_name or DEFAULT_SIGNATURE,
            list(request.output_filter),
        )
        with model.acquire(version) as servable:
            if self._batcher is None:
                outputs = row_parts.predict(
                    servable, name, request.inputs, wanted, most_bytes, rows, check
                )
            else:
                outputs = self._batcher.predict(
                    servable, name, request.inputs, wanted, most_bytes, check
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
        """State of every version met so far, newest first, or of the one whose number is asked for
        (a label is not looked at, as in TensorFlow Serving).
        """
        spec = self._spec_of(request)
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
        answers when the new ones are available. PERMISSION_DENIED unless the server allows it.
        """
        if self._reload_root is None:
            words = (
                "this server takes no config from peers; start it with --reload-config-root DIR to"
                " let them name base paths below DIR, or let it poll a --model-config-file"
            )
            raise StatusError(grpc.StatusCode.PERMISSION_DENIED, words)
        if request.config.WhichOneof("config") != "model_config_list":
            words = (
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only"
                " ModelConfigList is currently supported"
            )
            raise invalid(words)
        configs = model_configs(request.config)
        check_below(configs, self._reload_root)
        self._models.reconfigure(configs)
        return model_management_pb2.ReloadConfigResponse(status={"error_code": 0})

    def classify(self, request: Any, context: grpc.ServicerContext) -> Message:
        """Refuses a signature that is none for ``Classify``, as TensorFlow Serving does:
        INVALID_ARGUMENT. UNIMPLEMENTED for one that is.
        """
        self.refuse_method(CLASSIFY, self._spec_of(request))

    def regress(self, request: Any, context: grpc.ServicerContext) -> Message:
        """The same for ``Regress``."""
        self.refuse_method(REGRESS, self._spec_of(request))

    def multi_inference(self, request: Any, context: grpc.ServicerContext) -> Message:
        """The same for each of the tasks; UNIMPLEMENTED for a task of another kind."""
        first = request.tasks[0].model_spec if request.tasks else ModelSpec()
        self._models.find(first)
        for task in request.tasks:
            if task.method_name not in _METHODS:
                words = f"Unsupported signature method_name: {task.method_name}"
                raise StatusError(grpc.StatusCode.UNIMPLEMENTED, words)
            self._check_method(task.method_name, task.model_spec)
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _PREDICT_ALONE)

    def refuse_method(self, method: str, spec: Any) -> NoReturn:
        """Raises what a call of ``Classify`` or ``Regress`` is answered with."""
        self._check_method(method, spec)
        raise StatusError(grpc.StatusCode.UNIMPLEMENTED, _PREDICT_ALONE)

    def _check_method(self, method: str, spec: Any) -> None:
        signature = self.signature(spec)
        if signature.method_name != method:
            raise invalid(
                f"Expected {_METHODS[method]} signature method_name to be {method}. Was:"
                f" {signature.method_name}"
            )

    def signature(self, spec: Any) -> Any:
        """The ``SignatureDef`` that a ``ModelSpec`` names. Raises ``StatusError``, as ``predict``
        but INVALID_ARGUMENT for one that there is not.
        """
        model, version = self._models.find(spec)
        name = spec.signature_name or DEFAULT_SIGNATURE
        with model.acquire(version) as servable:
            if name not in servable.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return servable.signatures[name]

    def _checked_rows(self, request: Any) -> int:
        """The largest first dimension of the inputs."""
        rows = max((_rows(proto) for proto in request.inputs.values()), default=0)
        if rows > self._most_rows:
            raise invalid(
                f"the request has {rows} rows; this server takes at most {self._most_rows}"
                " (--max-rows): send them in several requests"
            )
        return rows

    def _find(self, request: Any) -> tuple[Model[Servable], int | None]:
        return self._models.find(self._spec_of(request))

    def _spec_of(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return request.model_spec


def _rows(proto: Message) -> int:
    dims = proto.tensor_shape.dim
    return int(dims[0].size) if dims else 0


def _check_wanted(context: grpc.ServicerContext) -> None:
    remaining = context.time_remaining()
    if remaining is not None and remaining <= 0:
        raise deadline_exceeded()
    if not context.is_active():
        raise StatusError(
            grpc.StatusCode.CANCELLED, "the peer has gone before the request was answered"
        )


def _spec(model: Model[Servable], servable: Servable, signature_name: str) -> Message:
    spec = ModelSpec(name=model.name, signature_name=signature_name)
    spec.version.value = servable.version
    return spec
