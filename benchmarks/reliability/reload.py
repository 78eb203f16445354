"""Versions change under load: four newer ones one after another, then the newest is withdrawn,
while requests keep coming at a fixed rate.

Requests are sent at moments that are fixed beforehand, answered or not. Every part of an answer
names the version whose weights made it, so an answer that mixes two is found out. Bars:
``failed_requests`` and ``answers_of_mixed_versions`` are 0.
"""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability.versioned import NAME, request, save, whole_version
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import peak_mib
from serving.load_test.open_loop import arrivals, offer
from serving.selfcheck import server_process

_RATE = 200.0


def measure(options: Options) -> Figures:
    """See the module."""
    seconds, changes = (5.0, 1) if options.quick else (60.0, 5)
    base, prepared = options.folder / "models", options.folder / "prepared"
    for folder in (base, prepared):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    versions = list(range(1, max(changes, 2) + 1))
    for version in versions:
        save(version, prepared / str(version))
    (prepared / "1").rename(base / "1")
    seen: list[int | None] = []
    waits: list[float] = []
    with server_process(base, NAME) as (target, pid):
        steps = [_publish(prepared, base, version) for version in versions[1:]]
        if len(steps) < changes:
            steps.append(_withdraw(prepared, base, versions[-1]))
        changer = threading.Thread(target=_change, args=(steps[:changes], seconds, seen, waits))
        changer.start()
        load = offer(
            target,
            [request().SerializeToString()],
            arrivals(_RATE, seconds, "constant", 0),
            seconds,
            answered=lambda data: seen.append(
                whole_version(predict_pb2.PredictResponse.FromString(data))
            ),
        )
        changer.join()
        peak = peak_mib(pid)
    p50, p99 = np.percentile(load.latencies_ms, [50, 99])
    return {
        "offered_requests_per_s": load.offered_per_s,
        "requests": len(load.latencies_ms) + load.errors.total(),
        "failed_requests": load.errors.total(),
        **{f"failed_{code.lower()}_requests": count for code, count in load.errors.items()},
        "answers_of_mixed_versions": seen.count(None),
        "versions_that_answered": len(set(seen) - {None}),
        "version_changes": len(waits),
        "slowest_change_seconds": max(waits, default=0.0),
        "client_late_p99_ms": float(np.percentile(load.late_ms, 99)),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "slowest_ms": max(load.latencies_ms),
        "server_peak_mib": peak,
    }


def _publish(prepared: Path, base: Path, version: int) -> Callable[[], int]:
    def step() -> int:
        (prepared / str(version)).rename(base / str(version))
        return version

    return step


def _withdraw(prepared: Path, base: Path, version: int) -> Callable[[], int]:
    def step() -> int:
        (base / str(version)).rename(prepared / str(version))
        return version - 1

    return step


def _change(
    steps: list[Callable[[], int]], seconds: float, seen: list[int | None], waits: list[float]
) -> None:
    """Changes versions at equal distances; notes how long each took until the first answer of
    the version that is then the newest.
    """
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        time.sleep(max(0.0, began + number * seconds / (len(steps) + 1) - time.monotonic()))
        moved = time.monotonic()
        before = len(seen)
        version = step()
        while version not in seen[before:]:
            if time.monotonic() > moved + seconds / (len(steps) + 1):
                return
            time.sleep(0.01)
        waits.append(time.monotonic() - moved)
