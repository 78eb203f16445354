"""Serving: what a request costs as the bank of kernels grows, where its time goes, and how the
embedded server stands beside its peers.

A request is 200 candidates of one user, raw features under the domain ``all``, encoded once;
clients are threads of this process, on the same cores. What is compared is measured in turns, so
that whatever else the machine does falls on all alike. Sessions run a request's operations in one
thread, as the embedded server does.

The bound: a server does nothing else than run the model, so it answers at most cores / model
seconds requests a second.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import peak_mib
from configs import Experiment, InputError, load_experiment
from configs.domains import ALL, AUTO
from configs.files import write_json
from configs.random_streams import Purpose, random_stream
from preprocessing.dataset.manifest import load_manifest
from preprocessing.logs.schema import served_columns
from serving.client import Client
from serving.export.version_writer import export
from serving.load_test import Load, encoded, load
from serving.selfcheck import log_rows, server_process
from serving.server.servable import Servable
from serving.server.worker_processes import shared_port
from serving.wire.errors import StatusError
from serving.wire.messages import PredictRequest, PredictResponse
from serving.wire.signatures import DEFAULT_SIGNATURE, RANK_SIGNATURE
from serving.wire.tensor_protos import encode
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.state_files import ACTIVE, StateFiles

BINARY = "TENSORFLOW_MODEL_SERVER"
"""Environment variable that names the C++ server's binary, the peer."""

MODEL, CANDIDATES = "speed", 200
"""What servers call the model, and how many candidates a request has."""
ONE_THREAD = tf.compat.v1.ConfigProto(
    intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
)
"""Of a session, as the embedded server has it."""

_THREADS, _ROUNDS = (1, 8), 9

Rows = list[dict[str, Any]]


def measure(options: Options) -> Figures:
    """See the module. The simulator's backbone, trained for one epoch; kernels of random
    weights, which cost what trained ones cost.
    """
    counts = (1, 4) if options.quick else (1, 16, 256, 1000)
    bench = Bench(experiment_of(counts[-1], options.quick), None, options.folder)
    models = exported(bench.job, bench.experiment, counts, options.folder)
    found = log_rows(bench.experiment, load_manifest(bench.data).input, CANDIDATES)
    serialized = requests(models[counts[0]], candidates(bench.experiment, found))
    figures: Figures = {"candidates": found.num_rows}
    figures |= {f"{name}_request_kib": len(serialized[name]) / 1024 for name in ("default", "rank")}
    figures |= in_session(models, serialized, 10 if options.quick else 300)
    figures |= over_grpc(models, serialized, 0.3 if options.quick else 9.0)
    bound = float(len(os.sched_getaffinity(0))) / float(figures["model_ms"]) * 1_000
    reached = float(figures[f"server_{counts[0]}_domains_8_threads_requests_per_s"])
    return figures | {
        "model_bound_requests_per_s": bound,
        "server_to_model_bound_ratio": reached / bound,
    }


def experiment_of(domains: int, quick: bool, *more: str) -> Experiment:
    """The quickstart with one topic that has a value for every domain but ``all``.

    Args:
      domains: how many, at least.
      quick: whether a tenth of the rows will do.
      more: ``key.path=value`` on top.
    """
    values = ", ".join(
        f"r{index}" for index in range(1, max(domains, 5))
    )  # r1 to r4 occur in the logs
    settings = [
        f"topics={{region: {{column: region, values: [{values}]}}}}",
        "cross_topics=[]",
        "pretrain.epochs=1",
    ]
    return load_experiment(
        ROOT / "configs" / "quickstart.yaml",
        [*settings, f"simulation.rows={6_000 if quick else 60_000}", *more],
    )


def exported(
    job: Job, experiment: Experiment, counts: tuple[int, ...], folder: Path
) -> dict[int, Path]:
    """Base paths of models with so many domains in their bank, by number."""
    shutil.rmtree(folder / "models", ignore_errors=True)
    bank, domains = drawn_kernels(job, experiment, counts[-1], folder)
    models = {}
    for count in counts:
        activate(bank, domains[:count])
        models[count] = export(bank, folder / "models" / str(count)).parent
    return models


