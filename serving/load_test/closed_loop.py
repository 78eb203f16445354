"""Loads a server in a closed loop: so many requests are under way at once, and each is sent when
the one before it is answered.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle

import grpc

from serving.client.connection import Tls, open_channel
from serving.load_test.measured import Load
from serving.wire.messages import PREDICT_METHOD


def load(
    target: str,
    requests: bytes | Sequence[bytes],
    threads: int,
    duration: float,
    *,
    warm_up: float = 1.0,
    deadline: float = 30.0,
    tls: Tls | None = None,
) -> Load:
    """Sends requests from every thread as soon as it has its last answer.

    Every thread has a connection of its own: a server of several processes is given connections,
    not requests.

    Args:
      target: ``HOST:PORT``.
      requests: serialized ``PredictRequest``, or several that are sent in turns.
      threads: requests that are under way at once.
      duration: seconds that are measured.
      warm_up: seconds before, which are not.
      deadline: seconds for each request.
      tls: None for unencrypted connections.
    """
    several = [requests] if isinstance(requests, bytes) else list(requests)
    measured, lock = Load(), threading.Lock()
    began = time.perf_counter() + warm_up  # senders also connect in that time

    def send(first: int) -> None:
        latencies, errors = [], Counter[str]()
        turns = cycle(several[first:] + several[:first])
        with open_channel(target, tls, shared=False) as channel:
            call = channel.unary_unary(PREDICT_METHOD)
            while (start := time.perf_counter()) < began + duration:
                try:
                    call(next(turns), timeout=deadline)
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

    senders = [
        threading.Thread(target=send, args=(index % len(several),)) for index in range(threads)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return measured
