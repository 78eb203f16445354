"""A small backbone is pre-trained by one process, by two that ``TF_CONFIG`` names, and again by two
of which one is killed (kill -9) at a random moment, each in turn; then both are started again.

Bars: both ranks hold the same bits (``ranks_differ`` is 0), nothing is further from the weights of
one process than ``rounding`` (``beyond_rounding`` is 0), who is left ends by itself with an exit
code that is not 0 (``left_running`` and ``left_content`` are 0), and what both train once they are
started again is, to the bit, what they train undisturbed (``other_results`` is 0).

The second part is the step's rate on a larger network: one process on one core, and two on one
each. Bytes are exact; rates are not on a machine that others use, too.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.small_job import WITH_CONFIG, Command, Small, begin, finish, kill
from benchmarks.speed.options import Figures, Options
from configs import InputError
from configs.cli import run
from configs.files import read_object, write_json
from preprocessing.beam.progress import say
from trainer.job import Job
from trainer.task import main as trainer_command

_SEED, _KILLS, _KILLS_QUICK = 1304, 6, 2
_SIZE = 2
_MOST_SECONDS = 120.0
"""That who is left may take to notice."""
_ROUNDING = 1e-6
_PART = 0.5
"""Of the seconds of an undisturbed run: when one is killed at the latest, after its first
checkpoint.
"""
_STEADY = ("pretrain.learning_rate=0.001",)
"""At the small job's own rate Adam makes more of the rounding of sums than of anything else."""
_LARGER = (
    "pretrain={epochs: 12, batch_size: 1_024, progressive: true, progressive_parts: 1}",
    "backbone={embedding_dimension: 16, experts: 4, expert_layers: [256, 128],"
    " tower_layers: [64], attention_layers: [32]}",
)
_WARM_STEPS = 6
_STEPS = ("preprocessing.beam.dataset_job", "trainer.training.pretrain")
"""What the commands import when they need it."""


def measure(options: Options) -> Figures:
    """See the module."""
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    for name in _STEPS:
        import_module(name)  # once, and not in every process that is forked
    small, log = Small(options.folder), options.folder / "log.txt"
    for step in (small.simulate(), small.preprocess()):
        finish(step, log)
    trial = _Trial(small, log)
    say("one process, and two ...")
    trial.together("one", 1)
    seconds = trial.together("two", _SIZE)
    figures = trial.killed(_KILLS_QUICK if options.quick else _KILLS, seconds)
    say("rates ...")
    figures |= trial.rates(options.quick)
    first, second = (trial.told("two", rank) for rank in range(_SIZE))
    furthest = _furthest(Job(options.folder / "one"), Job(options.folder / "two"))
    return {
        "ranks_differ": int(first["digest"] != second["digest"]),
        "rounding": _ROUNDING,
        "furthest_from_one_process": furthest,
        "beyond_rounding": int(furthest > _ROUNDING),
        **figures,
    }


