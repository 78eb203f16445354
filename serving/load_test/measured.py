"""Holds what a load test measures."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p99_9_ms": 99.9}


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
        """``p50_ms`` to ``p99_9_ms`` (null where nothing was answered), ``requests_per_s``,
        ``requests`` (answered) and ``errors``.
        """
        values = (
            np.percentile(self.latencies_ms, list(PERCENTILES.values())).tolist()
            if self.latencies_ms
            else [None] * len(PERCENTILES)
        )
        count = len(self.latencies_ms)
        return {
            **dict(zip(PERCENTILES, values, strict=True)),
            "requests_per_s": count / self.seconds,
            "requests": count,
            "errors": dict(self.errors),
        }
