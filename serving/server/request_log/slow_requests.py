"""Keeps the slow requests of a server: how long each took, and what it was."""

import json
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import grpc

from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN

SLOW = "slow"
"""Key of the number of slow requests in ``RequestWatch.kept``."""

_LONGEST = 255  # of a text that a peer has sent


class SlowRequests:
    """The last requests that took as long as a threshold."""

    def __init__(self, seconds: float, most: int) -> None:
        """None yet.

        Args:
          seconds: a request that takes as long is slow.
          most: how many are kept; then the oldest goes.
        """
        self.seconds = seconds
        self._kept: deque[dict[str, Any]] = deque(maxlen=most)
        self._count = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many there were, those that are no longer kept included."""
        return self._count

    def add(
        self, request: Any, code: grpc.StatusCode, seconds: float, entrypoint: str, *, logged: bool
    ) -> None:
        """Keeps a slow request.

        Args:
          request: of Predict.
          code: how it ended.
          seconds: that it took, from when its message was read to when its answer was ready.
          entrypoint: how it came, ``GRPC`` or ``REST``.
          logged: whether the request log has it, whole.
        """
        spec = request.model_spec
        asked = request.inputs[DOMAIN].string_val[:1] if DOMAIN in request.inputs else ()
        entry = {
            "ended": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "seconds": round(seconds, 6),
            "code": code.name,
            "entrypoint": entrypoint,
            "model": spec.name[:_LONGEST],
            "signature": (spec.signature_name or DEFAULT_SIGNATURE)[:_LONGEST],
            "domain": asked[0].decode(errors="replace")[:_LONGEST] if asked else None,
            "rows": max((_rows(proto) for proto in request.inputs.values()), default=0),
            "bytes": request.ByteSize(),
            "logged": logged,
        }
        with self._lock:
            self._count += 1
            self._kept.append(entry)

    def text(self) -> bytes:
        """All that are kept, the newest first, as JSON."""
        with self._lock:
            kept, count = list(reversed(self._kept)), self._count
        document = {"threshold_seconds": self.seconds, "count": count, "requests": kept}
        return json.dumps(document, indent=1).encode()


def _rows(proto: Any) -> int:
    dims = proto.tensor_shape.dim
    return int(dims[0].size) if dims else 0
