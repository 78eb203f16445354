"""Who sends malformed requests to a server, and judges the answers."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability.malformed import PREDICT, Malformed
from benchmarks.reliability.malformed_http import GONE, HTTP, good_body
from benchmarks.reliability.malformed_http import sent as http_request
from benchmarks.reliability.versioned import NAME, request
from configs import InputError
from preprocessing.beam.progress import say
from serving.wire.tensor_protos import decode

_DEADLINE, _GOOD_EVERY = 10.0, 50
_GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_NO_LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Served:
    """A model, and what it answers throughout.

    Attributes:
      base: its base path.
      name: what requests call it.
      request: that must be answered over gRPC.
      body: that must be answered over HTTP.
      tolerance: by how much its scores may differ: 0, or, where rows of other requests are in one
        batch with them, their last bits.
    """

    base: Path
    name: str
    request: bytes
    body: dict[str, Any]
    tolerance: float = 0.0

    @classmethod
    def versioned(cls, base: Path) -> "Served":
        """The model whose outputs name their version."""
        return cls(base, NAME, bytes(request().SerializeToString()), good_body())

    @property
    def http(self) -> bytes:
        """The request over HTTP."""
        return http_request(f"/v1/models/{self.name}:predict", json.dumps(self.body).encode())


class Peer:
    """Sends messages; a connection for each thread.

    Args:
      target: ``HOST:PORT`` of the server.
      http_port: of its HTTP.
      served: what is asked in between.
    """

    def __init__(self, target: str, http_port: int, served: Served) -> None:
        self._target, self._http_port, self._served = target, http_port, served
        self._own = local()

    def call(self, method: str, data: bytes) -> bytes | str:
        """The answer, or the code's name; over HTTP the status, or ``GONE``."""
        if method == HTTP:
            return self.http(data)[0]
        if not hasattr(self._own, "channel"):
            options = [*_NO_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
            self._own.channel = grpc.insecure_channel(self._target, options=options)
        try:
            return bytes(self._own.channel.unary_unary(method)(data, timeout=_DEADLINE))
        except grpc.RpcError as error:
            return str(error.code().name)

    def http(self, data: bytes) -> tuple[str, bytes]:
        """The status and the body."""
        try:
            with socket.create_connection(("127.0.0.1", self._http_port), _DEADLINE) as line:
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: line.recv(1 << 16), b""))
        except TimeoutError:
            return "DEADLINE_EXCEEDED", b""
        except OSError:  # a reset
            return GONE, b""
        head, _, body = received.partition(b"\r\n\r\n")
        words = head.split(None, 2)
        return (words[1].decode() if head.startswith(b"HTTP/") else GONE), body

    def good_answers(self) -> list["Outputs"]:
        """To the requests that must be answered, over gRPC and HTTP. Raises ``InputError`` where
        they are not.
        """
        answer = self.call(PREDICT, self._served.request)
        status, body = self.http(self._served.http)
        if isinstance(answer, str) or status != "200":
            raise InputError(f"the server refuses a good request: {answer!r:.100}, {status}")
        rows = json.loads(body)["predictions"]
        return [_outputs(answer), {name: np.array([row[name] for row in rows]) for name in rows[0]}]

    def judge(self, good: list["Outputs"], number: int, sent: Malformed) -> list[str]:
        """Sends a request, and now and then a good one; what there is to count."""
        answer = self.call(sent.method, sent.data)
        code = "OK" if isinstance(answer, bytes) else answer
        counted = [f"code_{code.lower()}"]
        if code in _GONE:
            counted.append("unanswered_requests")
        elif code not in sent.codes:
            counted.append("wrong_codes")
            said = f"{code}, expected one of {sorted(sent.codes)}"
            say(f"{sent.kind} to {sent.method}: {said}: {sent.data[:200]!r}")
        if sent.like is not None and isinstance(answer, bytes):
            like = self.call(PREDICT, sent.like)
            if isinstance(like, str) or not self._alike(_outputs(answer), _outputs(like)):
                counted.append("changed_good_answers")
                say(f"{sent.kind}: another answer than its like: {sent.data[:200]!r}")
        if number % _GOOD_EVERY == 0:
            try:
                again = self.good_answers()
                same = all(map(self._alike, again, good))
            except InputError:
                same = False
            counted += [] if same else ["changed_good_answers"]
        return counted

    def _alike(self, received: "Outputs", right: "Outputs") -> bool:
        """Whether answers are the same, as far as they must be; NaN is no score."""
        return received.keys() == right.keys() and all(
            values.shape == right[name].shape
            and (
                np.allclose(values, right[name], rtol=0.0, atol=self._served.tolerance)
                if values.dtype.kind == "f"
                else np.array_equal(values, right[name])
            )
            for name, values in received.items()
        )


Outputs = dict[str, np.ndarray[Any, Any]]


def _outputs(answer: bytes) -> Outputs:
    response = predict_pb2.PredictResponse.FromString(answer)
    return {name: decode(message) for name, message in response.outputs.items()} | {
        "version of the model": np.array(response.model_spec.version.value)
    }
