"""A client for the embedded server and for TensorFlow Serving alike: rows of raw features in, rows of scores out.

As a command, JSON lines in and JSON lines out::

    python -m serving.client --target HOST:PORT --model-name M --domain D --requests FILE.jsonl

As a library::

    with Client("127.0.0.1:8500", "recommender") as client:
        client.predict([{"user_id": "u1", "item_id": "i7"}], domain="scene=home")  # [{"ctr": 0.12, "ctcvr": 0.01, ...}]
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, Self

import grpc
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2, prediction_service_pb2_grpc

from configs.command import CommandParser, run
from configs.errors import InputError
from serving.flags import whole_number, with_dashes
from serving.rows import Row, decode_rows, encode_rank, encode_rows
from serving.servable import DEFAULT_SIGNATURE, RANK_SIGNATURE
from serving.status import StatusError


class Client:
    """A connection to one model of a server. May be used from several threads.

    It asks the server for the signature's inputs, so it works with any model whose inputs have shape ``[N]`` or ``[N, L]``.
    """

    def __init__(
        self, target: str, model_name: str, *, version: int | None = None, deadline_seconds: float = 30.0, batch_size: int = 256
    ) -> None:
        """Connects when the first request is sent.

        Args:
          target: ``HOST:PORT``.
          model_name: the model, as the server calls it.
          version: the version that must answer; None for the newest.
          deadline_seconds: for each request to the server.
          batch_size: most rows in a request.
        """
        self._spec = model_pb2.ModelSpec(name=model_name)
        if version is not None:
            self._spec.version.value = version
        self._deadline = deadline_seconds
        self._batch_size = batch_size
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(target, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._signatures: dict[str, meta_graph_pb2.SignatureDef] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def signatures(self) -> dict[str, meta_graph_pb2.SignatureDef]:
        """What the served version can be asked, by name. Raises ``StatusError``."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=self._spec, metadata_field=["signature_def"])
        response = self._call(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        return dict(found.signature_def)

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        """One of them, asked for once while calls succeed. Raises ``InputError`` where the model has no such signature."""
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
    ) -> list[dict[str, Any]]:
        """Scores of rows, in their order.

        Args:
          rows: raw features by name; missing or null text and numbers are missing values to the model, lists are lists of text.
          domain: the domain of every row without a ``domain`` of its own. None where rows have it or the signature takes none.
          signature: signature to run.
          ignore_unknown: skip keys that the signature does not take (labels in a log, say) and do not refuse them.
          place: where row i (from 0) came from, for messages.

        Returns:
          For each row, every output of the signature by name.

        Raises:
          InputError: a row that does not fit the signature, or a signature that the model does not have.
          StatusError: the server refused the request or was not reached; ``code`` is the gRPC code.
        """
        if not rows:
            return []
        known = self.signature(signature)
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            inputs = encode_rows(known, batch, domain, ignore_unknown=ignore_unknown, place=_shifted(place, start))
            answers += decode_rows(known, self._call(self._stub.Predict, self._request(signature, inputs)).outputs, len(batch))
        return answers

    def rank(self, shared: Row, items: Sequence[Row], domain: str, *, ignore_unknown: bool = False) -> list[dict[str, Any]]:
        """Scores of one user's candidates, in their order, in one request whatever their number (signature ``rank``).

        Args:
          shared: raw user and context features, as in a row of ``predict``; sent and looked up once.
          items: raw item features of each candidate.
          domain: the domain that serves all of them, or ``auto``.
          ignore_unknown: skip keys that the signature does not take there, so that a logged row can be given for either.

        Returns:
          For each item, every output of the signature by name.

        Raises:
          InputError, StatusError: as ``predict``.
        """
        if not items:
            return []
        known = self.signature(RANK_SIGNATURE)
        inputs = encode_rank(known, shared, items, domain, ignore_unknown=ignore_unknown)
        return decode_rows(known, self._call(self._stub.Predict, self._request(RANK_SIGNATURE, inputs)).outputs, len(items))

    def _request(self, signature: str, inputs: dict[str, tensor_pb2.TensorProto]) -> predict_pb2.PredictRequest:
        request = predict_pb2.PredictRequest(model_spec=self._spec, inputs=inputs)
        request.model_spec.signature_name = signature
        return request

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._deadline)
        except grpc.RpcError as error:
            self._signatures = {}  # the served version may have changed; the next call asks again
            raise StatusError(error.code(), error.details() or "") from None


