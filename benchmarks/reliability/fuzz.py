"""Ten thousand requests that nobody should send, to every method and the HTTP port of two servers:
one as it is by default, one with batching on that takes configs from peers.

Bars: every request is answered before its deadline with a code that fits what is wrong with it
(``wrong_codes``, ``unanswered_requests``), no server ends (``crashes``), a good request in between
gets the same answer, to the bit, throughout (``changed_good_answers``), and memory is flat once the
first third has been sent (``memory_growth_mib``).
"""

import json
import random
import shutil
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import local

import grpc
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability.malformed import MOST_BYTES, PREDICT, Malformed, malformed
from benchmarks.reliability.malformed_http import (
    GONE,
    HTTP,
    PREDICT_PATH,
    good_body,
    malformed_http,
)
from benchmarks.reliability.malformed_http import sent as http_request
from benchmarks.reliability.versioned import NAME, request, save
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import resident_mib
from configs import InputError
from preprocessing.beam.progress import say
from serving.selfcheck import server_process
from serving.server.worker_processes import shared_port

_HTTP_EVERY = 5
"""One request in so many goes to the HTTP port."""
_SEED, _THREADS, _DEADLINE, _GOOD_EVERY = 2501, 4, 10.0, 50
_GONE = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_NO_LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def measure(options: Options) -> Figures:
    """See the module."""
    count = 500 if options.quick else 10_000
    shutil.rmtree(options.folder, ignore_errors=True)
    base = options.folder / "models"
    save(1, base / "1")
    total: Counter[str] = Counter()
    growth, resident = [], []
    for flags in ([], ["--enable-batching", f"--reload-config-root={base.absolute()}"]):
        seed, half = _SEED + len(flags), count // 2
        https = half // _HTTP_EVERY
        requests = [*malformed(seed, half - https), *malformed_http(seed, https)]
        random.Random(seed).shuffle(requests)  # noqa: S311 - a seed, to repeat failures
        found, (warm, end) = _sent(base, requests, flags)
        total += found
        growth.append(end - warm)
        resident.append(end)
    answers = {
        f"answered_{code.removeprefix('code_')}_requests": number
        for code, number in sorted(total.items())
        if code.startswith("code_")
    }
    return {
        "malformed_requests": count,
        **{
            name: total[name]
            for name in ("wrong_codes", "unanswered_requests", "crashes", "changed_good_answers")
        },
        "memory_growth_mib": max(growth),
        "memory_mib": max(resident),
        **answers,
    }


def _sent(
    base: Path, requests: list[Malformed], flags: list[str]
) -> tuple[Counter[str], tuple[float, float]]:
    """What became of the requests; the server's memory after a third of them, and in the end."""
    found: Counter[str] = Counter()
    with shared_port("127.0.0.1", 0) as http_port:
        pass  # it was free a moment ago
    limits = [f"--max-message-bytes={MOST_BYTES}", f"--rest-api-port={http_port}"]
    with server_process(base, NAME, *limits, *flags) as (target, pid):
        peer = _Peer(target, http_port)
        good = peer.good_answer()
        third = len(requests) // 3
        memory = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for part in (requests[:third], requests[third:]):
                for counted in pool.map(partial(peer.judge, good), range(len(part)), part):
                    found.update(counted)
                memory.append(resident_mib(pid))
        found["crashes"] += memory[-1] == 0.0
    return found, (memory[0], memory[-1])


class _Peer:
    """Sends messages; a connection for each thread."""

    def __init__(self, target: str, http_port: int) -> None:
        self._target, self._http_port = target, http_port
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

    def good_answer(self) -> predict_pb2.PredictResponse:
        """To a request that must be answered. Raises ``InputError`` where it is not."""
        answer = self.call(PREDICT, request().SerializeToString())
        if isinstance(answer, str):
            raise InputError(f"the server refuses a good request: {answer}")
        return predict_pb2.PredictResponse.FromString(answer)

    def judge(self, good: predict_pb2.PredictResponse, number: int, sent: Malformed) -> list[str]:
        """Sends a request, and now and then a good one; what there is to count."""
        answer = self.call(sent.method, sent.data)
        code = "OK" if isinstance(answer, bytes) else answer
        counted = [f"code_{code.lower()}"]
        if code in _GONE:
            counted.append("unanswered_requests")
        elif code not in sent.codes:
            counted.append("wrong_codes")
            say(
                f"{sent.kind} to {sent.method}: {code}, expected one of {sorted(sent.codes)}:"
                f" {sent.data[:200]!r}"
            )
        if number % _GOOD_EVERY == 0:
            again = self.call(PREDICT, request().SerializeToString())
            if isinstance(again, str) or predict_pb2.PredictResponse.FromString(again) != good:
                counted.append("changed_good_answers")
            status, body = self.http(http_request(PREDICT_PATH, json.dumps(good_body()).encode()))
            rows = json.loads(body)["predictions"] if status == "200" else []
            if {row["version"] for row in rows} != {good.model_spec.version.value}:
                counted.append("changed_good_answers")
        return counted
