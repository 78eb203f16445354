"""Start-up: CPU seconds and peak memory of every command that answers before anything is computed
(``--help``, the kernels of a job, a wrong path, a config that is none, the report), and of the
client with one request of 200 rows; beside ``import numpy, grpc``.

The jobs and datasets are made by hand: what these commands read, and no more. CPU seconds are user
and system time of the whole process, imports included; of several runs the smallest.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.options import Figures, Options
from configs import Experiment, InputError, load_experiment
from configs.domains import ALL
from configs.files import write_json
from preprocessing.dataset.manifest import Manifest
from trainer.job import Job
from trainer.kernels.shape import KernelShape
from trainer.metrics.results import EvaluationResult
from trainer.metrics.task_metrics import METRICS
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.kernel_registry import KernelStore

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "quickstart.yaml"
DOMAIN, OTHER = "scene=home", "scene=search"
SHAPE = KernelShape(widths=(8, 4, 1), activation="relu", residual=True, tap="tower")
ROWS = 200
"""Of the client's request."""

_MODEL = "startup"

_MEASURE = """
import json, os, sys
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[2:]], os.environ)
_, status, usage = os.wait4(child, 0)
measured = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]
open(sys.argv[1], "w").write(json.dumps(measured))
"""
"""A small process in between: Linux counts a parent's memory among that of the child it starts."""


@dataclass(frozen=True)
class Command:
    """A command that answers at once.

    Attributes:
      words: of ``python``.
      code: its exit code.
    """

    words: tuple[str, ...]
    code: int = 0


@dataclass(frozen=True)
class Measured:
    """How a process went: exit code, CPU seconds, and the most memory that was resident."""

    code: int
    cpu_seconds: float
    peak_mib: float


def measure(options: Options) -> Figures:
    """See the module."""
    rounds = 1 if options.quick else 3
    figures = _figures(
        "numpy_and_grpc", Command(("-c", "import numpy, grpc")), options.folder, rounds
    )
    for name, command in commands(options.folder / "place").items():
        figures |= _figures(name, command, options.folder, rounds)
    figures |= _client(options, rounds)
    return figures


