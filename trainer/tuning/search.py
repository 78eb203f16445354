"""The search: trials one after another, each a pre-training run of its own, judged by
``pretrain.monitor`` on the rows of ``pretrain.validation`` and no others.
"""

import gc
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from pydantic import ValidationError

from configs import Experiment, InputError
from configs.asides import sole_writer
from configs.errors import ConfigError, first_names
from configs.files import check_no_pattern, delete, read_json
from configs.section import differing_settings
from preprocessing.dataset.manifest import load_manifest
from trainer.evaluation.validation import monitored
from trainer.job import Job
from trainer.prerequisites import check_dataset
from trainer.training.pretrain import LossError, pretrain
from trainer.tuning.datasets import Datasets
from trainer.tuning.page import write_tune_page
from trainer.tuning.results import (
    RESULT,
    Trial,
    TuneResult,
    best_by_epoch,
    read_result,
    trial_folder,
)
from trainer.tuning.sampling import Pruner, next_settings
from trainer.tuning.search_space import SearchSpace

_DECISIVE = ("seed", "features", "tasks", "topics", "backbone", "pretrain", "tune")
"""Sections that have to be the same where a search goes on."""


class _PrunedError(Exception):
    """A trial is not worth its end."""

    def __init__(self, curve: tuple[float, ...]) -> None:
        self.curve = curve


def tune(
    space: SearchSpace,
    folder: Path,
    data: Path | None,
    logs: str | None,
    trials: int,
    timeout: float | None = None,
) -> TuneResult:
    """Trains trials until a folder holds so many, and writes ``tune.json`` and ``tune.html``.

    A search that was interrupted goes on: trials that have ended are not trained again, and one in
    the middle resumes from its checkpoint. The job directory of the best trial is kept, the others
    are deleted.

    Args:
      space: what is tried; the first trial is its config as it is.
      folder: of the search.
      data: dataset of the config as it is; made of the logs where None.
      logs: glob of the logs; None where every trial reads ``data``.
      trials: how many there are in the end, those of earlier runs included.
      timeout: seconds from now after which no trial begins; None for no end.

    Raises:
      InputError: ranges that cannot be, a dataset that is missing or of other settings, or a folder
        with a search of other settings or rows.
    """
    begun = time.monotonic()
    epochs = space.check(has_logs=logs is not None)
    check_no_pattern(folder)
    with sole_writer(folder):
        run = _Search(space, folder, Datasets(space.base, data, logs, folder / "datasets"), epochs)
        while len(run.result.ended) < trials:
            if timeout is not None and time.monotonic() - begun >= timeout:
                print(f"note: no trial begins after {timeout:g} seconds", file=sys.stderr)
                break
            if not run.train_next():
                print("note: no settings are left that were not tried", file=sys.stderr)
                break
        write_tune_page(run.result, folder)
    return run.result


