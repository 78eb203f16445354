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
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.listening import free_addresses
from benchmarks.reliability.small_job import (
    WITH_CONFIG,
    Command,
    Small,
    begin,
    begin_in,
    finish,
    kill,
)
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
    "pretrain={epochs: 1, batch_size: 2_048, progressive: true, progressive_parts: 1}",
    "backbone={embedding_dimension: 16, experts: 4, expert_layers: [256, 128],"
    " tower_layers: [64], attention_layers: [32]}",
)
_WARM_STEPS, _TIMED_STEPS, _TIMED_STEPS_QUICK = 3, 60, 10


def measure(options: Options) -> Figures:
    """See the module."""
    begin_in(options.folder, "preprocessing.beam.dataset_job", "trainer.training.pretrain")
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

    def start(
        self, name: str, size: int, settings: Sequence[str] = _STEADY, steps: int = 0
    ) -> list[BaseProcess]:
        """Starts all workers of a training, each on a core of its own where there are enough."""
        addresses = free_addresses(size)
        return [
            begin(self._command(name, rank, addresses, settings, steps), self._log)
            for rank in range(size)
        ]

    def together(
        self, name: str, size: int, settings: Sequence[str] = _STEADY, steps: int = 0
    ) -> float:
        """A training to its end. Returns its seconds; raises ``InputError`` where it fails."""
        start = time.perf_counter()
        for process in self.start(name, size, settings, steps):
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
        steps = _TIMED_STEPS_QUICK if quick else _TIMED_STEPS
        self.together("rate-one", 1, _LARGER, steps)
        self.together("rate-two", _SIZE, _LARGER, steps)
        one, two = self.told("rate-one", 0), self.told("rate-two", 0)
        rates = [told["rows"] / told["seconds"] for told in (one, two)]
        summed, gathered = two["summed_bytes"], two["gathered_bytes"]
        return {
            "cores": len(os.sched_getaffinity(0)),
            "one_rows_per_s": rates[0],
            "two_rows_per_s": rates[1],
            "two_to_one_ratio": rates[1] / rates[0],
            "summed_bytes_a_step": summed,
            "gathered_bytes_a_step": gathered,
            "sent_bytes_a_step": 2 * (_SIZE - 1) / _SIZE * summed + (_SIZE - 1) * gathered,
            "unsummed_bytes_a_step": two["unsummed"],
        }

    def _command(
        self, name: str, rank: int, addresses: Sequence[str], settings: Sequence[str], steps: int
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
            _listen(folder / f"{name}-{rank}.json", by_rows=settings is _STEADY, steps=steps)
            sys.argv[1:] = [*words, "--job-dir", str(folder / name)]
            run(trainer_command)

        return act

    def _outcome(self, name: str) -> tuple[Any, ...]:
        """What is the same after a rerun: the fingerprint, and what every rank held."""
        fingerprint = read_object(self._small.folder / name / "backbone" / "fingerprint.json")
        return fingerprint["tensors"], *(self.told(name, rank)["digest"] for rank in range(_SIZE))


def _listen(path: Path, *, by_rows: bool, steps: int) -> None:
    """Has this process's training say what it held when it has ended, and what some more steps on a
    batch in memory took and moved.

    Args:
      path: where it says so.
      by_rows: whether also the rows of small tables travel by themselves.
      steps: how many more.
    """
    from trainer.training import optimizers, pretrain

    train = pretrain._Run.train
    if by_rows:
        optimizers._DENSE_ROWS = 16

    def trained(self: Any, *arguments: Any) -> None:
        train(self, *arguments)
        held = hashlib.sha256()
        for variable in [*self.model.variables, *self.learner.adagrad.accumulators]:
            held.update(variable.numpy().tobytes())
        write_json(
            path, {"digest": held.hexdigest(), **(_more_steps(self, steps) if steps else {})}
        )

    run_class: Any = pretrain._Run
    run_class.train = trained


def _more_steps(training: Any, steps: int) -> dict[str, float]:
    """Rows and seconds of steps on one batch, of which each worker has its part, and bytes a step
    that this worker gives to the others.
    """
    settings, workers, learner = training.settings, training.workers, training.learner
    batches = training.dataset.shuffled_batches(
        settings.split, settings.batch_size, training.experiment.seed, workers=workers
    )
    part = next(iter(batches))
    for _ in range(_WARM_STEPS):
        learner.step(part)
    names = ("summed_bytes", "gathered_bytes")
    before = [int(getattr(workers, name, 0)) for name in names]
    start = time.perf_counter()
    for _ in range(steps):
        learner.step(part).numpy()
    seconds = time.perf_counter() - start
    moved = {
        name: (int(getattr(workers, name, 0)) - count) / steps
        for name, count in zip(names, before, strict=True)
    }
    rows = settings.batch_size * steps
    return {"rows": rows, "seconds": seconds, **moved, "unsummed": _unsummed_bytes(training)}


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


def _furthest(one: Job, two: Job) -> float:
    """The largest difference of a weight."""
    from trainer.backbone.saving import load_frozen

    ours, theirs = (load_frozen(job, job.experiment()).weights for job in (one, two))
    return max(
        float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0.0))
        for a, b in zip(ours, theirs, strict=True)
    )
