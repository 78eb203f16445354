"""Holds one loaded version of a SavedModel: checks a request against a signature and runs it in a
session, as TensorFlow Serving does.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from configs.tensorflow_import import tf
from serving.server.memory import free_memory
from serving.server.tensors import decode, encode
from serving.server.version_facts import VersionFacts
from serving.wire.errors import StatusError, invalid
from serving.wire.messages import DataType
from serving.wire.tensor_protos import (
    Array,
    claimed_bytes,
    dtype_name,
    shape_of,
    strings_message,
)
from serving.wire.version_files import RECORD

_MOST_CALLABLES = 64
"""Compiled combinations of signature and output filter that are kept; a peer can invent filters
without end.
"""


class Servable:
    """A version that answers requests, from several threads at once.

    Attributes:
      version: number of the version.
      signatures: name -> ``SignatureDef``.
      row_wise: whether a row's outputs depend on no other row, so that a request may be run in
        parts: known of what ``serving.export`` has written.
      facts: what the version's files say beside its graph.
    """

    def __init__(self, version: int, path: Path, session_config: Any = None) -> None:
        """Loads a version with the C++ loader's semantics (tag ``serve``, tables initialised,
        assets read).

        Args:
          version: its number.
          path: the version's directory.
          session_config: ``tf.compat.v1.ConfigProto``; None for TensorFlow's defaults.

        Raises:
          OSError, RuntimeError, tf.errors.OpError: not a SavedModel that can be loaded.
        """
        self.version = version
        self.row_wise = (path / RECORD).is_file()
        self.facts = VersionFacts.of(path)
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.loader.load(
                    self._session, [tf.saved_model.SERVING], str(path)
                )
        except BaseException:
            self._session.close()
            raise
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        with graph.as_default():
            self._parsed = {
                name: _parsed_strings(signature) for name, signature in self.signatures.items()
            }
        self._callables: dict[tuple[str, tuple[str, ...]], Callable[..., list[Any]]] = {}

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Message],
        output_filter: Sequence[str] = (),
        most_bytes: int = 1 << 30,
    ) -> dict[str, Message]:
        """Runs a signature.

        Args:
          signature_name: one of ``signatures``.
          inputs: alias -> tensor, exactly the signature's inputs (those with a default may be left
            out).
          output_filter: aliases of the outputs wanted; empty for all of them.
          most_bytes: what the decoded inputs may take together.

        Returns:
          Output alias -> tensor, values in the repeated fields.

        Raises:
          StatusError: FAILED_PRECONDITION for an unknown signature; INVALID_ARGUMENT for inputs or
          a filter that do not fit it. tf.errors.OpError: what the graph itself objects to.
        """
        checked, aliases = self.checked(signature_name, inputs, output_filter, most_bytes)
        results = self.run(
            signature_name, aliases, [feed(alias, proto) for alias, proto in checked.items()]
        )
        outputs = self.signatures[signature_name].outputs
        return {
            alias: encode(result, outputs[alias].dtype)
            for alias, result in zip(aliases, results, strict=True)
        }

    def checked(
        self,
        signature_name: str,
        inputs: Mapping[str, Message],
        output_filter: Sequence[str],
        most_bytes: int,
    ) -> tuple[dict[str, Message], list[str]]:
        """The inputs that a signature takes, in the order of their names and defaults filled in,
        and the outputs wanted; see ``predict``.

        Their contents have not been looked at yet. Raises ``StatusError`` as ``predict``.
        """
        signature = self.signatures.get(signature_name)
        if signature is None:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature_name}" not found.',
            )
        protos = _matched(signature, inputs)
        claimed = 0
        for alias, proto in protos.items():
            claimed += _checked(alias, proto, signature.inputs[alias])
            if claimed > most_bytes:
                raise invalid(
                    f"tensor parsing error: {alias}: the request's inputs would take more than"
                    f" {most_bytes} bytes"
                )
        return protos, _outputs(signature, output_filter)

    def feeds(
        self,
        signature_name: str,
        inputs: Mapping[str, Message],
        most_bytes: int = 1 << 30,
    ) -> list[Array]:
        """What ``run`` takes: the checked inputs in the order of their names, numbers as arrays,
        strings as the messages they are in.

        TensorFlow parses strings itself: as Python objects they would be made and unmade one by
        one, while no other request could run. Raises ``StatusError`` as ``predict``.
        """
        return [
            feed(alias, proto)
            for alias, proto in self.checked(signature_name, inputs, (), most_bytes)[0].items()
        ]

    def run(self, signature_name: str, aliases: Sequence[str], feeds: Sequence[Array]) -> list[Any]:
        """The outputs of these names, for what ``feeds`` gave. Raises ``StatusError`` or
        ``tf.errors.OpError`` as ``predict``.
        """
        try:
            return self._callable(signature_name, tuple(aliases))(*feeds)
        # the message of TensorFlow's error quotes a request's bytes; its code is lost with it
        except UnicodeDecodeError as error:
            raise invalid(bytes(error.object).decode(errors="replace")) from None

    def close(self) -> None:
        """Frees the session and the memory that its graph took; no request may be running."""
        self._callables.clear()
        self._session.close()
        del self._session
        free_memory()

    def _callable(self, name: str, aliases: tuple[str, ...]) -> Callable[..., list[Any]]:
        """Takes the inputs in the order of their names. What ``Session.run`` looks up at every call
        (half of a small request's time) is looked up once here.
        """
        key = (name, aliases)
        function = self._callables.get(key)
        if function is None:
            signature, parsed = self.signatures[name], self._parsed[name]
            options = config_pb2.CallableOptions(
                feed=[
                    parsed[alias][0] if alias in parsed else signature.inputs[alias].name
                    for alias in sorted(signature.inputs)
                ],
                fetch=[signature.outputs[alias].name for alias in aliases],
                tensor_connection=[
                    config_pb2.TensorConnection(
                        from_tensor=tensor, to_tensor=signature.inputs[alias].name
                    )
                    for alias, (_, tensor) in parsed.items()
                ],
            )
            function = self._session._make_callable_from_options(options)
            if len(self._callables) >= _MOST_CALLABLES:
                self._callables.clear()
            self._callables[key] = function
        return function


def feed(alias: str, proto: Message) -> Array:
    """What ``Servable.run`` takes for an input. Raises ``StatusError`` where its content does
    not fit its shape.
    """
    try:
        return strings_message(proto) if proto.dtype == DataType.DT_STRING else decode(proto)
    except ValueError as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from None


def _parsed_strings(signature: meta_graph_pb2.SignatureDef) -> dict[str, tuple[str, str]]:
    """Adds a parser for each string input to the graph: alias -> the tensor that takes a
    serialized ``TensorProto``, and its strings.
    """
    parsed = {}
    for alias, info in signature.inputs.items():
        if info.dtype == DataType.DT_STRING:
            message = tf.compat.v1.placeholder(tf.string, [])
            parsed[alias] = (message.name, tf.io.parse_tensor(message, tf.string).name)
    return parsed


def _matched(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Message]
) -> dict[str, Message]:
    """The signature's inputs in the order of their names, defaults filled in; messages as
    TensorFlow Serving words them.
    """
    wanted, sent = set(signature.inputs), set(inputs)
    extra, missing = sent - wanted, wanted - sent - set(signature.defaults)
    if extra or missing:
        difference = f"Sent extra: {_names(extra)}. Missing but required: {_names(missing)}."
        if len(sent) != len(wanted):
            sizes = f"{len(sent)}!={len(wanted)} len({_names(sent)}) != len({_names(wanted)})"
            raise invalid(f"input size does not match signature: {sizes}. {difference}")
        raise invalid(
            f"Inputs contains invalid name. Inputs expected to be in the set {_names(wanted)}."
            f" {difference}"
        )
    return {
        alias: inputs[alias] if alias in inputs else signature.defaults[alias]
        for alias in sorted(wanted)
    }


def _checked(alias: str, proto: Message, info: meta_graph_pb2.TensorInfo) -> int:
    """The bytes an input claims, once its data type, rank and fixed dimensions are those of the
    signature.
    """
    if proto.dtype != info.dtype:
        raise invalid(
            f"input {alias} must be {dtype_name(info.dtype)}, received {dtype_name(proto.dtype)}"
            " (nothing is cast)"
        )
    try:
        shape, claimed = shape_of(proto), claimed_bytes(proto)
    except ValueError as error:
        raise invalid(f"tensor parsing error: {alias}: {error}") from None
    if not info.tensor_shape.unknown_rank:
        wanted = [dim.size for dim in info.tensor_shape.dim]
        if len(wanted) != len(shape) or any(
            size not in (-1, given) for size, given in zip(wanted, shape, strict=True)
        ):
            raise invalid(
                f"input {alias} must have shape {wanted} (-1: any), received {list(shape)}"
            )
    return claimed


def _outputs(signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]) -> list[str]:
    for position, alias in enumerate(output_filter):
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the"
                f" set {_names(signature.outputs)}."
            )
        if alias in output_filter[:position]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return sorted(output_filter or signature.outputs)


def _names(names: Any) -> str:
    return "{" + ",".join(sorted(names)) + "}"
