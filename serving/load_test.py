"""``python -m serving.load_test``: one request, sent again and again from several threads; latency, throughput and errors as JSON.

The request is encoded once and answers are not decoded, so that the client takes as little as it can of a machine it may share with the
server. Every thread has a connection of its own: a server of several processes is given connections, not requests.
"""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from configs.command import CommandParser, run
from configs.errors import InputError
from serving.client import Client, requests_of
from serving.flags import seconds, whole_number, with_dashes
from serving.rows import Row, encode_rank, encode_rows
from serving.servable import DEFAULT_SIGNATURE, RANK_SIGNATURE

_METHOD = "/tensorflow.serving.PredictionService/Predict"


@dataclass
class Load:
    """What was measured.

    Attributes:
      seconds: how long requests were sent.
      latencies_ms: of every answered request, in no order.
      errors: gRPC code -> requests that were refused.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Load") -> None:
        """Takes in what another run measured."""
        self.seconds += other.seconds
        self.latencies_ms += other.latencies_ms
        self.errors += other.errors

    def figures(self) -> dict[str, Any]:
        """``p50_ms``, ``p99_ms`` (null where nothing was answered), ``requests_per_s``, ``requests`` and ``errors``."""
        answered = bool(self.latencies_ms)
        p50, p99 = np.percentile(self.latencies_ms, [50, 99]).tolist() if answered else (None, None)
        count = len(self.latencies_ms)
        return {
            "p50_ms": p50,
            "p99_ms": p99,
            "requests_per_s": count / self.seconds,
            "requests": count,
            "errors": dict(self.errors),
        }


def load(target: str, request: bytes, threads: int, duration: float, *, warm_up: float = 1.0, deadline: float = 30.0) -> Load:
    """Sends a request from every thread as soon as it has its last answer.

    Args:
      target: ``HOST:PORT``.
      request: a serialized ``PredictRequest``.
      threads: requests that are under way at once.
      duration: seconds that are measured.
      warm_up: seconds before, which are not.
      deadline: seconds for each request.
    """
    measured, lock = Load(), threading.Lock()
    began = time.perf_counter() + warm_up  # senders also connect in that time

    def send() -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        latencies, errors = [], Counter[str]()
        with grpc.insecure_channel(target, options=options) as channel:
            call = channel.unary_unary(_METHOD)
            while (start := time.perf_counter()) < began + duration:
                try:
                    call(request, timeout=deadline)
                except grpc.RpcError as error:
                    if start >= began:
                        errors[error.code().name] += 1
                else:
                    if start >= began:
                        latencies.append(1_000 * (time.perf_counter() - start))
            ended = time.perf_counter()  # closing a connection takes its time
        with lock:
            measured.add(Load(0.0, latencies, errors))
            measured.seconds = max(measured.seconds, ended - began)

    senders = [threading.Thread(target=send) for _ in range(threads)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return measured


def encoded(known: meta_graph_pb2.SignatureDef, spec: model_pb2.ModelSpec, rows: Sequence[Row], domain: str | None) -> bytes:
    """The request of rows; under ``rank`` the first row's user and context, and every row's item. Raises ``InputError``.

    Args:
      known: the signature that the spec names.
      spec: model and signature.
      rows: raw features; what the signature does not take is skipped.
      domain: of the rows that have none of their own.
    """
    if spec.signature_name == RANK_SIGNATURE:
        inputs = encode_rank(known, rows[0], rows, domain, ignore_unknown=True)
    else:
        inputs = encode_rows(known, rows, domain, ignore_unknown=True)
    return bytes(predict_pb2.PredictRequest(model_spec=spec, inputs=inputs).SerializeToString())


def main(argv: Sequence[str]) -> None:
    """The command. Raises ``InputError`` for bad input; exits with code 1 where a request was refused."""
    arguments = _arguments(argv)
    rows = requests_of(arguments.requests, arguments.rows)
    if not rows:
        raise InputError(f"--requests {arguments.requests}: no rows")
    with Client(arguments.target, arguments.model_name) as client:
        known = client.signature(arguments.signature)
    request = encoded(known, model_pb2.ModelSpec(name=arguments.model_name, signature_name=arguments.signature), rows, arguments.domain)
    measured = load(arguments.target, request, arguments.threads, arguments.seconds, deadline=arguments.deadline_ms / 1_000)
    print(json.dumps({"rows": len(rows), "threads": arguments.threads, **measured.figures()}, indent=1))
    sys.exit(1 if measured.errors else 0)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="python -m serving.load_test", description="Send one request again and again; latency and throughput.")
    parser.add_argument("--target", required=True, metavar="HOST:PORT", help="where the server listens")
    parser.add_argument("--model-name", required=True, metavar="NAME", help="the model, as the server calls it")
    parser.add_argument("--requests", required=True, metavar="FILE", help="a JSON object of raw features in each line; - for stdin")
    parser.add_argument("--rows", type=whole_number(1), default=200, metavar="N", help="rows of the request, the file's first (200)")
    parser.add_argument("--domain", help="domain of the rows that have no 'domain' of their own")
    parser.add_argument("--signature", default=DEFAULT_SIGNATURE, metavar="NAME", help="signature to run (%(default)s)")
    parser.add_argument("--threads", type=whole_number(1, 1024), default=8, metavar="N", help="requests under way at once (%(default)s)")
    parser.add_argument("--seconds", type=seconds, default=10.0, metavar="S", help="how long (10), after a second that is not measured")
    parser.add_argument("--deadline-ms", type=whole_number(1), default=30_000, metavar="MS", help="for each request (%(default)s)")
    return parser.parse_args([with_dashes(word) for word in argv])


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