def drawn_kernels(
    job: Job, experiment: Experiment, count: int, folder: Path
) -> tuple[Job, list[str]]:
    """A job of the same backbone under ``folder`` with kernels of random weights, none of them
    active, and their domains' names. They remember what the experiment says.
    """
    shutil.rmtree(folder / "bank", ignore_errors=True)
    bank = Job(folder / "bank")
    shutil.copytree(job.backbone, bank.backbone)
    write_json(bank.backbone / "experiment.json", experiment.model_dump(mode="json"))
    bank.finish(bank.fingerprint(), bank.rows or {})  # its files are as they should be
    width = read_tap(load_frozen(bank, experiment).output, experiment.kernel.tap).shape[-1]
    store, towers = KernelStore(bank), len(experiment.tasks.towers)
    shape = KernelShape.of(experiment.kernel, width, experiment.memory, towers)
    settings = {
        "split": experiment.finetune.split,
        "validation": experiment.finetune.validation,
        "regulariser": "none",
        "beta": 0.0,
    }
    manifest = {
        "shape": shape.to_json(),
        "finetune": settings,
        "rows": {"train": 0, "validation": 0},
        "activated": True,
        "validation": {},
    }
    domains = [domain.name for domain in experiment.domains][:count]
    for domain in domains:
        generator = random_stream(experiment.seed, Purpose.KERNEL_WEIGHTS, domain)
        store.add(
            domain,
            {
                name: generator.standard_normal(size, np.float32)
                for name, size in shape.variables().items()
            },
            manifest,
        )
    return bank, domains


def activate(job: Job, domains: list[str]) -> None:
    """Lets these domains' first kernels be served and no others."""
    StateFiles(job.kernels).write(ACTIVE, dict.fromkeys(domains, 1))


def candidates(experiment: Experiment, logged: pa.RecordBatch) -> Rows:
    """Every logged row's item for the first row's user and context, as raw rows."""
    columns = served_columns(experiment)
    rows: Rows = logged.select([column.name for column in columns]).to_pylist()
    return [
        row | {column.name: rows[0][column.name] for column in columns if column.side != "item"}
        for row in rows
    ]


def requests(models: Path, rows: Rows) -> dict[str, bytes]:
    """Serialized requests of the rows by name: ``serving_default`` and ``rank`` under ``all``,
    and ``auto``.
    """
    signatures = Servable(1, models / "1").signatures
    asked = {
        "default": (DEFAULT_SIGNATURE, ALL),
        "rank": (RANK_SIGNATURE, ALL),
        "auto": (DEFAULT_SIGNATURE, AUTO),
    }
    return {
        name: encoded(
            signatures[signature],
            MODEL,
            signature,
            rows,
            domain,
        )
        for name, (signature, domain) in asked.items()
    }


def in_session(models: dict[int, Path], serialized: dict[str, bytes], repeats: int) -> Figures:
    """A plain session, no server: by number of domains; ``rank`` and ``auto``; and the parts of
    one request.
    """
    parsed = {name: PredictRequest.FromString(data) for name, data in serialized.items()}
    calls: dict[str, Callable[[], object]] = {}
    least, most = min(models), max(models)
    servables = {count: Servable(1, base / "1", ONE_THREAD) for count, base in models.items()}
    for count, servable in servables.items():
        calls[f"session_{count}_domains"] = partial(
            servable.predict, DEFAULT_SIGNATURE, parsed["default"].inputs
        )
    for count in (least, most):
        calls[f"session_{count}_domains_rank"] = partial(
            servables[count].predict, RANK_SIGNATURE, parsed["rank"].inputs
        )
        calls[f"session_{count}_domains_auto"] = partial(
            servables[count].predict, DEFAULT_SIGNATURE, parsed["auto"].inputs
        )
    milliseconds = in_turns(calls | _parts(servables[least], serialized["default"]), repeats)
    p50 = {name: float(np.percentile(values, 50)) for name, values in milliseconds.items()}
    figures: Figures = {}
    for name in calls:
        figures |= {
            f"{name}_p50_ms": p50[name],
            f"{name}_p99_ms": float(np.percentile(milliseconds[name], 99)),
        }
    for kind in ("", "_rank", "_auto"):
        of_most, of_least = (p50[f"session_{count}_domains{kind}"] for count in (most, least))
        figures[f"session_{most}_to_{least}_domains{kind}_ratio"] = of_most / of_least
    decode, model = p50["decode"] + p50["parse"], p50["run"] - p50["parse"]
    return figures | {
        "decode_ms": decode,
        "model_ms": model,
        "encode_ms": p50["encode"],
        "decode_and_encode_to_model_ratio": (decode + p50["encode"]) / model,
        "rank_to_default_session_ratio": p50[f"session_{most}_domains_rank"]
        / p50[f"session_{most}_domains"],
    }


def _parts(servable: Servable, data: bytes) -> dict[str, Callable[[], object]]:
    """``decode`` in Python; ``run``, in which TensorFlow first parses the strings; ``parse``,
    which does that alone; ``encode``.
    """
    request = PredictRequest.FromString(data)
    outputs = servable.signatures[DEFAULT_SIGNATURE].outputs
    feeds = servable.feeds(DEFAULT_SIGNATURE, request.inputs)
    results = servable.run(DEFAULT_SIGNATURE, sorted(outputs), feeds)
    messages = [tf.constant(feed.item()) for feed in feeds if feed.dtype == object]

    def reply() -> bytes:
        tensors = {
            alias: encode(result, outputs[alias].dtype)
            for alias, result in zip(sorted(outputs), results, strict=True)
        }
        return bytes(PredictResponse(outputs=tensors).SerializeToString())

    return {
        "decode": lambda: servable.feeds(DEFAULT_SIGNATURE, PredictRequest.FromString(data).inputs),
        "run": lambda: servable.run(DEFAULT_SIGNATURE, sorted(outputs), feeds),
        "parse": lambda: [tf.io.parse_tensor(message, tf.string) for message in messages],
        "encode": reply,
    }


