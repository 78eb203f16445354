"""Tells Prometheus about Predict requests and what is served: TensorFlow Serving's names for what
it has, too.
"""

import sys
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from configs.prediction.score import SCORE
from serving.server.rest.domain_labels import DomainLabels
from serving.server.rest.gauges import Ages, Kept, ScoreHistogram
from serving.server.version_facts import VersionFacts
from serving.wire.signatures import DOMAIN, SERVED_DOMAIN
from serving.wire.tensor_protos import decode

_REQUESTS = ":tensorflow:serving:request_count"
_ROWS = "recommender_rows"
_BUCKETS = tuple(10 * 1.8**power for power in range(33))
"""Upper bounds in microseconds, TensorFlow Serving's: up to some 20 minutes."""

Served = Callable[[], Mapping[str, Mapping[int, VersionFacts]]]
"""Gives what is served now: model -> version -> its facts."""

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counts, times and scores of requests by model, and the age of what is served."""

    def __init__(self, served: Served, kept: Callable[[], Mapping[str, int]] | None = None) -> None:
        """Nothing counted yet.

        Args:
          served: which models there are; requests for others are counted together under an empty
            name, since a peer can invent names without end. So it is with domains.
          kept: what became of the requests that were to be logged, and how many were slow
            (``RequestWatch.kept``); None where neither is asked for.
        """
        self._served = served
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
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._labels = DomainLabels()
        self._scores = ScoreHistogram()
        self._registry.register(self._scores)
        self._registry.register(Ages(served))
        if kept is not None:
            self._registry.register(Kept(kept))

    def observe(
        self,
        request: Any,
        code: grpc.StatusCode,
        seconds: float,
        response: Any = None,
        entrypoint: str = "GRPC",
    ) -> None:
        """Counts one request; its time, its rows and their scores too if it was answered.

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
        models = self._served()
        name = request.model_spec.name if request.model_spec.name in models else ""
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
        facts = models.get(name, {}).values()
        shown = {one: self._labels.served(one) for one in set(served)}
        for (one, other), rows in Tally(zip(asked, served, strict=False)).items():
            self._rows.labels(name, self._labels.asked(one, facts), shown[other]).inc(rows)
        if SCORE in response.outputs:
            scores = decode(response.outputs[SCORE])
            self._scores.observe(name, [shown[one] for one in served], scores)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        # The library insists on names of counters that end in _total; TensorFlow Serving's do not.
        return generate_latest(self._registry).replace(
            f"{_REQUESTS}_total".encode(), _REQUESTS.encode()
        )
