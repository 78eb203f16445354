"""One backbone under study: its dataset and job directory, made where they are not there, and
its forward passes, made once.
"""

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.method.rate_columns import write_rates
from configs import Experiment, InputError
from configs.files import atomic_directory, atomic_file, read_json, write_json
from configs.memory import Memory
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.beam.progress import say
from preprocessing.features.kept_columns import asked_columns
from preprocessing.features.key_hashes import PREFIX
from preprocessing.simulate import simulate
from preprocessing.task import parse_arguments
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, run_frozen
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.backbone.stored_taps import split_columns, window_rows
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.memory.memory_store import MemoryStore
from trainer.memory.row_memory import RowMemory
from trainer.training.pretrain import pretrain

_DECISIVE = ("seed", "features", "topics", "tasks", "backbone", "pretrain")
_READ_BY_MEMORY = ("row/", "label/", PREFIX)


@dataclass(frozen=True)
class Remembered:
    """What the rows of splits remember.

    Attributes:
      memory: split -> float32 ``[N, w]``, in the order of the dataset's files.
      seconds: that it took to work out, when it was.
    """

    memory: dict[str, Floats]
    seconds: float


class Bench:
    """A finished backbone of an experiment on given logs.

    Folders are named by what decides their content, so studies, methods and seeds that agree share
    them, and a killed run goes on. Of several processes that want the same one, one makes it and
    the others wait.

    Args:
      experiment: data, backbone and pre-training settings, seed.
      logs: glob of the logs; None where the experiment simulates them.
      folder: where datasets and job directories are kept.
      rates: past rates that the logs get as columns, beside their own; none where None.
    """

    def __init__(
        self, experiment: Experiment, logs: str | None, folder: Path, rates: Memory | None = None
    ) -> None:
        self.experiment, self.folder = experiment, folder
        self.logs = logs = logs or self._simulated()
        if rates is not None:
            self.logs = logs = self._with_rates(logs, rates)
        kept = sorted(column.name for column in asked_columns(experiment))
        self.data = folder / "data" / _digest([experiment.data_digest, logs, kept])
        with _alone(self.data):
            if not (self.data / "manifest.json").exists():
                _, flags = parse_arguments(["--config", "-", "--output", str(self.data)])
                DatasetJob(experiment, logs, str(self.data), tuple(flags)).run()
        self.dataset = Dataset.open(self.data, experiment)
        untaught = {"pretrain": {"teacher"}}  # as all are here; folders keep their older names
        settings = experiment.model_dump(mode="json", exclude=untaught)
        self.job = Job(
            folder
            / "jobs"
            / _digest([self.data.name, {section: settings[section] for section in _DECISIVE}])
        )
        with _alone(self.job.folder):
            if not self.job.finished:
                start = time.perf_counter()
                pretrain(experiment, self.data, self.job)
                write_json(self._seconds, time.perf_counter() - start)
        self.backbone: keras.Model = load_frozen(self.job, experiment)
        self._passes: dict[tuple[str, str | None], BackboneOutputs] = {}

    @property
    def pretrain_seconds(self) -> float:
        """Seconds that pre-training took, of a resumed one since then; by the dates of its files
        where it was killed at its very end.
        """
        if self._seconds.exists():
            return float(read_json(self._seconds))
        first, last = (self.job.backbone / name for name in ("experiment.json", "fingerprint.json"))
        return last.stat().st_mtime - first.stat().st_mtime

    @property
    def _seconds(self) -> Path:
        return self.job.folder / "seconds.json"

    def rows(self, split: str, tap: str | None = None) -> BackboneOutputs:
        """The forward pass over a split; one tap a split is kept at a time."""
        if (split, tap) not in self._passes:
            for key in [key for key in self._passes if key[0] == split]:
                del self._passes[key]
            title, user = f"{split}: {tap or 'logits'}", self.experiment.user_feature
            keep = (f"feature/{user}",) if user else ()
            if split == self.experiment.finetune.split:
                self._passes[split, tap] = window_rows(
                    self.job, self.experiment, self.backbone, self.dataset, tap, title, keep
                )
            else:
                self._passes[split, tap] = run_frozen(
                    self.backbone, self.dataset, split, tap, title, keep
                )
        return self._passes[split, tap]

    def any_rows(self, split: str) -> BackboneOutputs:
        """A split's rows whatever their tap."""
        made = [rows for (of, _), rows in self._passes.items() if of == split]
        return made[0] if made else self.rows(split)

    def remembered(self, memory: Memory, splits: Sequence[str]) -> Remembered:
        """What the rows of splits remember, from the labels of the dataset's splits up to the last
        of these. Worked out once for a definition and kept on disk, since it depends on no seed.

        Args:
          memory: the definition.
          splits: names; those that are asked for together are worked out in one pass.

        Raises:
          InputError: the dataset does not hold a column of a key.
        """
        wanted = _digest([self.data.name, memory.definition, list(splits)])
        path = self.folder / "memory" / f"{wanted}.npz"
        with _alone(path):
            if not path.exists():
                start = time.perf_counter()
                dataset = Dataset.open(self.data, self.experiment, memory=memory)
                rows = {split: _labelled(dataset, split) for split in splits}
                store = MemoryStore(self.job)
                found = RowMemory(self.experiment, dataset, store, memory).of(rows)
                arrays: dict[str, Any] = {f"of/{split}": found[split].memory for split in splits}
                with atomic_file(path) as new:
                    np.savez(new, seconds=time.perf_counter() - start, **arrays)
            with np.load(path, allow_pickle=False) as held:
                by_split = {split: held[f"of/{split}"] for split in splits}
                return Remembered(by_split, float(held["seconds"]))

    def _simulated(self) -> str:
        settings = self.experiment.simulation
        if settings is None:
            raise InputError("the study names no logs and its config has no simulation")
        folder = (
            self.folder
            / "logs"
            / _digest(
                [
                    self.experiment.seed,
                    settings.model_dump(mode="json"),
                    str(self.experiment.splits[self.experiment.finetune.split].start),
                ]
            )
        )
        with _alone(folder):
            if not folder.exists():
                simulate(self.experiment, folder)
        return str(folder / "*.parquet")

    def _with_rates(self, logs: str, rates: Memory) -> str:
        experiment = self.experiment
        decisive = [logs, rates.definition, experiment.tasks.spaces, experiment.data.request]
        folder = self.folder / "rates" / _digest(decisive)
        with _alone(folder):
            if not folder.exists():
                with atomic_directory(folder) as new:
                    write_rates(experiment, rates, logs, new)
        return str(folder / "*.parquet")

    def tap_width(self, tap: str) -> int:
        """Width of a tap."""
        return int(read_tap(self.backbone.output, tap).shape[-1])


def _labelled(dataset: Dataset, split: str) -> BackboneOutputs:
    """A split's moments, requests, labels and keys of memory, which no model has seen."""
    columns = split_columns(dataset, split, lambda name: name.startswith(_READ_BY_MEMORY))
    rows = len(columns["row/weight"])
    return BackboneOutputs(
        np.empty((rows, 0), np.float32), np.empty((rows, 1, 0), np.float32), columns
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder while it is made; a process that dies lets go."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{folder}: another process is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