class _Search:
    """What has been tried in a folder, and the next trial."""

    def __init__(self, space: SearchSpace, folder: Path, datasets: Datasets, epochs: int) -> None:
        self._space, self._folder, self._datasets, self._epochs = space, folder, datasets, epochs
        self.result = self._opened()
        self._sweep()

    def train_next(self) -> bool:
        """Trains the trial that was interrupted, or a new one; False where nothing is left."""
        number = len(self.result.ended)
        interrupted = [trial for trial in self.result.trials if trial.state == "running"]
        if not interrupted:
            settings = next_settings(self._space, self.result.ended, number)
            if settings is None:
                return False
            self._keep(Trial(number=number, settings=settings))
        trial = self.result.trials[number]
        shown = "the config as it is" if not number else _shown(trial.settings)
        print(f"trial {number}: {shown}", file=sys.stderr)
        start = time.perf_counter()
        ended = self._train(trial)
        seconds = round(time.perf_counter() - start, 1)
        self._keep(ended.model_copy(update={"epochs": len(ended.curve), "seconds": seconds}))
        self._sweep()
        keras.utils.clear_session()
        gc.collect()
        return True

    def _train(self, trial: Trial) -> Trial:
        job = Job(self._folder / trial_folder(trial.number))
        try:
            experiment = self._space.experiment(trial.settings if trial.number else {})
        except ConfigError as error:  # each of its settings is sound by itself
            return _failed(trial, str(error))
        monitor = experiment.pretrain.monitor
        pruner = Pruner(self.result.ended, self._epochs)

        def before_epoch(finished: int, history: Sequence[Mapping[str, Any]]) -> None:
            curve = _curve([one for one in history if one["epoch"] <= finished], monitor)
            if trial.number and (epoch := pruner.stops(curve)):
                raise _PrunedError(curve[:epoch])

        try:
            data = self._datasets.of(experiment)
            trial = trial.model_copy(update={"data": str(data)})
            pretrain(experiment, data, job, before_epoch=before_epoch)
        except _PrunedError as pruned:
            print(f"trial {trial.number}: pruned", file=sys.stderr)
            last = {"state": "pruned", "curve": pruned.curve, "value": pruned.curve[-1]}
            return trial.model_copy(update=last)
        except LossError as error:
            return _failed(trial, str(error))
        curve = _curve(read_json(job.backbone / "history.json"), monitor)
        if not curve:
            return _failed(trial, "a figure of validation is no finite number")
        last = {"state": "complete", "curve": curve, "value": curve[-1]}
        return trial.model_copy(update=last)

    def _keep(self, trial: Trial) -> None:
        self.result = self.result.with_trial(trial)
        self.result.write(self._folder)

    def _sweep(self) -> None:
        """Deletes the job directories of trials that have ended, but for the best one's and those
        in which somebody has tuned kernels since.
        """
        for trial in self.result.ended:
            job = Job(self._folder / trial_folder(trial.number))
            if trial.number != self.result.best and not job.kernels.exists():
                delete(job.folder)

    def _opened(self) -> TuneResult:
        """The search of the folder, or a new one."""
        base = self._space.base
        data = self._datasets.of(base)
        check_dataset(data, *base.fitted_on, base.pretrain.validation)
        manifest = load_manifest(data)
        splits = (*base.fitted_on, base.pretrain.validation)
        ours = TuneResult(
            experiment=base.model_dump(mode="json"),
            rows={split: manifest.rows_digest(split) for split in splits},
            validation_rows=manifest.splits[base.pretrain.validation].rows,
        )
        theirs = read_result(self._folder)
        if theirs is None:
            return ours
        _check_same(self._folder / RESULT, theirs, ours)
        return theirs


def _check_same(path: Path, theirs: TuneResult, ours: TuneResult) -> None:
    """Raises ``InputError`` where a folder holds a search of other settings or rows."""
    try:
        known = Experiment.model_validate(theirs.experiment).model_dump(mode="json")
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise InputError(
            f"{path}: experiment: {said}; it is of another version; choose another --job-dir"
        ) from None
    for section in _DECISIVE:  # as read now: with the defaults of younger settings
        if differing := differing_settings(known[section], ours.experiment[section], section):
            raise InputError(
                f"{path}: holds trials of other settings: {first_names(differing)}; go on with"
                " those, or choose another --job-dir"
            )
    if theirs.rows != ours.rows:
        raise InputError(
            f"{path}: holds trials of other rows than this dataset's; give the dataset that it"
            " began with, or choose another --job-dir"
        )


def _curve(history: Sequence[Mapping[str, Any]], monitor: str) -> tuple[float, ...]:
    return best_by_epoch(history, [monitored(entry["validation"], monitor) for entry in history])


def _failed(trial: Trial, reason: str) -> Trial:
    print(f"trial {trial.number}: failed: {reason}", file=sys.stderr)
    return trial.model_copy(update={"state": "failed", "reason": reason})


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())