class _Trial:
    """Pre-trainings of one small dataset, each in a job directory of its own."""

    def __init__(self, small: Small, log: Path) -> None:
        self._small, self._log = small, log

    def told(self, name: str, rank: int) -> dict[str, Any]:
        """What a worker has said at its end: digest of its weights, rows, seconds, bytes."""
        return read_object(self._small.folder / f"{name}-{rank}.json")

    def start(self, name: str, size: int, settings: Sequence[str] = _STEADY) -> list[BaseProcess]:
        """Starts all workers of a training, each on a core of its own where there are enough."""
        addresses = _free_addresses(size)
        return [
            begin(self._command(name, rank, addresses, settings), self._log) for rank in range(size)
        ]

    def together(self, name: str, size: int, settings: Sequence[str] = _STEADY) -> float:
        """A training to its end. Returns its seconds; raises ``InputError`` where it fails."""
        start = time.perf_counter()
        for process in self.start(name, size, settings):
            process.join()
            if process.exitcode:
                raise InputError(
                    f"{name}: a worker ended with {process.exitcode} (see {self._log})"
                )
        return time.perf_counter() - start

    def killed(self, kills: int, seconds: float) -> Figures:
        """Kills each rank in turn, looks how the other ends, and starts both again."""
        random, expected = np.random.default_rng(_SEED), self._outcome("two")
        at_work = other = running = content = 0
        slowest = 0.0
        for number in range(kills):
            say(f"kill {number + 1} of {kills} ...")
            name = "killed"
            shutil.rmtree(self._small.folder / name, ignore_errors=True)
            workers = self.start(name, _SIZE)
            while not _saved(Job(self._small.folder / name)) and workers[0].is_alive():
                time.sleep(0.05)
            time.sleep(float(random.uniform(0.0, _PART * seconds)))
            victim, left = workers[number % _SIZE], workers[1 - number % _SIZE]
            at_work += kill(victim)
            start = time.perf_counter()
            left.join(_MOST_SECONDS)
            slowest = max(slowest, time.perf_counter() - start)
            running += left.is_alive()
            finished = Job(self._small.folder / name).finished
            content += not finished and left.exitcode == 0
            kill(left)
            self.together(name, _SIZE)
            other += self._outcome(name) != expected
        return {
            "kills": kills,
            "kills_at_work": at_work,
            "left_running": running,
            "left_content": content,
            "slowest_end_seconds": slowest,
            "other_results": other,
        }

    def rates(self, quick: bool) -> Figures:
        """Rows/s of one process on one core and of two on one each, and bytes of a step."""
        settings = (*_LARGER, *(("pretrain.epochs=5",) if quick else ()))
        self.together("rate-one", 1, settings)
        self.together("rate-two", _SIZE, settings)
        one, two = self.told("rate-one", 0), self.told("rate-two", 0)
        rates = [told["rows"] / told["seconds"] for told in (one, two)]
        sent = 2 * (_SIZE - 1) / _SIZE * two["summed"] + (_SIZE - 1) * two["gathered"]
        return {
            "cores": len(os.sched_getaffinity(0)),
            "one_rows_per_s": rates[0],
            "two_rows_per_s": rates[1],
            "two_to_one_ratio": rates[1] / rates[0],
            "summed_bytes_a_step": two["summed"] / two["steps"],
            "gathered_bytes_a_step": two["gathered"] / two["steps"],
            "sent_bytes_a_step": sent / two["steps"],
            "unsummed_bytes_a_step": two["unsummed"],
        }

    def _command(
        self, name: str, rank: int, addresses: Sequence[str], settings: Sequence[str]
    ) -> Command:
        folder = self._small.folder
        own = [word for setting in settings for word in ("--set", setting)]
        words = ["pretrain", *WITH_CONFIG, *own, "--data", str(self._small.data)]

        def act() -> None:
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[rank % len(cores)]})
            if len(addresses) > 1:
                task = {"type": "worker", "index": rank}
                cluster = {"worker": list(addresses)}
                os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
            _listen(folder / f"{name}-{rank}.json", by_rows=settings is _STEADY)
            sys.argv[1:] = [*words, "--job-dir", str(folder / name)]
            run(trainer_command)

        return act

    def _outcome(self, name: str) -> tuple[Any, ...]:
        """What is the same after a rerun: the fingerprint, and what every rank held."""
        fingerprint = read_object(self._small.folder / name / "backbone" / "fingerprint.json")
        return fingerprint["tensors"], *(self.told(name, rank)["digest"] for rank in range(_SIZE))


def _listen(path: Path, *, by_rows: bool) -> None:
    """Has this process's training say what it held and moved when it has ended, and how long its
    steps took once they were traced.

    Args:
      path: where it says so.
      by_rows: whether also the rows of small tables travel by themselves.
    """
    from trainer.training import optimizers, pretrain

    train, make = pretrain._Run.train, pretrain._Run.__init__
    counted = {"steps": 0, "rows": 0, "seconds": 0.0}
    if by_rows:
        optimizers._DENSE_ROWS = 16

    def made(self: Any, *arguments: Any) -> None:
        make(self, *arguments)
        steps = self.learner.steps

        def timed(batches: Any, count: Any) -> Any:
            start = time.perf_counter()
            losses, rows = steps(batches, count)
            losses.numpy()
            if counted["steps"] >= _WARM_STEPS:
                counted["rows"] += int(rows)
                counted["seconds"] += time.perf_counter() - start
            counted["steps"] += int(count)
            return losses, rows

        self.learner.steps = timed

    def trained(self: Any, *arguments: Any) -> None:
        train(self, *arguments)
        held = hashlib.sha256()
        for variable in [*self.model.variables, *self.learner.adagrad.accumulators]:
            held.update(variable.numpy().tobytes())
        workers = self.learner.workers
        moved = {
            "summed": int(getattr(workers, "summed_bytes", 0)),
            "gathered": int(getattr(workers, "gathered_bytes", 0)),
            "unsummed": _unsummed_bytes(self),
        }
        write_json(path, {"digest": held.hexdigest(), **counted, **moved})

    run_class: Any = pretrain._Run
    run_class.train, run_class.__init__ = trained, made


def _unsummed_bytes(training: Any) -> int:
    """What a worker would give to the others at every step if rows of tables travelled as often as
    a batch has them, each with its number.
    """
    entries = sum(
        int(np.prod(tensor.shape[1:], dtype=int))
        for tensor in training.model.input.values()
        if tensor.dtype == "int32"
    )
    dimension = training.experiment.backbone.embedding_dimension
    rows = training.settings.batch_size // training.workers.size
    return int(rows * entries * (4 * dimension + 8))


def _saved(job: Job) -> bool:
    return any(job.checkpoints.glob("latest/*.index"))


def _free_addresses(count: int) -> list[str]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in taken]


def _furthest(one: Job, two: Job) -> float:
    """The largest difference of a weight."""
    from trainer.backbone.saving import load_frozen

    ours, theirs = (load_frozen(job, job.experiment()).weights for job in (one, two))
    return max(
        float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0.0))
        for a, b in zip(ours, theirs, strict=True)
    )