def main(argv: Sequence[str]) -> None:
    """The command. Raises ``InputError`` for bad input; exits with code 1, after one line, where the server fails."""
    arguments = _arguments(argv)
    if ":" not in arguments.target:
        raise InputError(f"--target must be HOST:PORT, received {arguments.target!r}")
    client = Client(
        arguments.target,
        arguments.model_name,
        version=arguments.version,
        deadline_seconds=arguments.deadline_ms / 1000,
        batch_size=arguments.batch_size,
    )
    source = "stdin" if arguments.requests == "-" else arguments.requests
    with client, _open(arguments.requests) as lines:
        numbered = _rows(lines, source)
        while batch := list(islice(numbered, arguments.batch_size)):
            places = [f"{source}:{number}" for number, _ in batch]
            answers = client.predict(
                [row for _, row in batch],
                arguments.domain,
                arguments.signature,
                ignore_unknown=arguments.ignore_unknown,
                place=places.__getitem__,
            )
            sys.stdout.write("".join(_line(answer) for answer in answers))
            sys.stdout.flush()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="python -m serving.client", description="Score rows of raw features: JSON lines in, JSON lines out.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="where the server listens")
    parser.add_argument("--model-name", required=True, metavar="NAME", help="the model, as the server calls it")
    parser.add_argument("--requests", required=True, metavar="FILE", help="a JSON object of raw features in each line; - for stdin")
    parser.add_argument("--domain", help="domain of the rows that have no 'domain' of their own")
    parser.add_argument("--signature", default=DEFAULT_SIGNATURE, metavar="NAME", help="signature to run (%(default)s)")
    parser.add_argument("--version", type=whole_number(0, 2**63 - 1), metavar="N", help="version that must answer (the newest)")
    parser.add_argument("--batch-size", type=whole_number(1), default=256, metavar="N", help="most rows in a request (%(default)s)")
    parser.add_argument("--deadline-ms", type=whole_number(1), default=30_000, metavar="MS", help="for each request (%(default)s)")
    parser.add_argument("--ignore-unknown", action="store_true", help="skip keys that the signature does not take (labels in a log)")
    return parser.parse_args([with_dashes(word) for word in argv])


def _open(requests: str) -> AbstractContextManager[IO[bytes]]:
    """The request lines, as bytes. Raises ``InputError``."""
    if requests == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(requests).open("rb")
    except OSError as error:
        raise InputError(f"--requests {requests}: {error.strerror}") from None


def requests_of(requests: str, most: int) -> list[dict[str, object]]:
    """The first ``most`` rows of a file of JSON lines, ``-`` being stdin. Raises ``InputError``."""
    with _open(requests) as lines:
        return [row for _, row in islice(_rows(lines, "stdin" if requests == "-" else requests), most)]


def _rows(lines: IO[bytes], source: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Line number (from 1) and row of every line that is not blank. Raises ``InputError``."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}:{number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{source}:{number}: expected a JSON object, received {type(row).__name__}")
        yield number, row


def _line(answer: dict[str, Any]) -> str:
    """A line of strict JSON, which has no NaN and no infinity: null stands for them."""
    try:
        return json.dumps(answer, allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError:
        return json.dumps(_finite(answer), ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_finite(element) for element in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shifted(place: Callable[[int], str], start: int) -> Callable[[int], str]:
    return lambda index: place(start + index)


def _command() -> None:
    try:
        main(sys.argv[1:])
    except StatusError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader (head, say) has enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    run(_command)
