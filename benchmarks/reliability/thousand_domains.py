"""1,000 domains in one model: seconds until the embedded server has it loaded and warm, and the
memory its kernels take.

On paper kernels take the bytes of their slots. What is measured is what a process holds more of
with them than with the fewest slots that the same graph can have; each load is a process of its
own.
"""

import multiprocessing
import os
import shutil
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import trainer  # noqa: F401 - before TensorFlow, in the process that loads a version, too

# isort: split
from benchmarks.method.bench import Bench
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import resident_mib
from benchmarks.speed.serving import activate, drawn_kernels, experiment_of
from serving.export.export_manifest import Record
from serving.export.sharded_checkpoint import KERNEL_DATA
from serving.export.version_writer import export
from serving.server.servable_loader import load
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore

_REPEATS = 5


def measure(options: Options) -> Figures:
    """See the module."""
    count = 40 if options.quick else 1_000
    bench = Bench(experiment_of(count, options.quick), None, options.folder)
    job, domains = drawn_kernels(bench.job, bench.experiment, count, options.folder)
    models = options.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    activate(job, [])
    export(job, models, 1, slots=1)
    activate(job, domains)
    start = time.perf_counter()
    version = export(job, models, 2, full=True)
    exported = time.perf_counter() - start
    record = Record.read(version)
    assert record is not None  # noqa: S101 - written a moment ago
    bytes_per_kernel = _bytes_per_kernel(KernelStore(job).load(domains[0], 1).shape)
    with_kernels, without = (
        [_loaded(models / number) for _ in range(_REPEATS)] for number in ("2", "1")
    )
    paper = record.layout.slots * bytes_per_kernel / (1 << 20)
    measured = statistics.median(held for *_, held in with_kernels) - statistics.median(
        held for *_, held in without
    )
    return {
        "domains": len(record.kernels),
        "slots": record.layout.slots,
        "export_seconds": exported,
        "load_seconds": statistics.median(loaded for loaded, *_ in with_kernels),
        "load_and_warm_up_seconds": statistics.median(warm for _, warm, _ in with_kernels),
        "load_and_warm_up_slowest_seconds": max(warm for _, warm, _ in with_kernels),
        "kernel_kib": bytes_per_kernel / 1024,
        "kernels_on_paper_mib": paper,
        "kernels_on_disk_mib": (version / KERNEL_DATA).stat().st_size / (1 << 20),
        "kernels_in_memory_mib": measured,
        "memory_to_paper_ratio": measured / paper,
    }


def _bytes_per_kernel(shape: KernelShape) -> int:
    """Of a slot: float32 of every task for every weight and bias from d_in over d_e and the
    decoder's widths to 1.
    """
    return (
        shape.towers
        * 4
        * sum(
            (fan_in + 1) * fan_out
            for fan_in, fan_out in zip(shape.widths, shape.widths[1:], strict=False)
        )
    )


def _loaded(version: Path) -> tuple[float, float, float]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_load, version).result()


def _load(version: Path) -> tuple[float, float, float]:
    """Seconds until a version is loaded, seconds until it is loaded and warm, and MiB that this
    process holds more once it is loaded.
    """
    before = resident_mib(os.getpid())
    start = time.perf_counter()
    servable = load(1, version, warm_up=False)
    loaded = time.perf_counter() - start
    held = resident_mib(os.getpid()) - before
    servable.close()
    start = time.perf_counter()
    load(1, version).close()
    return loaded, time.perf_counter() - start, held
