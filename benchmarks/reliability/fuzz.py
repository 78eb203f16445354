"""Ten thousand requests that nobody should send, to every method of two servers: one as it is by
default, one with batching on.

Bars: every request is answered before its deadline with a code that fits what is wrong with it
(``wrong_codes``, ``unanswered_requests``), no server ends (``crashes``), a good request in between
gets the same answer, to the bit, throughout (``changed_good_answers``), and memory is flat once the
first third has been sent (``memory_growth_mib``).
"""

import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import local

import grpc
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability.malformed import MOST_BYTES, PREDICT, Malformed, malformed
from benchmarks.reliability.versioned import NAME, request, save
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import resident_mib
from configs import InputError
from preprocessing.beam.progress import say
from serving.selfcheck import server_process

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
    for flags in ([], ["--enable-batching"]):
        requests = list(malformed(_SEED + len(flags), count // 2))
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
    with server_process(base, NAME, f"--max-message-bytes={MOST_BYTES}", *flags) as (target, pid):
        peer = _Peer(target)
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

    def __init__(self, target: str) -> None:
        self._target = target
        self._own = local()

    def call(self, method: str, data: bytes) -> bytes | str:
        """The answer, or the code's name."""
        if not hasattr(self._own, "channel"):
            options = [*_NO_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
            self._own.channel = grpc.insecure_channel(self._target, options=options)
        try:
            return bytes(self._own.channel.unary_unary(method)(data, timeout=_DEADLINE))
        except grpc.RpcError as error:
            return str(error.code().name)

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
        return counted