def commands(place: Path) -> dict[str, Command]:
    """Every command that answers at once, by the name of its figures.

    Args:
      place: the folder that ``prepare`` fills.
    """
    config = ("--config", str(CONFIG))
    data, job = ("--data", str(place / "data")), ("--job-dir", str(place / "job"))
    no_data, no_job = ("--data", str(place / "none")), ("--job-dir", str(place / "none"))
    task, kernels = ("-m", "trainer.task"), ("-m", "trainer.task", "kernels")
    pretrain, output = (*task, "pretrain"), ("--output", str(place / "out"))
    ranges = ("--set", "tune={pretrain.learning_rate: {low: 0.001, high: 0.01}}")
    models = ("--models", str(place / "none"))
    found = {
        "kernels_list": Command((*kernels, "list", *job)),
        "kernels_show": Command((*kernels, "show", DOMAIN, *job)),
        "kernels_activate": Command((*kernels, "activate", DOMAIN, "2", *job)),
        "kernels_deactivate": Command((*kernels, "deactivate", DOMAIN, *job)),
        "kernels_rollback": Command((*kernels, "rollback", OTHER, *job)),
        "kernels_history": Command((*kernels, "history", *job)),
        "kernels_remove": Command((*kernels, "remove", OTHER, *job)),
        "report": Command((*task, "report", *job)),
        "bad_yaml": Command((*pretrain, "--config", str(place / "bad.yaml"), *data, *job), 2),
        "unknown_key": Command((*pretrain, *config, "--set", "sed=1", *data, *job), 2),
        "unknown_domain": Command((*task, "finetune", *config, *data, *job, "--domains", "x"), 2),
        "bad_shard": Command((*task, "finetune", *config, *data, *job, "--shard", "5/4"), 2),
        "unknown_split": Command((*task, "evaluate", *config, *data, *job, "--split", "x"), 2),
        "unknown_kernel": Command((*kernels, "activate", "scene=hmoe", "1", *job), 2),
        "kernels_without_job": Command((*kernels, "list", *no_job), 2),
        "report_without_job": Command((*task, "report", *no_job), 2),
        "preprocessing_bad_yaml": Command(
            ("-m", "preprocessing.task", "--config", str(place / "bad.yaml"), *output), 2
        ),
        "preprocessing_unknown_key": Command(
            ("-m", "preprocessing.task", *config, "--set", "sed=1", *output), 2
        ),
        "profile_without_dataset": Command(("-m", "preprocessing.profile", str(place / "none")), 2),
        "preprocessing_without_logs": Command(
            ("-m", "preprocessing.task", *config, *output, "--input", str(place / "no" / "*.csv")),
            2,
        ),
        "simulate_unknown_key": Command(
            ("-m", "preprocessing.simulate", *config, "--set", "sed=1", *output), 2
        ),
        "tune_without_ranges": Command((*task, "tune", *config, *data, *job, "--trials", "2"), 2),
        "tune_without_dataset": Command(
            (*task, "tune", *config, *ranges, *no_data, *job, "--trials", "2"), 2
        ),
        "export_without_job": Command(("-m", "serving.export", *no_job, *output), 2),
        "server_without_model": Command(
            ("-m", "serving.server", "--model-base-path", str(place / "none")), 2
        ),
        "server_bad_flag": Command(("-m", "serving.server", "--port", "x"), 2),
        "selfcheck_without_job": Command(("-m", "serving.selfcheck", *data, *no_job, *models), 2),
        "signature_lock_without_version": Command(
            ("-m", "serving.signature_lock", str(place / "none")), 2
        ),
        "method_without_logs": Command(
            ("-m", "benchmarks.method", "--input", str(place / "none")), 2
        ),
        "score_without_model": Command(
            ("-m", "serving.score", *models, "--input", str(place / "data"), *output), 2
        ),
        "refresh_without_job": Command(
            ("-m", "operations.refresh", *config, *no_job, "--work", str(place / "work")), 2
        ),
        "drift_without_dataset": Command(
            ("-m", "operations.drift", str(place / "none"), str(place / "none"), *config), 2
        ),
        "drift_unknown_key": Command(
            ("-m", "operations.drift", *config, "--set", "drift.ag=1", *(str(place),) * 2), 2
        ),
        "drift_of_no_dataset": Command(
            ("-m", "operations.drift", str(place / "job"), str(place / "data"), *config), 2
        ),
        "online_without_job": Command(("-m", "benchmarks.online", *config, *no_job, *models), 2),
    }
    for step in ("pretrain", "finetune", "evaluate", "explain", "run"):
        words = (*task, step, *config)
        found[f"{step}_without_dataset"] = Command((*words, *no_data, *job), 2)
        if step in ("finetune", "evaluate", "explain"):
            found[f"{step}_without_job"] = Command((*words, *data, *no_job), 2)
    for step in ("run", "pretrain", "finetune", "evaluate", "report", "explain", "kernels"):
        found[f"{step}_help"] = Command((*task, step, "--help"))
    for module in MODULES:
        found[f"{module.replace('.', '_')}_help"] = Command(("-m", module, "--help"))
    return found


MODULES = (
    "trainer.task",
    "preprocessing.task",
    "preprocessing.simulate",
    "preprocessing.profile",
    "serving.export",
    "serving.server",
    "serving.client",
    "serving.compare",
    "serving.load_test",
    "serving.score",
    "serving.selfcheck",
    "serving.signature_lock",
    "operations.refresh",
    "operations.drift",
    "benchmarks.method",
    "benchmarks.online",
    "benchmarks.speed",
    "benchmarks.reliability",
)
"""Every command."""


def prepare(place: Path) -> None:
    """What the commands read: a finished job with the kernels of two domains, evaluated; a dataset;
    a file that is no YAML. Whatever was there is replaced.
    """
    shutil.rmtree(place, ignore_errors=True)
    experiment, job = load_experiment(CONFIG), Job(place / "job")
    nothing: dict[str, Any] = {"columns": {}, "vocabulary_sizes": {}, "splits": {}, "rejected": {}}
    manifest = Manifest(
        data_digest=experiment.data_digest,
        transform_digest="",
        input=str(place / "logs"),
        rejected_files=(),
        transform_files=(),
        outside_splits=0,
        **nothing,
    )
    write_json(place / "data" / "manifest.json", manifest.model_dump(mode="json"))
    (place / "bad.yaml").write_text("seed: [1\n", encoding="utf-8")
    write_json(job.backbone / "experiment.json", experiment.model_dump(mode="json"))
    write_json(
        job.backbone / "fingerprint.json", {"fingerprint": "0", "transform": "0", "tensors": {}}
    )
    store = KernelStore(job)
    for domain in (DOMAIN, OTHER):
        for version in (1, 2):
            store.add(domain, SHAPE.initial(version, domain), _record(experiment))
        store.activate(domain, 2)
    write_json(job.reports / "metrics.json", _evaluation(experiment).to_json())


