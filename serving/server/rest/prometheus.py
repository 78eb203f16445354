"""Tells Prometheus about Predict requests, under TensorFlow Serving's names."""

import sys
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from serving.wire.signatures import DOMAIN, SERVED_DOMAIN

_REQUESTS = ":tensorflow:serving:request_count"
_ROWS = "recommender_rows"
_MOST_DOMAINS, _LONGEST_DOMAIN, _OTHER = 2048, 255, "(other)"
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
        self._rows = Counter(
            _ROWS,
            "Rows by the domain that was asked for and the one whose kernel answered.",
            ["model_name", "asked_domain", "served_domain"],
            registry=self._registry,
        )
        self._domains: set[str] = set()
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(
        self,
        request: Any,
        code: grpc.StatusCode,
        seconds: float,
        response: Any = None,
        entrypoint: str = "GRPC",
    ) -> None:
        """Counts one request; its time and its rows too if it was answered.

        Args:
          request: of Predict.
          code: how it ended.
          seconds: that it took.
          response: the answer; None where there is none.
          entrypoint: how it came, ``GRPC`` or ``REST``.

        What fails here is said on stderr and raises nothing: what is only watched must be answered.
        """
        try:
            self._observe(request, code, seconds, response, entrypoint)
        except Exception as error:
            print(f"metrics: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def _observe(
        self, request: Any, code: grpc.StatusCode, seconds: float, response: Any, entrypoint: str
    ) -> None:
        name = request.model_spec.name if self._known(request.model_spec.name) else ""
        self._count.labels(name, code.name).inc()
        if code is not grpc.StatusCode.OK:
            return
        self._latency.labels(name, "Predict", entrypoint).observe(seconds * 1e6)
        if response is None or not (DOMAIN in request.inputs and SERVED_DOMAIN in response.outputs):
            return
        asked = request.inputs[DOMAIN].string_val
        served = response.outputs[SERVED_DOMAIN].string_val
        if len(asked) == 1:  # under ``rank`` one domain is asked for all rows
            asked = [*asked] * len(served)
        for (one, other), rows in Tally(zip(asked, served, strict=False)).items():
            self._rows.labels(name, self._domain(one), self._domain(other)).inc(rows)

    def _domain(self, name: bytes) -> str:
        """A domain as a label; peers can invent names without end, so not every one is kept."""
        text = name.decode(errors="replace")
        if text not in self._domains:
            if len(self._domains) >= _MOST_DOMAINS or len(text) > _LONGEST_DOMAIN:
                return _OTHER
            self._domains.add(text)
        return text

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        # The library insists on names of counters that end in _total; TensorFlow Serving's do not.
        return generate_latest(self._registry).replace(
            f"{_REQUESTS}_total".encode(), _REQUESTS.encode()
        )
