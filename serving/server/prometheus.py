"""Tells Prometheus about Predict requests, under TensorFlow Serving's names."""

from collections.abc import Callable

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

_REQUESTS = ":tensorflow:serving:request_count"
_BUCKETS = tuple(10 * 1.8**power for power in range(33))
"""Upper bounds in microseconds, TensorFlow Serving's: up to some 20 minutes."""

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counts and times of requests, by model."""

    def __init__(self, known: Callable[[str], bool]) -> None:
        """Nothing counted yet.

        Args:
          known: whether a model of this name is served; requests for others are counted together
            under an empty name, since a peer can invent names without end.
        """
        self._known = known
        self._registry = CollectorRegistry()
        self._count = Counter(
            _REQUESTS,
            "The total number of requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, model: str, code: grpc.StatusCode, seconds: float) -> None:
        """Counts one request; its time too if it was answered."""
        name = model if self._known(model) else ""
        self._count.labels(name, code.name).inc()
        if code is grpc.StatusCode.OK:
            self._latency.labels(name, "Predict", "GRPC").observe(seconds * 1e6)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        # The library insists on names of counters that end in _total; TensorFlow Serving's do not.
        return generate_latest(self._registry).replace(
            f"{_REQUESTS}_total".encode(), _REQUESTS.encode()
        )
