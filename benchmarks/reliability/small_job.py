"""A small job by the commands: logs, dataset, backbone, kernels, evaluation and a model.

Every step runs in a process of its own that is forked from this one, so that nobody waits for
imports; this process must not have computed anything with TensorFlow by then.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

import trainer  # noqa: F401 - before TensorFlow

# isort: split
import preprocessing.task as preprocessing_task
import serving.export.__main__ as export_command
import trainer.task as trainer_task
from benchmarks.method.study import ROOT
from configs import InputError
from configs.cli import run
from configs.digests.listed_files import sha256_of
from preprocessing.simulate import main as simulate_command

CONFIG = ROOT / "configs" / "quickstart.yaml"

_SMALL = (
    "name=small",
    "simulation={start: 2025-03-03T03:00:00Z, rows: 6_000, days: 6, time_zone: 'UTC-03:00',"
    " users: 150, shops: 40, cuisines: 6, regions: 2, history: 6, shift: 2.0, drift: 1.0,"
    " click_rate: 0.3, conversion_rate: 0.4, candidates: 6}",
    "splits={pretrain: {start: 2025-03-03T03:00:00Z, end: 2025-03-06T03:00:00Z},"
    " finetune: {start: 2025-03-06T03:00:00Z, end: 2025-03-07T03:00:00Z},"
    " validation: {start: 2025-03-07T03:00:00Z, end: 2025-03-08T03:00:00Z},"
    " test: {start: 2025-03-08T03:00:00Z, end: 2025-03-09T03:00:00Z}}",
    "data.batch_rows=1_024",
    "features.history.max_length=6",
    "topics.scene.values=[home, search]",
    "topics.period.hours={lunch: 11-13, dinner: 17-20}",
    "topics.region.values=[r1, r2]",
    "backbone={embedding_dimension: 4, experts: 2, expert_layers: [8, 6], tower_layers: [6],"
    " attention_layers: [4], debias: {feature: position, layers: [4]}}",
    "pretrain={epochs: 2, batch_size: 256, learning_rate: 0.01, embedding_learning_rate: 0.1,"
    " validations_per_epoch: 2, checkpoint_steps: 3, progressive: true, progressive_parts: 2}",
    "kernel.width=6",
    "memory={keys: {user: [user_id], shop_scene: [shop_id, scene]}, refresh_hours: 2}",
    "finetune={epochs: 2, batch_size: 64, learning_rate: 0.03, child_learning_rate: 0.01,"
    " activation: {correction: none, level: 0.99}}",
    "evaluation.bootstrap=20",
)
WITH_CONFIG = ["--config", str(CONFIG), *(word for text in _SMALL for word in ("--set", text))]
"""What names the experiment on every command line."""

SERVED = {"all": 1, "scene=home": 3}
"""How many versions are added of domains that are then served."""

STEPS = (
    "preprocessing.beam.dataset_job",
    "trainer.training.pretrain",
    "trainer.training.finetune",
    "trainer.evaluation.evaluate",
    "serving.export.version_writer",
)
"""What the commands import when they need it."""

Command = Callable[[], None]


def begin_in(folder: Path, *modules: str) -> None:
    """Makes a folder anew, and imports what the commands import when they need it, once and not in
    every process that is forked.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in modules:
        import_module(name)


def _arguments(main: Callable[[], None], words: list[str]) -> Command:
    def act() -> None:
        sys.argv[1:] = words
        run(main)

    return act


