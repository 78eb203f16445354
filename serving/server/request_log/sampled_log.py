"""Logs a sample of the requests that were answered, beside the answers' way: a request waits for
nothing that is done here, and nothing that fails here reaches it.
"""

import random
import sys
import threading
import time
from collections import Counter, deque
from typing import Any, NamedTuple, Protocol

from serving.wire.messages import PredictionLog

_DRAIN_SECONDS = 5.0
"""How long what waits may take to be written when the server stops."""

WRITTEN, DROPPED, FAILED = "written", "dropped", "failed"
"""What becomes of a request of the sample: its record was handed to the file; more waited than the
queue takes; the file could not be written.
"""


class Files(Protocol):
    """Where records go; each may raise ``OSError``."""

    def add(self, record: bytes) -> None:
        """Appends a record."""

    def flush(self) -> None:
        """Hands what was added to the operating system."""

    def close(self) -> None:
        """Ends the last file."""


class _Waiting(NamedTuple):
    request: Any
    response: Any
    moment: float
    share: float
    size: int


class SampledLog:
    """Takes requests from any thread, and writes them in one of its own.

    Attributes:
      outcomes: how many requests of the sample were ``WRITTEN``, ``DROPPED`` and ``FAILED``.
    """

    def __init__(
        self, files: Files, share: float, most_waiting: int = 1_000, most_bytes: int = 64 << 20
    ) -> None:
        """Starts the thread.

        Args:
          files: where records go.
          share: of the requests, 0 to 1, drawn one by one.
          most_waiting: requests that may wait to be written; what comes on top is dropped.
          most_bytes: what these and their answers may take together.
        """
        self._files, self._share = files, share
        self._most_waiting, self._most_bytes = most_waiting, most_bytes
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._said = ""
        self.outcomes: Counter[str] = Counter({WRITTEN: 0, DROPPED: 0, FAILED: 0})
        self._thread = threading.Thread(target=self._write_all, name="request-log", daemon=True)
        self._thread.start()

    def offer(self, request: Any, response: Any, *, always: bool = False) -> bool:
        """Lets a request that was answered take part in the sample; ``always`` takes it whatever is
        drawn, as one of all such requests. Returns whether it will be written, if nothing fails.
        """
        if not always and random.random() >= self._share:  # noqa: S311 - a sample, no secret
            return False
        size = request.ByteSize() + response.ByteSize()
        share = 1.0 if always else self._share
        waiting = _Waiting(request, response, time.time(), share, size)
        with self._changed:
            full = len(self._queue) >= self._most_waiting or self._bytes + size > self._most_bytes
            if full or self._stopped:
                self.outcomes[DROPPED] += 1
                return False
            self._queue.append(waiting)
            self._bytes += size
            self._changed.notify()
        return True

    def close(self) -> None:
        """Writes what waits, as far as that takes a few seconds, and ends the file."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(_DRAIN_SECONDS)

    def _write_all(self) -> None:
        while self._write_waiting():
            pass
        try:
            self._files.close()
        except OSError as error:
            self._report(error)

    def _write_waiting(self) -> bool:
        """Waits for requests and writes all that are there; whether more may come."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._stopped)
            waiting = list(self._queue)
        for one in waiting:
            outcome = WRITTEN
            try:
                self._files.add(_record(one))
            except Exception as error:  # a full disk; whoever answers requests goes on
                outcome = FAILED
                self._report(error)
            with self._changed:
                self._queue.popleft()
                self._bytes -= one.size
                self.outcomes[outcome] += 1
        try:
            self._files.flush()
        except OSError as error:
            self._report(error)
        return bool(waiting)

    def _report(self, error: Exception) -> None:
        """What stays wrong is said once."""
        said = f"{type(error).__name__}: {error}"
        if said != self._said:
            self._said = said
            print(f"request log: {said}; requests are answered as before", file=sys.stderr)


def _record(one: _Waiting) -> bytes:
    metadata = {
        "model_spec": one.response.model_spec,
        "sampling_config": {"sampling_rate": one.share},
        "timestamp_secs": int(one.moment),
    }
    predicted = {"request": one.request, "response": one.response}
    return bytes(PredictionLog(log_metadata=metadata, predict_log=predicted).SerializeToString())
