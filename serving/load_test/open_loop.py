"""Loads a server in an open loop: requests are sent at moments drawn beforehand, whether or not the
server keeps up, and timed from those moments.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from serving.client.connection import Tls, open_channel
from serving.load_test.measured import Load
from serving.wire.messages import PREDICT_METHOD

ARRIVALS = ("poisson", "constant")


@dataclass
class Offered(Load):
    """What was measured; latencies count from the moment a request was due, so what it waited in
    the client counts too.

    Attributes:
      seconds: from the first measured moment to the last, or to the last answer if that came later.
      offered_per_s: requests that were due, for each measured second; all of them were sent.
      late_ms: how much later than due each was sent: where its p99 is not small, the client itself
        was the bottleneck.
    """

    offered_per_s: float = 0.0
    late_ms: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Those of ``Load``, ``offered_per_s`` and ``client_late_p99_ms``."""
        late = float(np.percentile(self.late_ms, 99)) if self.late_ms else None
        return {
            "offered_per_s": self.offered_per_s,
            **super().figures(),
            "client_late_p99_ms": late,
        }


def arrivals(rate: float, duration: float, kind: str, seed: int) -> npt.NDArray[np.float64]:
    """Seconds from the start at which requests are due, ascending, below ``duration``.

    Args:
      rate: requests a second, on average.
      duration: seconds.
      kind: ``poisson``: users who know nothing of each other (exponential gaps); ``constant``:
        equal gaps.
      seed: of the gaps.
    """
    if kind == "constant":
        return np.arange(0.0, duration, 1.0 / rate)
    generator = np.random.default_rng(seed)
    # Given their number, the moments of a Poisson process are independent and uniform.
    return np.sort(generator.uniform(0.0, duration, generator.poisson(rate * duration)))


def offer(
    target: str,
    requests: Sequence[bytes],
    moments: npt.NDArray[np.float64],
    duration: float,
    *,
    warm_up: float = 0.0,
    connections: int = 4,
    deadline: float = 30.0,
    tls: Tls | None = None,
    progress: Callable[[list[float]], Iterable[float]] = iter,
    answered: Callable[[bytes], object] = bytes,
) -> Offered:
    """Sends a request at each of the moments and waits for the last answer.

    Args:
      target: ``HOST:PORT``.
      requests: serialized ``PredictRequest``s, sent in turns.
      moments: seconds from the start, ascending.
      duration: seconds that the moments span.
      warm_up: requests due before that are sent and not measured.
      connections: they are used in turns.
      deadline: seconds for each request, from when it is sent.
      tls: None for unencrypted connections.
      progress: passes the moments on as they are taken (a progress bar).
      answered: is given every answer, serialized, from several threads.
    """
    measured, lock, done = Offered(), threading.Lock(), threading.Semaphore(0)
    last = [0.0]

    def finished(call: Any, due: float, sent: float) -> None:
        now = time.perf_counter()
        code = call.code()
        if code is grpc.StatusCode.OK:
            answered(call.result())
        with lock:
            if due >= began + warm_up:
                measured.late_ms.append(1_000 * (sent - due))
                last[0] = max(last[0], now)
                if code is grpc.StatusCode.OK:
                    measured.latencies_ms.append(1_000 * (now - due))
                else:
                    measured.errors[code.name] += 1
        done.release()

    with ExitStack() as stack:
        channels = [
            stack.enter_context(open_channel(target, tls, shared=False)) for _ in range(connections)
        ]
        calls = cycle([channel.unary_unary(PREDICT_METHOD) for channel in channels])
        turns = cycle(requests)
        began = time.perf_counter()
        for moment in progress(moments.tolist()):
            due = began + moment
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            sent = time.perf_counter()
            call = next(calls).future(next(turns), timeout=deadline)
            call.add_done_callback(lambda call, due=due, sent=sent: finished(call, due, sent))
        for _ in moments:
            done.acquire()
    measured.seconds = max(duration, last[0] - began) - warm_up
    measured.offered_per_s = len(measured.late_ms) / (duration - warm_up)
    return measured
