"""Memory: what a refresh by one day of logs takes, and what a request costs more where kernels
remember.

Refresh: ``trainer.task memory refresh`` as a process of its own, on Globo's logs with memory of
users, items, and both by scene. First all days up to the end of validation are counted, on top of
nothing, which is what fine-tuning leaves. Then comes the day after them: its preprocessing under
the job's transform, and its refresh; of several runs the fastest. Nothing is trained, so the
backbone, which this makes beforehand, has seen one epoch.

Serving: the requests and the bank of the section ``serving``, with scenes and periods beside its
regions, once with kernels that remember nothing and twice with kernels that do: tables as large as
Globo's, and ten times that. They hold the candidates' own keys, and others that were drawn. And
once more where a row's kernels answer together (``routing.compose``), which requests of ``auto``
show. What is compared is measured in turns.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import Finished, run_process
from benchmarks.speed.serving import (
    CANDIDATES,
    MODEL,
    ONE_THREAD,
    Rows,
    activate,
    candidates,
    drawn_kernels,
    experiment_of,
    in_turns,
    loaded,
    requests,
)
from configs import Experiment, InputError, load_experiment
from configs.files import write_json
from configs.memory import Memory
from configs.prediction.tasks import Tasks
from configs.random_streams import Purpose, random_stream
from configs.schema import Split
from configs.training import Routing
from preprocessing.dataset.manifest import load_manifest
from preprocessing.features.key_hashes import PREFIX, keys_of_batch
from serving.export.version_writer import export
from serving.selfcheck import log_rows, server_process
from serving.server.servable import Servable
from serving.wire.messages import PredictRequest
from serving.wire.signatures import DEFAULT_SIGNATURE, RANK_SIGNATURE
from trainer.job import Job
from trainer.memory.counts import Counts, KeyCounts
from trainer.memory.lookup import MemoryTables
from trainer.memory.memory_store import MemoryStore

_KEYS = {"user": 75_000, "item": 16_000, "item_scene": 35_000, "user_scene": 98_000}
"""How many Globo's kernels remember at the end of validation, by name (the first part measures
them).
"""
_REPEATS = 3  # of preprocessing a day and of a refresh
_MIB = 1 << 20
_SIGNATURES = {
    "default": DEFAULT_SIGNATURE,
    "rank": RANK_SIGNATURE,
    "auto": DEFAULT_SIGNATURE,
}
"""Of the requests, by name (``benchmarks.speed.serving.requests``)."""
_COMPOSE = 0.5
_TOPICS = (
    "topics.scene={column: scene, values: [home, search, coupons, nearby]}",
    "topics.period={column: timestamp, time_zone: UTC, hours: {day: 06-17, night: 18-05}}",
)

Models = dict[str, Path]


def measure(options: Options) -> Figures:
    """See the module."""
    bench = _bench_of_refresh(options)
    figures = refreshed(bench, options)
    domains = 4 if options.quick else 1_000
    if not options.quick:
        memory = _memory("shop_id", "scene")
        experiment = experiment_of(domains, options.quick, memory, *_TOPICS)
        bench = Bench(experiment, None, options.folder)
    domains = len(bench.experiment.domains)
    return figures | {"domains": domains} | served(bench, domains, options)


def _memory(item: str, scene: str) -> str:
    keys = f"user: [user_id], item: [{item}]"
    keys += f", item_scene: [{item}, {scene}], user_scene: [user_id, {scene}]"
    return f"memory={{keys: {{{keys}}}, refresh_hours: 1, half_life_hours: 24}}"


def _bench_of_refresh(options: Options) -> Bench:
    """Dataset up to validation, and a backbone."""
    if options.quick:
        memory = _memory("shop_id", "scene")
        experiment, logs = experiment_of(4, options.quick, memory, *_TOPICS), None
    else:
        settings = [_memory("item_id", "referrer"), "pretrain.epochs=1"]
        experiment = load_experiment(ROOT / "configs" / "globo.yaml", settings)
        logs = str(options.globo()[0].resolve().parent / "*.parquet")
    splits = experiment.splits
    names = (experiment.pretrain.split, experiment.finetune.split, experiment.finetune.validation)
    return Bench(
        _with_splits(experiment, {name: splits[name] for name in names}), logs, options.folder
    )


def _with_splits(experiment: Experiment, splits: dict[str, Split]) -> Experiment:
    """The experiment with these splits alone."""
    judging = experiment.finetune.validation
    settings = experiment.evaluation.model_copy(update={"split": judging})
    return experiment.model_copy(update={"splits": splits, "evaluation": settings})


def refreshed(bench: Bench, options: Options) -> Figures:
    """Counts all days up to validation, then preprocesses the next day and refreshes by it.

    Args:
      bench: its dataset ends with validation.
      options: of the section.
    """
    experiment, memory = bench.experiment, bench.experiment.memory
    assert memory is not None  # noqa: S101 - the section's own
    # kernels that read memory: without any a refresh is refused
    job, names = drawn_kernels(bench.job, experiment, 2, options.folder / "refreshed")
    activate(job, names)
    shutil.rmtree(job.memory, ignore_errors=True)
    store = MemoryStore(job)
    first = _refresh("first_memory", experiment, bench.data, job, options)
    counted = sum(split.rows for split in load_manifest(bench.data).splits.values())
    of_day, log = _next_day(bench)
    data = options.folder / "day"
    preprocessed, refreshes = [], []
    for repeat in range(1 if options.quick else _REPEATS):
        if repeat:
            store.activate(1)
            store.remove(2)
        words = ["--input", str(log), "--transform", str(job.folder), "--output", str(data)]
        preprocessed.append(_run("preprocess_day", "preprocessing.task", of_day, words, options))
        refreshes.append(_refresh("refresh", of_day, data, job, options))
    if store.versions() != [1, 2]:
        raise InputError(f"{job.memory}: expected versions 1 and 2, received {store.versions()}")
    day, refresh = (min(runs, key=lambda run: run.seconds) for runs in (preprocessed, refreshes))
    stored = store.served(memory)
    tables = MemoryTables(memory, stored.counts).variables().values()
    files = (job.memory / str(stored.version)).iterdir()
    return {
        "first_memory_rows": counted,
        **first.figures("first_memory"),
        "day_rows": load_manifest(data).splits[experiment.finetune.split].rows,
        **day.figures("preprocess_day"),
        **refresh.figures("refresh"),
        "preprocess_and_refresh_seconds": day.seconds + refresh.seconds,
        **{f"keys_{name}": len(held.hashes) for name, held in stored.counts.keys.items()},
        "stored_mib": sum(file.stat().st_size for file in files) / _MIB,
        "served_mib": sum(table.numpy().nbytes for table in tables) / _MIB,
    }


def _next_day(bench: Bench) -> tuple[Experiment, Path]:
    """The experiment of the day after validation, as the fine-tuning split, and its log."""
    experiment = bench.experiment
    begin = experiment.splits[experiment.finetune.validation].end
    log = Path(bench.logs).parent / f"impressions-{begin:%Y-%m-%d}.parquet"
    if not log.exists():
        raise InputError(f"{log}: no such file; expected the log of the day after validation")
    end = begin + (begin - experiment.splits[experiment.finetune.validation].start)
    splits = dict(experiment.splits)
    splits[experiment.finetune.split] = Split(start=begin, end=end)
    splits[experiment.finetune.validation] = Split(start=end, end=end + (end - begin))
    return _with_splits(experiment, splits), log


def _refresh(name: str, experiment: Experiment, data: Path, job: Job, options: Options) -> Finished:
    words = ["--data", str(data), "--job-dir", str(job.folder)]
    return _run(name, "trainer.task memory refresh", experiment, words, options)


def _run(
    name: str, command: str, experiment: Experiment, words: list[str], options: Options
) -> Finished:
    config = options.folder / f"{name}.yaml"  # JSON is YAML
    write_json(config, experiment.model_dump(mode="json"))
    log = options.folder / f"{name}.log"
    return run_process([*command.split(), "--config", str(config), *words], log)


def served(bench: Bench, domains: int, options: Options) -> Figures:
    """What a request costs, with and without memory.

    Args:
      bench: of an experiment with memory.
      domains: that have kernels.
      options: of the section.
    """
    found = log_rows(bench.experiment, bench.logs, CANDIDATES)
    rows = candidates(bench.experiment, found)
    times = {"memory": 0.01} if options.quick else {"ten_times": 10.0, "memory": 1.0}
    models = exported(bench, domains, rows, times, options.folder)
    serialized = requests(models["without"], rows)
    figures = in_session(models, serialized, 10 if options.quick else 1_000)
    return figures | over_grpc(models, serialized, 0.1 if options.quick else 6.0)


def exported(
    bench: Bench, domains: int, rows: Rows, times: dict[str, float], folder: Path
) -> Models:
    """Base paths of models of as many kernels: ``without`` memory, those of ``times`` with it, and
    ``composed``, the last of them with kernels that answer together.

    Args:
      bench: of an experiment with memory.
      domains: that have kernels.
      rows: whose keys are remembered.
      times: name of a model -> its keys, in times of those that Globo's kernels remember.
      folder: of the section.
    """
    experiment, memory = bench.experiment, bench.experiment.memory
    assert memory is not None  # noqa: S101 - the section's own
    models = folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    none = experiment.model_copy(update={"memory": None})
    bank, names = drawn_kernels(bench.job, none, domains, folder / "forgetful")
    activate(bank, names)
    written = {"without": export(bank, models / "without").parent}
    bank, names = drawn_kernels(bench.job, experiment, domains, folder / "remembering")
    activate(bank, names)
    for border, (name, share) in enumerate(times.items()):
        sizes = {key: int(size * share) for key, size in _KEYS.items()}
        counts = counts_of(memory, experiment.tasks, rows, sizes, border, experiment.seed)
        MemoryStore(bank).add(memory, counts)
        written[name] = export(bank, models / name).parent
    bank.choose_routing(Routing(compose=_COMPOSE))
    return written | {"composed": export(bank, models / "composed").parent}


def counts_of(
    memory: Memory, tasks: Tasks, rows: Rows, sizes: dict[str, int], border: int, seed: int
) -> Counts:
    """Counts of as many keys of every name: those of rows, and drawn ones.

    Args:
      memory: the definition.
      tasks: whose rates are remembered.
      rows: raw.
      sizes: name -> keys.
      border: at which they count.
      seed: of the others' hashes and of all counts.
    """
    random = random_stream(seed, Purpose.BENCHMARK_ROWS, border)
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in memory.columns}
    shares, keys = _shares_counted(tasks), {}
    for name, hashes in keys_of_batch(memory, pa.record_batch(columns)).items():
        own = np.unique(hashes[hashes != 0])
        name = name.removeprefix(PREFIX)
        others = random.integers(1, 2**63 - 1, max(0, sizes[name] - len(own)))
        every = np.union1d(own, others)  # two draws of one hash are next to impossible
        seen = random.gamma(2.0, 2.0, (len(every), 1))
        keys[name] = KeyCounts(every, seen * shares)
    return Counts(border, 1e6 * shares, keys)


def _shares_counted(tasks: Tasks) -> npt.NDArray[np.float64]:
    """Of rows the shares that each task counts, then those with its label, ``[2 T]``: a fifth of
    them, of a task that waits on another a quarter (our choice).
    """
    inside: list[float] = []
    positive: dict[str, float] = {}
    for name in tasks.towers:
        before = tasks.root[name].after
        inside.append(positive[before] if before else 1.0)
        positive[name] = inside[-1] * (0.25 if before else 0.2)
    return np.array([*inside, *positive.values()])


def in_session(models: Models, serialized: dict[str, bytes], repeats: int) -> Figures:
    """A plain session, no server: p50 and p99 by model and signature, and their ratios to those of
    the model without memory; by the clock, and in CPU time, in which other work on the machine
    shows least.
    """
    calls: dict[str, Callable[[], object]] = {}
    for name, base in models.items():
        servable = Servable(1, base / "1", ONE_THREAD)
        for kind, signature in _SIGNATURES.items():
            inputs = PredictRequest.FromString(serialized[kind]).inputs
            calls[f"{name}_{kind}"] = partial(servable.predict, signature, inputs)
    figures: Figures = {}
    for place, clock in (("session", time.perf_counter), ("session_cpu", time.process_time)):
        of_clock: Figures = {}
        for name, milliseconds in in_turns(calls, repeats, clock).items():
            p50, p99 = np.percentile(milliseconds, (50, 99)).tolist()
            of_clock |= {f"{place}_{name}_p50_ms": p50, f"{place}_{name}_p99_ms": p99}
        figures |= of_clock | _ratios(of_clock, place + "_{model}_{kind}_{figure}", models)
    return figures


def over_grpc(models: Models, serialized: dict[str, bytes], seconds: float) -> Figures:
    """The embedded server, the same; from one connection and from eight."""
    with ExitStack() as stack:
        targets: dict[str, tuple[str, bytes]] = {}
        for name, base in models.items():
            address, _ = stack.enter_context(server_process(base, MODEL))
            targets |= {
                f"server_{name}_{kind}": (address, serialized[kind]) for kind in _SIGNATURES
            }
        figures = loaded(targets, seconds)
    return figures | _ratios(figures, "server_{model}_{kind}_1_threads_{figure}", models)


def _ratios(figures: Figures, place: str, models: Iterable[str]) -> Figures:
    """Of p50 and p99 of each model with memory to those of the one without.

    Args:
      figures: that hold them.
      place: their names, with ``{model}``, ``{kind}`` and ``{figure}``.
      models: names.
    """
    found: Figures = {}
    for model in models:
        for kind in _SIGNATURES if model != "without" else ():
            for figure in ("p50", "p99"):
                named: dict[str, Any] = {"kind": kind, "figure": f"{figure}_ms"}
                with_memory = float(figures[place.format(model=model, **named)])
                without = float(figures[place.format(model="without", **named)])
                name = place.format(model=model, kind=kind, figure=figure)
                found[f"{name}_to_without_ratio"] = with_memory / without
    return found
