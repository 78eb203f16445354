"""A fleet of fine-tunings: a small job is tuned by one process, and again by two at a time, which
take shards in an order of chance; the first of them are killed (kill -9) at random moments and run
again, and so is the process that gathers.

Bars: the registry and the memory are those of one process, byte for byte (``other_results`` is 0),
also after they have been gathered twice (``changed_by_gathering_again``), and nothing of a killed
process is left over (``left_over``).
"""

import shutil
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from benchmarks.reliability.small_job import Command, Small, begin, begin_in, digests, finish, kill
from benchmarks.speed.options import Figures, Options
from configs.asides import ASIDE
from preprocessing.beam.progress import say
from trainer.job import Job

_SEED, _ROUNDS, _ROUNDS_QUICK = 1304, 10, 1
_SHARDS, _AT_ONCE, _KILLS = 3, 2, 2
_STEPS = ("preprocessing.beam.dataset_job", "trainer.training.pretrain", "trainer.fleet.gather")
_PART = 0.25
"""Of the time of one process that tunes all: when others are killed at the latest."""


def measure(options: Options) -> Figures:
    """See the module."""
    begin_in(options.folder, *_STEPS)
    small, log = Small(options.folder), options.folder / "log.txt"
    for step in (small.simulate(), small.preprocess(), small.train("pretrain")):
        finish(step, log)
    seconds = finish(small.train("finetune"), log)
    expected = _registry(small)
    random = np.random.default_rng(_SEED)
    rounds = _ROUNDS_QUICK if options.quick else _ROUNDS
    at_work = other = again = left = 0
    for number in range(rounds):
        for folder in (Job(small.job).kernels, Job(small.job).memory, Job(small.job).fleet):
            shutil.rmtree(folder, ignore_errors=True)
        say(f"round {number + 1} of {rounds} ...")
        at_work += in_shards(lambda shard: small.shard(shard, _SHARDS), seconds, random, log)
        process = begin(small.gather(), log)
        time.sleep(float(random.uniform(0.0, _PART * seconds)))
        at_work += kill(process)
        finish(small.gather(), log)
        other += _registry(small) != expected
        finish(small.gather(), log)
        again += _registry(small) != expected
        left += bool(list(small.job.rglob(f"{ASIDE}*")))
    return {
        "rounds": rounds,
        "shards": rounds * _SHARDS,
        "kills": rounds * (_KILLS + 1),
        "kills_at_work": at_work,
        "kernels": sum(name.endswith("weights.npz") for name in expected["kernels"]),
        "other_results": other,
        "changed_by_gathering_again": again,
        "left_over": left,
        "one_process_seconds": seconds,
    }


def in_shards(
    shard: Callable[[int], Command], seconds: float, random: np.random.Generator, log: Path
) -> int:
    """Runs all shards, some at a time, in an order of chance; kills the first ones and runs them
    again.

    Args:
      shard: number -> its command.
      seconds: that one process takes for all domains.
      random: draws order and moments.
      log: for what they say.

    Returns:
      How many were at work when they were killed.

    Raises:
      InputError: a shard that was not killed failed.
    """
    waiting = deque(int(number) + 1 for number in random.permutation(_SHARDS))
    running: deque[tuple[int, BaseProcess]] = deque()
    at_work = killed = 0
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            number = waiting.popleft()
            running.append((number, begin(shard(number), log)))
        number, process = running.popleft()
        if killed < _KILLS:
            time.sleep(float(random.uniform(0.0, _PART * seconds)))
            killed, at_work = killed + 1, at_work + kill(process)
            waiting.append(number)
            continue
        process.join()
        if process.exitcode:
            finish(shard(number), log)  # says what is wrong
    return at_work


def _registry(small: Small) -> dict[str, dict[str, str]]:
    """Sha256 of every file of the registry and of memory."""
    job = Job(small.job)
    return {folder.name: digests(folder) for folder in (job.kernels, job.memory)}
