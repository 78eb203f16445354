"""From a dataset to training's batches: rows a second in training's order, and whether training
ever waits for them.

An epoch from disk is a pass of training over freshly read and shuffled batches, the start of
reading included; one on cached batches is the same steps on batches that are already in memory.
What may be lost per step is small beside the step, so the ratio is the figure to watch. The bound
of reading is the copy of the bytes.
"""

import time
from collections.abc import Iterable
from typing import Any

from benchmarks.speed.benches import dataset_of, learn
from benchmarks.speed.hardware import copy_gib_per_s
from benchmarks.speed.options import Figures, Options
from preprocessing.features.output_spec import transform_outputs
from trainer.backbone.model import build_backbone
from trainer.training.backbone_step import Learner
from trainer.training.pretrain import one_thread_an_operation

_REPEATS = 3  # the fastest counts; disk and memory take turns


def measure(options: Options) -> Figures:
    """See the module."""
    one_thread_an_operation()
    dataset, experiment = dataset_of(options)
    split, batch_size = experiment.pretrain.split, experiment.pretrain.batch_size
    rows = dataset.rows(split)
    steps = 5 if options.quick else rows // batch_size

    start = time.perf_counter()
    next(iter(dataset.shuffled_batches(split, batch_size, seed=0)))
    first = time.perf_counter() - start
    shuffled = min(
        _seconds(dataset.shuffled_batches(split, batch_size, seed)) for seed in range(_REPEATS)
    )
    in_order = min(_seconds(dataset.batches(split, batch_size)) for _ in range(_REPEATS))

    learner = Learner(
        build_backbone(experiment, transform_outputs(experiment, dataset.fitted)), experiment
    )
    cached = dataset.shuffled_batches(split, batch_size, seed=0).take(steps).cache()
    learn(learner, iter(cached), steps)  # fills the cache, and traces the graph
    disk, memory = list[float](), list[float]()
    for seed in range(_REPEATS):
        for batches, seconds in (
            (dataset.shuffled_batches(split, batch_size, seed), disk),
            (cached, memory),
        ):
            start = time.perf_counter()
            learn(learner, iter(batches), steps)
            seconds.append(time.perf_counter() - start)

    entries = dataset.manifest.splits[split].files
    row_bytes = sum((dataset.folder / entry.path).stat().st_size for entry in entries) / rows
    bound = copy_gib_per_s(16 if options.quick else 256) * 2**30 / 2 / row_bytes
    return {
        "rows": rows,
        "row_bytes": row_bytes,
        "batch_rows": batch_size,
        "shuffled_rows_per_s": rows / shuffled,
        "in_order_rows_per_s": rows / in_order,
        "copy_bound_rows_per_s": bound,
        "shuffled_to_bound_ratio": rows / shuffled / bound,
        "first_batch_ms": 1000 * first,
        "steps": steps,
        "epoch_from_disk_seconds": min(disk),
        "epoch_cached_seconds": min(memory),
        "disk_over_cached_ratio": min(disk) / min(memory),
    }


def _seconds(batches: Iterable[Any]) -> float:
    start = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - start
