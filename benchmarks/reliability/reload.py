"""Versions change a hundred times under load: four newer ones one after another, then the newest
are withdrawn one after another, and so on, while requests keep coming at a fixed rate.

Requests are sent at moments that are fixed beforehand, answered or not. Every part of an answer
names the version whose weights made it, so an answer that mixes two is found out. Bars:
``failed_requests`` and ``answers_of_mixed_versions`` are 0, and ``memory_growth_percent``, from
after the tenth change to the most after any later one, is at most 2.
"""

import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability.versioned import NAME, request, save, whole_version
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import peak_mib, resident_mib
from serving.load_test.open_loop import arrivals, offer
from serving.selfcheck import server_process

_RATE, _VERSIONS = 200.0, 5
_SETTLED = 10
"""Changes after which memory must be flat."""


def measure(options: Options) -> Figures:
    """See the module."""
    seconds, changes = (5.0, 1) if options.quick else (250.0, 100)
    base, prepared = options.folder / "models", options.folder / "prepared"
    for folder in (base, prepared):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    versions = list(range(1, min(max(changes, 2), _VERSIONS) + 1))
    for version in versions:
        save(version, prepared / str(version))
    (prepared / "1").rename(base / "1")
    seen: list[int | None] = []
    waits: list[float] = []
    memory: list[float] = []
    with server_process(base, NAME) as (target, pid):
        up = [_publish(prepared, base, version) for version in versions[1:]]
        down = [_withdraw(prepared, base, version) for version in reversed(versions[1:])]
        steps = list(islice(cycle([*up, *down]), changes))
        measured = partial(resident_mib, pid)
        changer = threading.Thread(
            target=_change, args=(steps, seconds, seen, waits, memory, measured)
        )
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
        **_growth(memory),
        "client_late_p99_ms": float(np.percentile(load.late_ms, 99)),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "slowest_ms": max(load.latencies_ms),
        "server_peak_mib": peak,
    }


def _growth(memory: list[float]) -> Figures:
    """Of the server's memory between changes; none where there were too few of them."""
    if len(memory) <= _SETTLED:
        return {}
    settled = memory[_SETTLED - 1]
    return {
        "memory_after_ten_changes_mib": settled,
        "memory_after_all_changes_mib": memory[-1],
        "memory_growth_percent": 100 * (max(memory[_SETTLED:]) / settled - 1),
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
    steps: list[Callable[[], int]],
    seconds: float,
    seen: list[int | None],
    waits: list[float],
    memory: list[float],
    measured: Callable[[], float],
) -> None:
    """Changes versions at equal distances; notes how long each took until the first answer of
    the version that is then the newest, and the memory before the next.
    """
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        time.sleep(max(0.0, began + number * seconds / (len(steps) + 1) - time.monotonic()))
        if number > 1:
            memory.append(measured())
        moved = time.monotonic()
        before = len(seen)
        version = step()
        while version not in seen[before:]:
            if time.monotonic() > moved + seconds / (len(steps) + 1):
                return
            time.sleep(0.01)
        waits.append(time.monotonic() - moved)
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    memory.append(measured())
