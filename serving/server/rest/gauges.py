"""What Prometheus is told when it asks: distributions of scores, the age of what is served, and
what was kept of requests.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from serving.server.request_log.slow_requests import SLOW
from serving.server.version_facts import VersionFacts

SCORE_BUCKETS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Upper bounds: most scores are products of probabilities, near 0."""


class ScoreHistogram(Collector):
    """``recommender_score``: the output ``score`` of answered rows, by the domain that answered."""

    def __init__(self) -> None:
        self._bounds = np.asarray(SCORE_BUCKETS)
        self._counts: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
        self._sums: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def observe(self, model: str, domains: Sequence[str], scores: npt.ArrayLike) -> None:
        """Counts the rows of an answer.

        Args:
          model: its label.
          domains: label of each row's, ``N``.
          scores: ``[N]``; what is no number is left out.
        """
        values = np.asarray(scores, np.float64).ravel()[: len(domains)]
        names, rows = np.unique(np.asarray(domains[: len(values)], object), return_inverse=True)
        for place, name in enumerate(names):
            own = values[rows == place]
            own = own[np.isfinite(own)]
            found = np.searchsorted(self._bounds, own, side="left")
            counts = np.bincount(found, minlength=len(self._bounds) + 1)
            key = (model, str(name))
            with self._lock:
                self._counts[key] = self._counts.get(key, 0) + counts
                self._sums[key] = self._sums.get(key, 0.0) + float(own.sum())

    def collect(self) -> Iterable[Metric]:
        """See ``Collector``."""
        found = HistogramMetricFamily(
            "recommender_score",
            "Scores of answered rows, by the domain whose kernel answered.",
            labels=["model_name", "served_domain"],
        )
        with self._lock:
            cells = [
                (key, counts.cumsum(), self._sums[key]) for key, counts in self._counts.items()
            ]
        bounds = [*map(str, SCORE_BUCKETS), "+Inf"]
        for key, counts, total in cells:
            found.add_metric(key, list(zip(bounds, counts.tolist(), strict=True)), total)
        yield found


class Ages(Collector):
    """``recommender_model_age_seconds`` and ``recommender_backbone_age_seconds`` of every served
    version.
    """

    def __init__(self, served: Callable[[], Mapping[str, Mapping[int, VersionFacts]]]) -> None:
        self._served = served

    def collect(self) -> Iterable[Metric]:
        """See ``Collector``."""
        labels = ["model_name", "version"]
        model = GaugeMetricFamily(
            "recommender_model_age_seconds", "Time since the version was exported.", labels=labels
        )
        backbone = GaugeMetricFamily(
            "recommender_backbone_age_seconds",
            "Time since the end of the days that the version's backbone learned from.",
            labels=labels,
        )
        now = time.time()
        for name, versions in self._served().items():
            for version, facts in versions.items():
                for family, since in ((model, facts.written), (backbone, facts.learned_until)):
                    if since is not None:
                        family.add_metric([name, str(version)], now - since)
        yield from (model, backbone)


class Kept(Collector):
    """``recommender_request_log_total`` by outcome, and ``recommender_slow_requests_total``."""

    def __init__(self, kept: Callable[[], Mapping[str, int]]) -> None:
        self._kept = kept

    def collect(self) -> Iterable[Metric]:
        """See ``Collector``."""
        logged = CounterMetricFamily(
            "recommender_request_log",
            "Requests of the logged sample, by what became of them.",
            labels=["outcome"],
        )
        slow = CounterMetricFamily(
            "recommender_slow_requests", "Requests that took as long as --slow-request-ms."
        )
        for outcome, count in self._kept().items():
            if outcome == SLOW:
                slow.add_metric([], count)
            else:
                logged.add_metric([outcome], count)
        yield from (logged, slow)
