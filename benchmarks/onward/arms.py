"""Runs the arms of a replay by the commands themselves, and keeps what each scored and cost."""

import resource
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import trainer  # noqa: F401 - before TensorFlow

# isort: split
import preprocessing.task as preprocessing_task
import trainer.task as trainer_task
from benchmarks.onward.days import NEXT, Replay, Windows, settings
from benchmarks.onward.summary import ARMS, KERNELS, ONWARD, SCRATCH, SUMMARY, summarise
from benchmarks.reliability.small_job import Command, finish
from configs import load_experiment
from configs.cli import run
from configs.files import atomic_file, read_json, write_json
from trainer.job import Job


@dataclass(frozen=True)
class Arms:
    """The folders of a replay. Steps that are done are not done again.

    Attributes:
      folder: of all of it.
      config: YAML file.
      overrides: of it.
      logs: the log's files, one a day.
      replay: its days.
    """

    folder: Path
    config: Path
    overrides: tuple[str, ...]
    logs: Sequence[Path]
    replay: Replay

    def costs(self) -> dict[str, dict[str, float]]:
        """What was spent so far."""
        path = self.folder / "costs.json"
        found: dict[str, dict[str, float]] = read_json(path) if path.exists() else {}
        return found

    def scores(self, day: int, arm: str) -> Path:
        """Logits of the next day's rows, and the columns that judge them."""
        return self.folder / f"{day}-{arm.replace(' ', '-')}.npz"

    def first(self) -> Job:
        """The first backbone, which all arms begin with; trained where it is not there."""
        day = self.replay.first
        self._backbone(day, SCRATCH, self.replay.scratch(day))
        return self._job(day, SCRATCH)

    def run(self, day: int, arm: str) -> None:
        """Has an arm learn once a day is over, and scores the next day."""
        if self.scores(day, arm).exists():
            return
        if arm == KERNELS:
            windows, job = self._tuned(day)
        else:
            windows = self.replay.scratch(day) if arm == SCRATCH else self.replay.onward(day)
            older = self._before(day) if arm == ONWARD else None
            self._backbone(day, arm, windows, older)
            job = self._job(day, arm)
        words = self._overrides(windows)
        data = self._data(day, arm)
        finish(lambda: run(lambda: self._score(words, data, job, day, arm)), self._log)

    @property
    def summary(self) -> Path:
        """What was summarised last."""
        return self.folder / SUMMARY

    def summarise(self, days: Sequence[int]) -> None:
        """Compares the arms on the days after these, which all have scored."""
        scores = {day: {arm: self.scores(day, arm) for arm in ARMS} for day in days}

        def act() -> None:  # not in this process, which begins others
            experiment = load_experiment(self.config, list(self.overrides))
            found = summarise(experiment, scores, self.costs(), self.overrides)
            write_json(self.summary, found)

        finish(lambda: run(act), self._log)

    def _before(self, day: int) -> Job:
        """What goes on, of the day before."""
        first = day - 1 == self.replay.first
        return self._job(day - 1, SCRATCH if first else ONWARD)

    def _backbone(self, day: int, arm: str, windows: Windows, older: Job | None = None) -> None:
        job, data = self._job(day, arm), self._data(day, arm)
        grown = ["--grow", str(older.folder)] if older else []
        going = ["--from", str(older.folder)] if older else []
        made = self._preprocess(windows, data, grown, *windows)
        self._step(day, arm, "data", data / "manifest.json", made)
        words = ["pretrain", *self._words(windows), *going, "--data", str(data)]
        self._step(
            day,
            arm,
            "training",
            job.backbone / "fingerprint.json",
            _command(trainer_task.main, [*words, "--job-dir", str(job.folder)]),
        )

    def _tuned(self, day: int) -> tuple[Windows, Job]:
        """The first backbone with kernels of the newest days, which go on being served where later
        ones are no better.
        """
        job, data = self.first(), self._data(day, KERNELS)
        tuned = self.replay.kernels(day)
        windows = tuned or self.replay.frozen(day)
        given = ["--transform", str(job.folder)]
        later = ("finetune", "validation", NEXT) if tuned else ("validation", NEXT)
        made = self._preprocess(windows, data, given, *later)
        self._step(day, KERNELS, "data", data / "manifest.json", made)
        if tuned:
            words = ["finetune", *self._words(windows), "--data", str(data)]
            command = _command(trainer_task.main, [*words, "--job-dir", str(job.folder)])
            self._step(day, KERNELS, "training", None, command)
        return windows, job

    def _preprocess(self, windows: Windows, data: Path, more: list[str], *splits: str) -> Command:
        """A dataset of the days that these splits reach into; the others stay empty."""
        logs = self.folder / "logs" / data.name
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        for number in self.replay.read(windows, *splits):
            path = self.logs[number - 1]
            (logs / path.name).symlink_to(path.resolve())
        words = [*self._words(windows), "--input", f"{logs}/*.parquet", "--output", str(data)]
        words += more
        words += ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
        return lambda: run(lambda: preprocessing_task.main(words))

    def _step(self, day: int, arm: str, kind: str, done: Path | None, command: Command) -> None:
        """Runs a command, unless it is done, and adds up what it cost."""
        name = f"{day}/{arm}"
        if kind in self.costs().get(name, {}) and (done is None or done.exists()):
            return
        before = _spent()
        finish(command, self._log)
        costs = self.costs()
        costs.setdefault(name, {})[kind] = _spent() - before
        write_json(self.folder / "costs.json", costs)

    def _score(self, overrides: list[str], data: Path, job: Job, day: int, arm: str) -> None:
        from trainer.backbone.stored_taps import split_columns
        from trainer.data.dataset import Dataset
        from trainer.distillation.teacher import Teacher

        experiment = load_experiment(self.config, overrides)
        dataset, served = Dataset.open(data, experiment), Teacher.open(job)
        served.check_reads(experiment, dataset)
        columns = split_columns(dataset, NEXT, lambda name: name.startswith(("row/", "label/")))
        logits = np.concatenate([part for _, part in served.scores(experiment, data, NEXT)])
        arrays: Mapping[str, np.ndarray] = {"logits": logits, **columns}
        with atomic_file(self.scores(day, arm)) as path, path.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def _overrides(self, windows: Windows) -> list[str]:
        return [*self.overrides, settings(windows), f"evaluation.split={NEXT}"]

    def _words(self, windows: Windows) -> list[str]:
        chosen = [word for text in self._overrides(windows) for word in ("--set", text)]
        return ["--config", str(self.config), *chosen]

    def _data(self, day: int, arm: str) -> Path:
        return self.folder / "data" / f"{day}-{arm.replace(' ', '-')}"

    def _job(self, day: int, arm: str) -> Job:
        return Job(self.folder / "jobs" / f"{day}-{arm.replace(' ', '-')}")

    @property
    def _log(self) -> Path:
        return self.folder / "log.txt"


def _spent() -> float:
    """CPU seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _command(main: Callable[[], None], words: list[str]) -> Command:
    def act() -> None:
        sys.argv[1:] = words
        run(main)

    return act
