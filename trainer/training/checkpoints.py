"""Checkpoints of pre-training: where a run stands, and the weights that validation liked best.

What is missing or damaged here is said: a run never goes on from less than it had.
"""

import json
import logging
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from configs import Experiment, InputError
from configs.digests.listed_files import sha256_of
from configs.random_streams import STREAMS
from configs.tensorflow_import import tf
from preprocessing.remote.folder import publish
from trainer.backbone.layers.chunked_tables import release
from trainer.data.dataset import Dataset
from trainer.distribution.agreement import hand_out, told
from trainer.job import Job
from trainer.training.backbone_step import Learner
from trainer.training.early_stopping import EarlyStopping

_UNFINISHED = re.compile(r"checkpoint\.tmp\w*|.*_temp")
"""Names of what TensorFlow leaves where it is killed while it saves."""


@dataclass
class RunState:
    """Where a run stands; saved inside every checkpoint."""

    epoch: int = 0
    step: int = 0  # of this epoch
    total_steps: int = 0
    stopping: EarlyStopping = field(default_factory=EarlyStopping)
    loss_sum: float = 0.0  # since the last validation
    loss_count: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    streams: int = STREAMS  # the order of rows that 'step' is a place in
    rows: dict[str, str] | None = None  # as ``rows_of``; None in older checkpoints
    experiment: str | None = None  # sha256 of experiment.json; None in older checkpoints

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunState | None":
        """Reads what ``json.dumps(asdict(...))`` gave; None where it is of a program that draws, or
        stops, otherwise: its order of rows cannot be gone on with.
        """
        content = json.loads(text)
        if content.get("streams") != STREAMS:
            return None
        return cls(**{**content, "stopping": EarlyStopping(**content["stopping"])})


def rows_of(experiment: Experiment, dataset: Dataset) -> dict[str, str]:
    """Split -> digest of the rows that a backbone learns from or is validated on."""
    names = dict.fromkeys((*experiment.fitted_on, experiment.pretrain.validation))
    return {name: dataset.manifest.rows_digest(name) for name in names}


def check_rows(job: Job, theirs: dict[str, str] | None, ours: dict[str, str]) -> None:
    """Raises ``InputError`` where what a job has learned so far is of other rows; of older jobs
    nothing is known.
    """
    if theirs is None:
        return
    for name in sorted(ours):
        if theirs.get(name) != ours[name]:
            raise InputError(
                f"{job.folder}: holds a backbone of other rows than split '{name}' of this dataset;"
                " give the dataset that it began with, or choose another --job-dir"
            )


