"""Two processes on this machine that run ``trainer.task pretrain`` together, one of which may be
killed at a step.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.reliability.listening import free_addresses
from tests.conftest import QUICKSTART, ROOT, SMALL

SETTINGS = (*SMALL, "pretrain.epochs=1", "pretrain.learning_rate=0.001")
"""Ten steps, a checkpoint every three; a rate at which Adam does not make more of the rounding of
sums.
"""
_CHILD = """
import hashlib, os, signal, sys
import trainer
from benchmarks.reliability.listening import free_addresses
from configs.cli import run
from trainer import task
from trainer.training import checkpoints, optimizers, pretrain

optimizers._DENSE_ROWS = 16  # so that rows of tables are exchanged, too
dies_after, train, save = int(sys.argv.pop(1)), pretrain._Run.train, pretrain._Run._checkpoint

def train_and_say(run, *arguments):
    train(run, *arguments)
    held = hashlib.sha256()
    for variable in [*run.model.variables, *run.learner.adagrad.accumulators]:
        held.update(variable.numpy().tobytes())
    print(held.hexdigest(), flush=True)

def save_and_die(run):
    save(run)
    if run.state.total_steps == dies_after:
        os.kill(os.getpid(), signal.SIGKILL)

pretrain._Run.train, pretrain._Run._checkpoint = train_and_say, save_and_die
run(task.main)
"""
_PATIENCE = 300.0


def environment(addresses: list[str], rank: int) -> dict[str, str]:
    """As a service that starts workers sets it: a chief and workers."""
    task = {"type": "worker", "index": rank - 1} if rank else {"type": "chief", "index": 0}
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    return {**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


def pretrain_together(
    data: Path, job: Path, dies: int | None = None, after: int = 0
) -> list[subprocess.CompletedProcess[str]]:
    """Both to their end; rank 1 has a job directory of its own, which nobody may write.

    Args:
      data: dataset.
      job: of rank 0.
      dies: rank of the one that is killed once it has taken ``after`` steps; None for neither.
    """
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["pretrain", "--config", str(QUICKSTART), *sets, "--data", str(data), "--job-dir"]
    addresses = free_addresses(2)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(after if dies == rank else 0), *words, str(folder)],
            cwd=ROOT,
            env=environment(addresses, rank),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, folder in enumerate((job, job.with_name("nobodys")))
    ]
    ended = []
    try:
        for process in processes:
            out, error = process.communicate(timeout=_PATIENCE)
            ended.append(subprocess.CompletedProcess(process.args, process.returncode, out, error))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return ended
