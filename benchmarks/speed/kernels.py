"""Kernels: what taps and tuning cost, how the cost grows with the number of domains, what it costs
to refresh one domain alone where the other kernels exist, and full fine-tuning beside it.

A refresh is the product's own ``finetune`` of that domain, in a process that has started: the
backbone loaded and checked, its rows' taps, training, judging beside what is served, and storing.

The bound: taps need one forward pass of the backbone over the window, about a third of the
arithmetic of learning from it; and a kernel needs three products (forward, and back to the weights
of both layers) of every row that it visits.
"""

import shutil
import time
from dataclasses import replace
from math import ceil

import keras
import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.method.methods.full import full
from benchmarks.speed.benches import finished_bench, learn
from benchmarks.speed.options import Figures, Options
from configs.domains import ALL, Domain
from configs.random_streams import Purpose, random_stream
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.training.backbone_step import Learner
from trainer.training.batch_schedule import DomainData, schedule
from trainer.training.finetune import finetune
from trainer.training.joint_kernel_trainer import JointTrainer
from trainer.training.kernel_training import scale_of, train_kernels

_DOMAINS = 64
_REPEATS = 3


def measure(options: Options) -> Figures:
    """See the module. Domains of ``configs/globo.yaml``, its window and its settings."""
    bench = finished_bench(options)
    experiment, split = bench.experiment, bench.experiment.finetune.split
    rows = bench.dataset.rows(split)
    epoch = _backbone_epoch_seconds(bench)

    start = time.perf_counter()
    window = run_frozen(
        bench.backbone, bench.dataset, split, experiment.kernel.tap, "taps of the window"
    )
    taps = time.perf_counter() - start
    validation = run_frozen(
        bench.backbone,
        bench.dataset,
        experiment.finetune.validation,
        experiment.kernel.tap,
        "taps of validation",
    )
    forward = time.perf_counter() - start
    towers = len(experiment.tasks.towers)
    shape = KernelShape.of(experiment.kernel, window.taps.shape[-1], towers=towers)
    domains = [
        domain
        for domain in experiment.domains
        if domain.name != ALL and len(window.domain_rows(domain))
    ]
    everyone = train_kernels(experiment, shape, window, validation, [Domain(ALL)])[0].weights
    of_all = time.perf_counter() - start
    train_kernels(experiment, shape, window, validation, domains, everyone)
    tuned = time.perf_counter() - start

    visited = sum(len(window.domain_rows(domain)) for domain in domains)
    by_size = sorted(domains, key=lambda domain: len(window.domain_rows(domain)))
    median = by_size[len(domains) // 2]
    alone = _refresh_seconds(bench, options, [d.name for d in (by_size[0], median, by_size[-1])])
    one, many = (
        _epoch_seconds(bench, shape, window, 1),
        _epoch_seconds(bench, shape, window, _DOMAINS),
    )
    products = sum(
        int(np.prod(size)) for name, size in shape.variables().items() if name in shape.informed
    )
    outcome = full(bench, experiment, [], {"start": "backbone", "domains": [median.name]})[""]
    per_row = outcome.seconds / outcome.rows
    return {
        "window_rows": rows,
        "domains": len(domains),
        "backbone_epoch_seconds": epoch,
        "taps_seconds": taps,
        "taps_rows_per_s": rows / taps,
        "taps_to_backbone_epoch_ratio": taps / epoch,
        "kernel_of_all_traffic_seconds": of_all - forward,
        "tuning_every_domain_seconds": tuned,
        "tuning_to_backbone_epoch_ratio": tuned / epoch,
        **{
            f"refreshing_{size}_domain_{name}": value
            for size, seconds, domain in zip(
                ("smallest", "median", "largest"),
                alone,
                (by_size[0], median, by_size[-1]),
                strict=True,
            )
            for name, value in (
                ("rows", len(window.domain_rows(domain))),
                ("seconds", seconds),
                ("to_backbone_epoch_ratio", seconds / epoch),
            )
        },
        "tuning_epoch_rows_per_s": rows / one,
        f"{_DOMAINS}_domains_to_one_ratio": many / one,
        "multiplications_per_row": products,
        "tuning_gflops": 2 * 2 * rows / one * products / 1e9,
        "full_fine_tuning_rows_per_s": 1 / per_row,
        "full_fine_tuning_every_domain_seconds": per_row * visited * 2,
        "full_fine_tuning_to_kernels_ratio": per_row * visited * 2 / tuned,
    }


def _backbone_epoch_seconds(bench: Bench) -> float:
    """One epoch of pre-training's own step over the window's rows, after a few steps that are
    not counted.
    """
    experiment = bench.experiment
    learner = Learner(
        keras.saving.load_model(bench.job.backbone / "model.keras", compile=False), experiment
    )
    size, split = experiment.pretrain.batch_size, experiment.finetune.split
    learn(learner, iter(bench.dataset.shuffled_batches(split, size, seed=1)), 3)
    start = time.perf_counter()
    learn(
        learner,
        iter(bench.dataset.shuffled_batches(split, size, seed=2)),
        ceil(bench.dataset.rows(split) / size),
    )
    return time.perf_counter() - start


def _refresh_seconds(bench: Bench, options: Options, domains: list[str]) -> list[float]:
    """Seconds of fine-tuning each of some domains by itself, in a copy of the job that has kernels
    of all traffic and of these domains; the first fine-tuning warms up.
    """
    folder = options.folder / "refreshed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.job.folder, folder, ignore=shutil.ignore_patterns("kernels"))
    job, seconds = Job(folder), []
    finetune(bench.experiment, bench.data, job, [ALL, *domains])
    for domain in domains:
        start = time.perf_counter()
        finetune(bench.experiment, bench.data, job, [domain])
        seconds.append(time.perf_counter() - start)
    return seconds


def _epoch_seconds(bench: Bench, shape: KernelShape, window: BackboneOutputs, count: int) -> float:
    """The fastest epoch of as many kernels as asked for that share all rows of the window
    between them, on inputs as training standardises them.
    """
    window = replace(window, scale=scale_of(window))
    experiment = bench.experiment
    parts = np.array_split(
        random_stream(experiment.seed, Purpose.BENCHMARK_ROWS).permutation(len(window.logits)),
        count,
    )
    data = [DomainData(f"part-{index}", np.sort(part)) for index, part in enumerate(parts)]
    trainer = JointTrainer(
        experiment, shape, data, [shape.initial(experiment.seed, domain.name) for domain in data]
    )
    seconds = []
    for epoch in range(1 + _REPEATS):
        batches = schedule(data, experiment.finetune.batch_size, experiment.seed, epoch)
        start = time.perf_counter()
        for _ in trainer.train_epoch(window, batches, epoch=0):
            pass
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