@dataclass(frozen=True)
class Small:
    """The commands of one small job, by the folder that holds all of it."""

    folder: Path

    @property
    def logs(self) -> Path:
        """The simulated logs."""
        return self.folder / "logs"

    @property
    def data(self) -> Path:
        """The dataset."""
        return self.folder / "data"

    @property
    def job(self) -> Path:
        """The job directory."""
        return self.folder / "job"

    @property
    def models(self) -> Path:
        """Base path of the exported model."""
        return self.folder / "models"

    def simulate(self) -> Command:
        """``preprocessing.simulate``."""
        words = [*WITH_CONFIG, "--output", str(self.logs)]
        return _arguments(simulate_command, words)

    def preprocess(self, processes: int = 1) -> Command:
        """``preprocessing.task`` in so many processes."""
        mode = "in_memory" if processes == 1 else "multi_processing"
        flags = [f"--direct_running_mode={mode}", f"--direct_num_workers={processes}"]
        return self.preprocess_to(self.data, *flags)

    def preprocess_to(self, data: Path, *flags: str) -> Command:
        """``preprocessing.task`` with options of Beam's, of the same logs into any folder."""
        words = ["--input", f"{self.logs}/*.parquet", "--output", str(data), *flags]
        return lambda: run(lambda: preprocessing_task.main([*WITH_CONFIG, *words]))

    def train(self, step: str, *more: str) -> Command:
        """``trainer.task pretrain``, ``finetune`` or ``evaluate``."""
        words = [step, *more, *WITH_CONFIG, "--data", str(self.data), "--job-dir", str(self.job)]
        return _arguments(trainer_task.main, words)

    def elsewhere(self, step: str, job: str, scratch: Path) -> Command:
        """A step of ``trainer.task`` on a job at an object store."""
        words = [step, *WITH_CONFIG, "--data", str(self.data), "--job-dir", job]
        return _arguments(trainer_task.main, [*words, "--scratch", str(scratch)])

    def shard(self, number: int, of: int) -> Command:
        """``trainer.task finetune --shard``."""
        return self.train("finetune", "--shard", f"{number}/{of}")

    def gather(self) -> Command:
        """``trainer.task gather``."""
        return self.train("gather")

    def kernels(self, *words: str) -> Command:
        """``trainer.task kernels``."""
        return _arguments(trainer_task.main, ["kernels", "--job-dir", str(self.job), *words])

    def memory(self, action: str, *version: str) -> Command:
        """``trainer.task memory``."""
        words = ["memory", action, *version, "--job-dir", str(self.job)]
        new = [*WITH_CONFIG, "--data", str(self.data)] if action == "refresh" else []
        return _arguments(trainer_task.main, [*words, *new])

    def export(self) -> Command:
        """``serving.export``, as version 1."""
        words = ["--job-dir", str(self.job), "--output", str(self.models), "--version", "1"]
        return _arguments(export_command.main, words)

    def build(self) -> None:
        """Every step in turn, and kernels that are served whatever was learned: ``SERVED``. Raises
        ``InputError`` where one fails.
        """
        for name in (*STEPS, "serving.server.main"):
            import_module(name)  # once, and not in every process that is forked
        steps = [self.simulate(), self.preprocess(), self.train("pretrain"), self.train("finetune")]
        steps += [lambda: _add_kernels(self.job), self.memory("refresh"), self.memory("rollback")]
        steps += [self.train("evaluate"), self.export()]
        for step in steps:
            finish(step, self.folder / "log.txt")


def _add_kernels(folder: Path) -> None:
    from trainer.backbone.model import read_tap
    from trainer.backbone.saving import load_frozen
    from trainer.job import Job
    from trainer.kernels.shape import KernelShape
    from trainer.registry.golden_scores import GoldenRows
    from trainer.registry.kernel_registry import KernelStore

    job = Job(folder)
    experiment = job.experiment()
    backbone = load_frozen(job, experiment)
    golden, store = GoldenRows.open(job, backbone), KernelStore(job)
    tap = read_tap(backbone.output, experiment.kernel.tap)
    shape = KernelShape.of(
        experiment.kernel, tap.shape[-1], experiment.memory, len(experiment.tasks.towers)
    )
    random = np.random.default_rng(len(SERVED))
    for domain, versions in SERVED.items():
        for _ in range(versions):
            weights = {
                name: random.normal(0.0, 0.3, size).astype(np.float32)
                for name, size in shape.variables().items()
            }
            record = {
                "shape": shape.to_json(),
                "seed": experiment.seed,
                "finetune": experiment.finetune.model_dump(mode="json"),
                "rows": {"train": 1, "validation": 1},
                "validation": {},
                "activated": True,
            }
            scores = golden.scores_for(shape, weights)
            store.activate(domain, store.add(domain, weights, record, scores))


def digests(folder: Path) -> dict[str, str]:
    """Sha256 of every file of a folder, by its path there, less locks."""
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def begin(command: Command, log: Path) -> multiprocessing.process.BaseProcess:
    """Starts a command in a process and a process group of its own; what it says goes to a log."""

    def act() -> None:
        os.setpgid(0, 0)
        with log.open("ab") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            command()

    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    return process


def finish(command: Command, log: Path) -> float:
    """Runs a command to its end. Returns its seconds; raises ``InputError`` where it fails."""
    start = time.perf_counter()
    process = begin(command, log)
    process.join()
    if process.exitcode:
        last = next(reversed(log.read_text(encoding="utf-8").strip().splitlines()), "")
        raise InputError(f"a step ended with exit code {process.exitcode}: {last} (see {log})")
    return time.perf_counter() - start


def kill(process: multiprocessing.process.BaseProcess) -> bool:
    """Kills a command with all processes of its own, without a chance to clean up; whether it was
    still at work.
    """
    working = process.is_alive()
    try:
        os.killpg(process.pid or 0, signal.SIGKILL)
    except ProcessLookupError:
        working = False
    process.join()
    return working and process.exitcode == -signal.SIGKILL
