"""A billion weights through the product's own commands: seconds and peak memory of every stage, and
bytes on disk against the weights'.

Pre-training is killed right after its first checkpoint and run again, so that what is timed is also
a resume. The bound of everything that writes weights is their bytes at the rate at which this disk
takes them, fsync included; of memory, one copy of the weights beside what the process holds without
them.
"""

import os
import re
import shutil
import time
from pathlib import Path

import tensorflow as tf

from benchmarks.method.study import ROOT
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import Finished, peak_mib, run_process
from configs import Experiment, InputError, load_experiment
from preprocessing.logs.schema import served_columns
from serving.client import Client
from serving.selfcheck import log_rows, server_process
from trainer.job import Job

_CONFIG = ROOT / "configs" / "billion.yaml"
_QUICK = [
    (
        "simulation={start: 2025-03-03T03:00:00Z, rows: 12_000, days: 6, time_zone: 'UTC-03:00',"
        " users: 500, shops: 100, regions: 4}"
    ),
    "features.user_shop.hash_buckets=20_000",
    "features.user_cuisine.hash_buckets=1_000",
    "pretrain={epochs: 1, batch_size: 256, checkpoint_steps: 4}",
    "finetune={epochs: 1, batch_size: 8192}",
]
_MIB = 1 << 20
_REQUESTS, _ROWS = 20, 64


def measure(options: Options) -> Figures:
    """The figures of the section; see the module."""
    settings = _QUICK if options.quick else []
    experiment = load_experiment(_CONFIG, settings)
    for leftover in options.folder.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    stages = _Stages(
        options.folder, ["--config", str(_CONFIG), *(f"--set={setting}" for setting in settings)]
    )
    try:
        figures = stages.run()
        figures |= _serve(options.folder, experiment)
        figures |= _bytes(
            options.folder, _disk_mib_per_s(options.folder, 16 if options.quick else 2048)
        )
        return figures | _beside_bare(figures, stages.bare())
    finally:
        for large in ("job", "models"):  # tens of GiB, which no later run would read
            shutil.rmtree(options.folder / large, ignore_errors=True)


class _Stages:
    """The commands, in order, in one folder."""

    def __init__(self, folder: Path, config: list[str]) -> None:
        self._folder, self._config = folder, config
        self._job = Job(folder / "job")

    def run(self) -> Figures:
        """All of them up to the export."""
        folder, config = self._folder, self._config
        figures: Figures = {}
        figures |= self._stage(
            "simulate", "preprocessing.simulate", *config, "--output", str(folder / "logs")
        )
        logs = str(folder / "logs" / "*.parquet")
        figures |= self._stage(
            "preprocess",
            "preprocessing.task",
            *config,
            "--input",
            logs,
            "--output",
            str(folder / "data"),
        )
        training = [*config, "--data", str(folder / "data"), "--job-dir", str(self._job.folder)]
        figures |= self._interrupted(["trainer.task", "pretrain", *training])
        figures |= self._stage("resume", "trainer.task", "pretrain", *training)
        figures["resumed_after_step"] = _resumed_after(
            (folder / "resume.log").read_text(encoding="utf-8")
        )
        figures |= self._stage("finetune", "trainer.task", "finetune", *training)
        export = ("--job-dir", str(self._job.folder), "--output", str(folder / "models"))
        return figures | self._stage("export", "serving.export", *export)

    def bare(self) -> float:
        """What a trainer's process holds before it has a model, MiB."""
        return self._process(
            "bare", "trainer.task", "kernels", "list", "--job-dir", str(self._job.folder)
        ).peak_mib

    def _stage(self, name: str, *words: str) -> Figures:
        return self._process(name, *words).figures(name)

    def _process(self, name: str, *words: str) -> Finished:
        return run_process(list(words), self._folder / f"{name}.log")

    def _interrupted(self, words: list[str]) -> Figures:
        """Pre-training up to its first checkpoint, whose writing is timed from the outside."""
        latest, began = self._job.checkpoints / "latest", 0.0

        def written() -> bool:
            nonlocal began
            if not began and latest.is_dir() and any(latest.iterdir()):
                began = time.perf_counter()
            return (latest / "checkpoint").exists()

        finished = run_process(words, self._folder / "pretrain.log", kill_when=written)
        size = sum(file.stat().st_size for file in latest.glob("*.data-*"))
        seconds = time.perf_counter() - began
        return finished.figures("pretrain_until_killed") | {
            "checkpoint_seconds": seconds,
            "checkpoint_mib": size / _MIB,
        }


def _beside_bare(figures: Figures, bare: float) -> Figures:
    """Peaks of the stages that hold the model, less a trainer's process without one, in copies
    of the weights.
    """
    weights = float(figures["weights_mib"])
    stages = ("pretrain_until_killed", "resume", "finetune", "export", "serve")
    copies = {
        f"{stage}_copies_ratio": (float(figures[f"{stage}_peak_mib"]) - bare) / weights
        for stage in stages
    }
    return {"bare_peak_mib": bare, **copies}


def _resumed_after(log: str) -> int:
    found = re.search(r"resuming after step (\d+)", log)
    if not found:
        raise InputError(
            "pre-training that was killed began anew; expected 'resuming after step N'"
        )
    return int(found[1])


def _serve(folder: Path, experiment: Experiment) -> Figures:
    """From the server's start to the answers of its first requests, each of 64 rows."""
    rows = log_rows(experiment, str(folder / "logs" / "*.parquet"), _ROWS)
    requests = rows.select([column.name for column in served_columns(experiment)]).to_pylist()
    start = time.perf_counter()
    with server_process(folder / "models", "billion") as (target, server):
        ready, seconds = time.perf_counter() - start, []
        with Client(target, "billion") as client:
            for _ in range(_REQUESTS):
                begin = time.perf_counter()
                client.predict(requests, "auto")
                seconds.append(time.perf_counter() - begin)
        figures: Figures = {"serve_seconds": ready, "serve_peak_mib": peak_mib(server)}
    return figures | {
        "serve_first_request_ms": 1e3 * seconds[0],
        "serve_fastest_request_ms": 1e3 * min(seconds),
    }


def _bytes(folder: Path, disk: float) -> Figures:
    """Weights by number and by bytes, what model and export take on disk, and the seconds that
    writing them once must take.
    """
    latest = tf.train.latest_checkpoint(str(folder / "job" / "backbone" / "checkpoints" / "latest"))
    shapes = [
        tf.TensorShape(shape)
        for name, shape in tf.train.list_variables(latest)
        if name.startswith("weights/")
    ]
    parameters = sum(int(shape.num_elements()) for shape in shapes)
    weights = 4 * parameters / _MIB
    backbone = folder / "job" / "backbone"
    model = _size_mib(backbone / "model") or _size_mib(backbone / "model.keras")
    export = _size_mib(folder / "models")
    return {
        "parameters": parameters,
        "weights_mib": weights,
        "model_mib": model,
        "model_to_weights_ratio": model / weights,
        "export_mib": export,
        "export_to_weights_ratio": export / weights,
        "disk_write_mib_per_s": disk,
        "weights_write_bound_seconds": weights / disk,
    }


def _size_mib(path: Path) -> float:
    if not path.is_dir():
        return path.stat().st_size / _MIB if path.exists() else 0.0
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / _MIB


def _disk_mib_per_s(folder: Path, mib: int) -> float:
    """Rate at which the disk takes a large file, from the first write to the end of fsync."""
    path, block = folder / "disk.bin", os.urandom(16 * _MIB)
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(mib // 16):
            file.write(block)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    path.unlink()
    return mib / seconds