def over_grpc(models: dict[int, Path], serialized: dict[str, bytes], seconds: float) -> Figures:
    """The embedded server, and the C++ server where there is one, each under the same load in
    turns.
    """
    least, most = min(models), max(models)
    processes = len(os.sched_getaffinity(0))
    with ExitStack() as stack:
        servers = {
            f"server_{count}_domains": stack.enter_context(server_process(base, MODEL))
            for count, base in models.items()
        }
        of_least, pid = servers[f"server_{least}_domains"]
        several, _ = stack.enter_context(
            server_process(models[least], MODEL, f"--processes={processes}")
        )
        threaded, _ = stack.enter_context(
            server_process(models[least], MODEL, "--tensorflow-session-parallelism=0")
        )
        targets = {name: (target, serialized["default"]) for name, (target, _) in servers.items()}
        targets |= {
            "server_rank": (of_least, serialized["rank"]),
            f"server_{processes}_processes": (several, serialized["default"]),
            "server_tensorflow_threads": (threaded, serialized["default"]),
        }
        binary = os.environ.get(BINARY)
        if binary:
            targets["tensorflow_serving"] = (
                stack.enter_context(_tensorflow_serving(binary, models[least])),
                serialized["default"],
            )
        figures = loaded(targets, seconds)
        figures["server_process_peak_mib"] = peak_mib(pid)
    single = {name: float(figures[f"{name}_1_threads_p50_ms"]) for name in targets}
    rate = {name: float(figures[f"{name}_8_threads_requests_per_s"]) for name in targets}
    first = f"server_{least}_domains"
    figures |= {
        f"server_{most}_to_{least}_domains_ratio": single[f"server_{most}_domains"] / single[first],
        "server_rank_to_default_requests_ratio": rate["server_rank"] / rate[first],
        f"server_{processes}_to_1_processes_requests_ratio": rate[f"server_{processes}_processes"]
        / rate[first],
        "server_1_to_tensorflow_threads_requests_ratio": rate[first]
        / rate["server_tensorflow_threads"],
    }
    if not binary:
        return figures | {
            "tensorflow_serving": f"not measured: {BINARY} names no tensorflow_model_server"
        }
    return figures | {
        "server_to_tensorflow_serving_requests_ratio": rate[first] / rate["tensorflow_serving"]
    }


def in_turns(
    calls: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of every call, each called once a turn, after some turns that are not counted,
    by a clock that gives seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, repeats):
        for name, call in calls.items():
            start = clock()
            call()
            if turn >= 0:
                taken[name].append(1_000 * (clock() - start))
    return taken


def loaded(targets: dict[str, tuple[str, bytes]], seconds: float) -> Figures:
    """p50, p99 and requests a second of every server, by number of threads that ask it.

    Args:
      targets: name -> address and serialized request.
      seconds: of load for each, in several rounds; the targets take turns.

    Raises:
      InputError: a request was refused.
    """
    total = {(name, threads): Load() for name in targets for threads in _THREADS}
    for _ in range(_ROUNDS):
        for (name, threads), whole in total.items():
            target, request = targets[name]
            whole.add(
                load(
                    target, request, threads, seconds / _ROUNDS, warm_up=min(0.3, seconds / _ROUNDS)
                )
            )
    figures: Figures = {}
    for (name, threads), whole in total.items():
        if whole.errors:
            raise InputError(f"{name}: requests were refused: {dict(whole.errors)}")
        measured = whole.figures()
        figures |= {
            f"{name}_{threads}_threads_{figure}": measured[figure]
            for figure in ("p50_ms", "p99_ms", "requests_per_s")
        }
    return figures


@contextmanager
def _tensorflow_serving(binary: str, models: Path) -> Iterator[str]:
    """The C++ server over a model, with the embedded server's number of threads a request; gives
    its address.
    """
    with shared_port("127.0.0.1", 0) as port:
        pass  # free a moment ago
    flags = [
        f"--port={port}",
        f"--model_name={MODEL}",
        f"--model_base_path={models.resolve()}",
        "--tensorflow_session_parallelism=1",
    ]
    with subprocess.Popen(  # noqa: S603 - the user's own
        [binary, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            while not _answers(f"127.0.0.1:{port}"):
                if server.poll() is not None:
                    raise InputError(f"{BINARY}: {binary} ended with exit code {server.returncode}")
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(target: str) -> bool:
    try:
        with Client(target, MODEL) as client:
            return bool(client.signatures())
    except StatusError:
        return False
