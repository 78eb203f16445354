"""One model of a server, asked in rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from configs.errors import InputError
from serving.client.connection import MOST_ATTEMPTS, Tls, open_channel
from serving.client.failures import status_error
from serving.client.substitution import Substitutions
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
from serving.wire.row_codec import Row, decode_rows, encode_rank, encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN, RANK_SIGNATURE

Answers = list[dict[str, Any]]
"""For each row, every output of the signature by name."""


@dataclass(frozen=True)
class Reply:
    """What one request was answered with.

    Attributes:
      rows: for each row, every output by name.
      version: the version that answered all of them.
    """

    rows: Answers
    version: int


class Client:
    """A connection to one model of a server. May be used from several threads.

    It asks the server for the signature's inputs, so it works with any model whose inputs have
    shape ``[N]`` or ``[N, L]``.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        *,
        version: int | str | None = None,
        deadline_seconds: float = 30.0,
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
          deadline_seconds: for each request to the server, whatever its attempts.
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
        self._substitutions = Substitutions(strict=strict_domain)
        self._target = target
        self._spec = _spec(model_name, version)
        self._deadline = deadline_seconds
        self._batch_size = batch_size
        self._wait_for_ready = wait_for_ready
        self._channel = open_channel(target, tls, attempts=attempts)
        self._predict_method = _method(self._channel, PREDICT_METHOD, PredictResponse)
        self._metadata_method = _method(self._channel, METADATA_METHOD, GetModelMetadataResponse)
        self._signatures: dict[str, Message] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

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

    def has(self, name: str) -> bool:
        """Whether the model has a signature; what it has is asked for once while calls succeed.
        Raises ``StatusError``.
        """
        if not self._signatures:
            self._signatures = self.signatures()
        return name in self._signatures

    def signature(self, name: str) -> Message:
        """One of them. Raises ``InputError`` where the model has no such signature,
        ``StatusError``.
        """
        if name not in self._signatures:
            self._signatures = self.signatures()
        if name not in self._signatures:
            names = ", ".join(sorted(key for key in self._signatures if not key.startswith("__")))
            raise InputError(f"model {self._spec.name} has no signature {name!r}; it has: {names}")
        return self._signatures[name]

    def predict(
        self,
        rows: Sequence[Row],
        domain: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        *,
        ignore_unknown: bool = False,
        place: Callable[[int], str] = "row {}".format,
    ) -> Answers:
        """Scores of rows, in their order.

        Args:
          rows: raw features by name; missing or null text and numbers are missing values to the
            model, lists are lists of text.
          domain: the domain of every row without a ``domain`` of its own. None where rows have it
            or the signature takes none.
          signature: signature to run.
          ignore_unknown: skip keys that the signature does not take (labels in a log, say) and do
            not refuse them.
          place: where row i (from 0) came from, for messages.

        Returns:
          For each row, every output of the signature by name.

        Raises:
          InputError: a row that does not fit the signature, or a signature that the model does not
            have.
          StatusError: the server refused the request or was not reached; ``code`` is the gRPC code.
        """
        answers: Answers = []
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            answers += self.ask(
                batch,
                domain,
                signature,
                ignore_unknown=ignore_unknown,
                place=_shifted(place, start),
            ).rows
        return answers

    def rank(
        self, shared: Row, items: Sequence[Row], domain: str, *, ignore_unknown: bool = False
    ) -> Answers:
        """Scores of one user's candidates, in their order, in one request whatever their number
        (signature ``rank``).

        Args:
          shared: raw user and context features, as in a row of ``predict``; sent and looked up
            once.
          items: raw item features of each candidate.
          domain: the domain that serves all of them, or ``auto``.
          ignore_unknown: skip keys that the signature does not take there, so that a logged row can
            be given for either.

        Returns:
          For each item, every output of the signature by name.

        Raises:
          InputError, StatusError: as ``predict``.
        """
        return (
            self.ask_rank(shared, items, domain, ignore_unknown=ignore_unknown).rows
            if items
            else []
        )

    def ask(
        self,
        rows: Sequence[Row],
        domain: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        *,
        ignore_unknown: bool = False,
        place: Callable[[int], str] = "row {}".format,
    ) -> Reply:
        """``predict`` in one request, so that one version answers all rows, whatever their
        number.
        """
        known = self.signature(signature)
        inputs = encode_rows(known, rows, domain, ignore_unknown=ignore_unknown, place=place)
        reply = self._predict(known, signature, inputs, len(rows))
        self._substitutions.check([_named(row, domain) for row in rows], reply.rows)
        return reply

    def ask_rank(
        self, shared: Row, items: Sequence[Row], domain: str, *, ignore_unknown: bool = False
    ) -> Reply:
        """``rank``, with the version that answered."""
        known = self.signature(RANK_SIGNATURE)
        inputs = encode_rank(known, shared, items, domain, ignore_unknown=ignore_unknown)
        reply = self._predict(known, RANK_SIGNATURE, inputs, len(items))
        self._substitutions.check([_named(shared, domain)] * len(items), reply.rows)
        return reply

    def _predict(
        self,
        known: Message,
        name: str,
        inputs: dict[str, Message],
        count: int,
    ) -> Reply:
        request = PredictRequest(model_spec=self._spec, inputs=inputs)
        request.model_spec.signature_name = name
        response = self._call(self._predict_method, request)
        return Reply(decode_rows(known, response.outputs, count), response.model_spec.version.value)

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._deadline, wait_for_ready=self._wait_for_ready)
        except grpc.RpcError as error:
            self._signatures = {}  # the served version may have changed; the next call asks again
            raise status_error(self._target, error) from None


def _named(row: Row, domain: str | None) -> str | None:
    """The domain that a row asks for: its own, else that of the request."""
    own = row.get(DOMAIN)
    return domain if own is None else str(own)


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


def _shifted(place: Callable[[int], str], start: int) -> Callable[[int], str]:
    return lambda index: place(start + index)