def run_measured(words: tuple[str, ...], log: Path) -> Measured:
    """Runs ``python WORDS`` to its end.

    Args:
      words: of the command.
      log: file for what it prints, both streams.
    """
    result = log.with_suffix(".json")
    with log.open("w", encoding="utf-8") as output:
        subprocess.run(  # noqa: S603 - our own commands
            [sys.executable, "-S", "-c", _MEASURE, str(result), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            check=True,
        )
    code, seconds, kib = json.loads(result.read_text(encoding="utf-8"))
    return Measured(code, seconds, kib / 1024)


def _figures(name: str, command: Command, folder: Path, rounds: int) -> Figures:
    log = folder / f"{name}.log"
    runs = []
    for _ in range(rounds):
        prepare(folder / "place")
        runs.append(run_measured(command.words, log))
        if runs[-1].code != command.code:
            last = next(reversed(log.read_text(encoding="utf-8").strip().splitlines()), "")
            raise InputError(
                f"{name}: exit code {runs[-1].code}, expected {command.code}; {log} ends with:"
                f" {last}"
            )
    return {
        f"{name}_cpu_seconds": min(run.cpu_seconds for run in runs),
        f"{name}_peak_mib": min(run.peak_mib for run in runs),
    }


def _client(options: Options, rounds: int) -> Figures:
    """The client with one request, against a server that this starts."""
    from benchmarks.method.bench import Bench
    from benchmarks.speed.serving import candidates, experiment_of, exported
    from preprocessing.dataset.manifest import load_manifest
    from serving.selfcheck import log_rows, server_process

    bench = Bench(experiment_of(1, options.quick), None, options.folder)
    models = exported(bench.job, bench.experiment, (1,), options.folder)[1]
    found = log_rows(bench.experiment, load_manifest(bench.data).input, ROWS)
    requests = options.folder / "requests.jsonl"
    lines = (json.dumps(row) + "\n" for row in candidates(bench.experiment, found))
    requests.write_text("".join(lines), encoding="utf-8")
    with server_process(models, _MODEL) as (target, _):
        words = ("-m", "serving.client", "--target", target, "--model-name", _MODEL)
        command = Command((*words, "--domain", ALL, "--requests", str(requests)))
        return _figures("client_of_200_rows", command, options.folder, rounds)


def _record(experiment: Experiment) -> KernelRecord:
    targets = experiment.tasks.targets
    return KernelRecord.model_validate(
        {
            "shape": SHAPE,
            "seed": experiment.seed,
            "finetune": experiment.finetune.model_dump(mode="json"),
            "rows": {"train": 1_000, "validation": 100},
            "validation": {task: dict.fromkeys(METRICS, _CELL) for task in targets},
            "ranking": experiment.tasks.ranking,
            "activated": True,
        }
    )


_CELL = {"backbone": 0.6, "kernel": 0.61, "delta": 0.01, "ci95": [0.005, 0.015]}


def _evaluation(experiment: Experiment) -> EvaluationResult:
    """What ``evaluate`` leaves, for all domains of the config."""
    pair = {name: _CELL[name] for name in ("backbone", "kernel")}
    targets = experiment.tasks.targets
    tasks = {task: dict.fromkeys(METRICS, _CELL) for task in targets}
    return EvaluationResult.model_validate(
        {
            "split": experiment.evaluation.split,
            "overall": {task: dict.fromkeys(METRICS, pair) for task in targets},
            "ranking": experiment.tasks.ranking,
            "domains": {
                domain.name: {"rows": 100, "active": domain.name in (DOMAIN, OTHER), **tasks}
                for domain in experiment.domains
            },
        }
    )