class Checkpoints:
    """The checkpoints of one run.

    Attributes:
      latest: everything, to resume from.
      best: the weights with the best validation.
    """

    def __init__(self, job: Job, learner: Learner, rows: dict[str, str]) -> None:
        """Of a backbone with its optimisers, which learns from such rows (``rows_of``). Of several
        workers rank 0 saves and reads, and the others get what it has.
        """
        self._learner, self._workers = learner, learner.workers
        self._weights = {"weights": [variable.value for variable in learner.model.variables]}
        self._updates = {
            "updates": learner.adagrad.updates
        }  # in the best: a row learned after it counts as unseen again
        if self._workers.rank:
            return
        for path in job.checkpoints.glob("*/*"):
            if _UNFINISHED.fullmatch(path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._job, self._rows = job, rows
        self._saved_state = tf.Variable("", dtype=tf.string)
        self._beside = {**learner.state, "state": self._saved_state}
        self.latest = _manager(job, "latest", **self._weights, **self._beside)
        self.best = _manager(job, "best", **self._weights, **self._updates)

    def save(self, state: RunState) -> None:
        """Saves everything, and uploads a job that is elsewhere."""
        if self._workers.rank:
            return
        state.rows, state.experiment = self._rows, self._experiment()
        self._saved_state.assign(json.dumps(asdict(state)))
        self.latest.save(state.total_steps)
        publish(self._job.folder)

    def save_best(self, step: int) -> None:
        """Saves the weights of a step, which validation likes best so far."""
        if not self._workers.rank:
            self.best.save(step)

    def restore(self) -> RunState | None:
        """Restores everything, on all workers; None where nothing has been saved yet.

        Raises:
          InputError: the checkpoint is damaged, of another program, of other rows or of other
            settings.
        """
        state = None if self._workers.rank else self._restored()
        text = told(self._workers, json.dumps(asdict(state)) if state else "")
        optimizers = [*self._learner.state["adam"], *self._learner.adagrad.variables]
        hand_out(self._workers, [*self._weights["weights"], *optimizers])
        return RunState.from_json(text) if text else None

    def _restored(self) -> RunState | None:
        if self.latest.latest_checkpoint is None:
            about = Path(self.latest.directory) / "checkpoint"
            if about.exists():
                raise InputError(f"{about}: damaged: names no checkpoint; {self._advice}")
            return None
        self._read(self.latest, self._beside)
        state = RunState.from_json(self._saved_state.numpy())
        if state is None:
            raise self._other_program(self.latest)
        check_rows(self._job, state.rows, self._rows)
        if state.experiment not in (None, self._experiment()):
            raise InputError(
                f"{self._job.backbone / 'experiment.json'}: damaged: it is not what this run began"
                " with; restore it, or choose another --job-dir"
            )
        return state

    def restore_best(self, step: int) -> None:
        """Restores the weights of a step, on all workers. Raises ``InputError`` where its
        checkpoint is missing or damaged: the last weights are not published in its place.
        """
        if not self._workers.rank:
            self._read_best(step)
        hand_out(self._workers, [*self._weights["weights"], *self._learner.adagrad.updates])

    def _read_best(self, step: int) -> None:
        path = self.best.latest_checkpoint
        if path is None or not path.endswith(f"-{step}"):
            raise InputError(
                f"{self.best.directory}: missing or damaged: no checkpoint of step {step}, the best"
                f" on validation; {self._advice}"
            )
        self._read(self.best, self._updates)

    def _read(self, checkpoints: tf.train.CheckpointManager, others: dict[str, Any]) -> None:
        path = checkpoints.latest_checkpoint
        for table in self._learner.tables:
            release(table)
        for part in (
            self._weights,
            others,
        ):  # weights first: what is restored with them may take the place that the tables left
            try:
                tf.train.Checkpoint(**part).read(
                    path
                ).expect_partial().assert_existing_objects_matched()
            except (AssertionError, ValueError, tf.errors.InvalidArgumentError):
                raise self._other_program(checkpoints) from None
            # TensorFlow raises what its C++ happens to map to, IndexError too; the file is to blame
            except Exception as error:
                files = sorted(Path(path).parent.glob(f"{Path(path).name}.*"))
                where = " or ".join(map(str, files)) or path
                said = str(getattr(error, "message", error)).rpartition("}} ")[2][:200]
                raise InputError(f"{where}: damaged: {said}; {self._advice}") from None

    def _experiment(self) -> str | None:
        path = self._job.backbone / "experiment.json"
        return sha256_of(path) if path.exists() else None

    @property
    def _advice(self) -> str:
        return f"remove {self._job.checkpoints} to train anew"

    def _other_program(self, checkpoints: tf.train.CheckpointManager) -> InputError:
        return InputError(
            f"{checkpoints.latest_checkpoint}: of another version of this program; {self._advice}"
        )


def _manager(job: Job, name: str, **parts: Any) -> tf.train.CheckpointManager:
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # of a damaged file it warns; who restores says it
    try:
        folder = str(job.checkpoints / name)
        return tf.train.CheckpointManager(tf.train.Checkpoint(**parts), folder, max_to_keep=1)
    finally:
        logger.setLevel(level)
