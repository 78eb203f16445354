"""Pre-training of the backbone: resumable, repeatable, stopped early on validation."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from configs import Experiment, InputError
from configs.files import delete, write_json
from configs.random_streams import Purpose, integer_seed
from configs.tensorflow_import import tf
from preprocessing.features.transform import transform_outputs
from preprocessing.profile.data_profile import copy_profile
from trainer.ancestry.ancestor import Ancestor
from trainer.ancestry.weights import carry_over
from trainer.backbone.frozen_pass import run_frozen
from trainer.backbone.model import build_backbone, check_shared, inference_model
from trainer.backbone.pretrained_vectors import fill_tables
from trainer.backbone.saving import job_fingerprint, save_backbone
from trainer.data.dataset import Dataset
from trainer.data.progress_bar import row_bar
from trainer.distillation.stored_scores import scores_column, scores_folder, teacher_scores
from trainer.distillation.teacher import Teacher
from trainer.distribution.agreement import told
from trainer.distribution.workers import ALONE, Workers
from trainer.evaluation.validation import monitored, shown, validation_figures
from trainer.job import Job
from trainer.registry.golden_scores import keep_requests
from trainer.reports.text_table import describe_teacher
from trainer.training.backbone_step import Learner
from trainer.training.checkpoints import Checkpoints, RunState, check_rows, rows_of
from trainer.training.claim import (
    check_may_be_taught,
    check_older,
    claim,
    experiment_onward,
    experiment_taught,
    given_back,
    holds_origin,
    open_ancestor,
    open_teacher,
    say_origin,
)
from trainer.training.early_stopping import EarlyStopping
from trainer.training.intercepts import A_FEW_ROWS, set_intercepts
from trainer.training.progressive_validation import fill_cold_rows, learn_window

_FEW_CORES = 2
_LOG_STEPS = 20
MOST_AT_ONCE = 10
"""Steps in one call of TensorFlow; Ctrl-C and the progress bar wait for its end."""

BeforeEpoch = Callable[[int, Sequence[Mapping[str, Any]]], None]
"""Told how many epochs are finished, and what ``history.json`` will hold of them."""


def one_thread_an_operation() -> None:
    """On few cores lets the operations of a training step run side by side, each in one thread:
    handing parts of each to several threads takes longer than it saves (two cores: 1.15 times the
    rows/s). Has no effect once TensorFlow has computed something.
    """
    if (os.cpu_count() or 1) <= _FEW_CORES:
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


class LossError(InputError):
    """The loss became no number: these settings cannot be trained with."""


def pretrain(
    experiment: Experiment,
    data: Path,
    job: Job,
    taught: Job | None = None,
    before_epoch: BeforeEpoch | None = None,
    workers: Workers = ALONE,
    older: Job | None = None,
) -> None:
    """Trains a backbone and writes it to ``<job>/backbone``; resumes an interrupted run; does
    nothing where it is finished.

    Of several workers rank 0 alone reads and writes the job, validates, and tells the others what
    it has found; a teacher's scores are the one thing that all of them read there.

    Args:
      experiment: what is trained.
      data: folder of the dataset.
      job: where it goes.
      taught: by whose backbone and kernels it is taught, as ``pretrain.teacher`` says; by nobody's
        where None.
      before_epoch: is called before every epoch but the first, and where an interrupted run goes
        on; what it raises ends the run, which can be gone on with.
      workers: that train it together.
      older: a finished job from whose backbone it goes on, as ``growth`` says, on a dataset whose
        transform was grown from that one's; None where it begins anew. From its first checkpoint on
        a run goes on also where that job is gone or is not named.

    Raises:
      InputError: no such dataset, a dataset of other settings, a job directory with a run of other
        settings, other rows, another teacher or another backbone to go on from, a teacher that
        cannot read the dataset, a backbone that cannot be gone on from, or something that several
        workers cannot train together.
      LossError: the loss became no number.
    """
    if older and taught:
        raise InputError(
            "--from and --teacher are both given: what goes on learns from labels alone; expected"
            " one of them"
        )
    first = not workers.rank
    holds = first and holds_origin(job)
    if first and taught:
        check_may_be_taught(job)
    if first:
        check_older(job, older)
    if holds:
        say_origin(job, older)
    onward = bool(told(workers, "onward" if holds or older else ""))
    experiment = experiment_taught(experiment, taught)
    experiment = experiment_onward(experiment) if onward else experiment
    _check_shareable(experiment, workers)
    read = {name: experiment.topics[name] for name in experiment.backbone.topics}
    dataset = Dataset.open(data, experiment, read)
    rows, finished, claimed = rows_of(experiment, dataset), "", False
    teacher: Teacher | None = None
    ancestor: Ancestor | None = None
    if first:
        teacher = open_teacher(experiment, dataset, job, taught)
        ancestor = None if holds else open_ancestor(experiment, dataset, older)
        claimed = claim(job, experiment, dataset, teacher, ancestor, holds=holds)
        if job.finished:
            check_rows(job, job.rows, rows)
            delete(scores_folder(job))  # of a run that was killed at its very end
            finished = f"{job.backbone}: finished already; choose another --job-dir to train again"
    if finished := told(workers, finished):
        print(finished, file=sys.stderr)
        return
    with given_back(job, claimed):
        # What the job keeps of the dataset: where it is damaged, that is said before any training.
        if first:
            copy_profile(dataset.folder, dataset.manifest, job.profile)
            if dataset.manifest.golden_requests:  # else fine-tuning asks for them
                keep_requests(dataset, job)
            if ancestor:  # before the first checkpoint, which is gone on from without the older job
                ancestor.hand_memory(job)
        dataset.tell_unknown(experiment.pretrain.split, learned=True)
        dataset.tell_unknown(experiment.pretrain.validation)
        keras.utils.set_random_seed(integer_seed(experiment.seed, Purpose.FRAMEWORK))
        if first and teacher:
            print(describe_teacher(teacher.record), file=sys.stderr)
            teacher_scores(teacher, experiment, dataset, job)
        if told(workers, "taught" if first and teacher else ""):
            dataset = replace(dataset, side=scores_column(experiment, dataset, job))
        run = _Run(experiment, dataset, job, workers, ancestor, onward=onward)
        run.train(before_epoch)
        if experiment.pretrain.progressive:
            learn_window(experiment, dataset, job, run.learner, run.inference)
        if not first:
            return
        save_backbone(run.model, job.backbone)
        write_json(job.backbone / "history.json", run.state.history)
        job.finish(job_fingerprint(run.model, job), rows)  # last: it says 'finished'
        delete(scores_folder(job))  # they were for going on with an interrupted run


def _check_shareable(experiment: Experiment, workers: Workers) -> None:
    """Raises ``InputError`` where several workers cannot train this experiment together."""
    if (
        workers.size > 1
        and experiment.pretrain.progressive
        and experiment.tasks.learned_in_requests
    ):
        raise InputError(
            "pretrain.progressive: several workers cannot go through the window where a loss is of"
            " requests (tasks.*.ranking_loss), whose rows they would part; train in one process, or"
            " leave one of the two out"
        )


class _Run:
    """One pre-training run: model, optimisers, position in the data, checkpoints."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        job: Job,
        workers: Workers = ALONE,
        ancestor: Ancestor | None = None,
        *,
        onward: bool = False,
    ) -> None:
        """Of a backbone that goes on (``onward``) from an ancestor; what goes on from a checkpoint
        has none, nor have other workers than the first: they are handed what that one restores.
        """
        self.experiment, self.settings, self.dataset = experiment, experiment.pretrain, dataset
        self.workers = workers
        self.model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
        self.onward = onward
        if ancestor:
            carried = carry_over(self.model, experiment, dataset, ancestor)
            print(carried.words, file=sys.stderr)
        elif not onward:
            for filled in fill_tables(self.model, experiment, dataset.fitted):
                print(filled.words, file=sys.stderr)
        if workers.size > 1:
            check_shared(self.model)
        self.inference = inference_model(self.model, experiment)
        self.learner = Learner(self.model, experiment, workers=workers)
        self.state = RunState(stopping=EarlyStopping(self.settings.patience))
        self.checkpoints = Checkpoints(job, self.learner, rows_of(experiment, dataset))
        self.writer = (
            tf.summary.create_noop_writer()
            if workers.rank
            else tf.summary.create_file_writer(str(job.logs / "pretrain"))
        )

    def train(self, before_epoch: BeforeEpoch | None = None) -> None:
        """Trains to the end, from the last checkpoint where there is one."""
        if state := self.checkpoints.restore():
            self.state = state
            print(f"resuming after step {state.total_steps}", file=sys.stderr)
        while self.state.epoch < self.settings.epochs and not self.state.stopping.stopped:
            if before_epoch and self.state.history:
                before_epoch(self.state.epoch, self.state.history)
            self._train_epoch()
        if self.state.stopping.when != self.state.total_steps:
            self.checkpoints.restore_best(self.state.stopping.when)
            print(f"kept: step {self.state.stopping.when}, the best on validation", file=sys.stderr)
        elif len(self.state.history) > 1:
            print(
                f"note: validation was best at the last of {self.settings.epochs} epochs; more may"
                f" bring more ({'growth' if self.onward else 'pretrain'}.epochs)",
                file=sys.stderr,
            )
        found = set_intercepts(self.inference, self.dataset, self.experiment, workers=self.workers)
        towers = zip(self.experiment.tasks.towers, found, strict=True)
        listed = ", ".join(f"{name.upper()} {value:+.4f}" for name, value in towers)
        print(f"intercepts: {listed}", file=sys.stderr)
        self.writer.flush()

    def _train_epoch(self) -> None:
        state, n_rows, batch_size = (
            self.state,
            self.dataset.rows(self.settings.split),
            self.settings.batch_size,
        )
        steps = ceil(n_rows / batch_size)
        validate_at = {
            ceil(steps * part / self.settings.validations_per_epoch)
            for part in range(1, self.settings.validations_per_epoch + 1)
        }
        batches = self.dataset.shuffled_batches(
            self.settings.split, batch_size, self.experiment.seed, state.epoch, self.workers
        )
        iterator = iter(batches.skip(state.step))
        with row_bar(
            f"pretrain {state.epoch + 1}/{self.settings.epochs}", n_rows, state.step * batch_size
        ) as bar:
            while state.step < steps and not state.stopping.stopped:
                count = self._steps_at_once(min(step for step in validate_at if step > state.step))
                losses, learned = self.learner.steps(iterator, tf.constant(count))
                if not np.isfinite(losses.numpy()).all():
                    raise LossError(
                        f"the loss is no number after step {state.total_steps + count}; lower"
                        " pretrain.learning_rate or pretrain.embedding_learning_rate, or look for"
                        " numbers beyond all others in the logs"
                    )
                state.step, state.total_steps = state.step + count, state.total_steps + count
                state.loss_sum, state.loss_count = (
                    sum(losses.numpy().tolist(), state.loss_sum),
                    state.loss_count + count,
                )
                bar.update(int(learned))
                if state.total_steps % _LOG_STEPS == 0:
                    bar.set_postfix(loss=f"{state.loss_sum / state.loss_count:.4f}", refresh=False)
                    self._log(
                        {"loss": float(losses[-1]), **self.learner.objectives.means(self.workers)}
                    )
                if state.step in validate_at:
                    self._validate()
                if state.total_steps % self.settings.checkpoint_steps == 0 and state.step < steps:
                    self._checkpoint()
        state.epoch, state.step = state.epoch + 1, 0
        self._checkpoint()

    def _steps_at_once(self, validation: int) -> int:
        """Steps until the next one after which something is logged, saved or, at ``validation``,
        judged; at most ``MOST_AT_ONCE``.
        """
        done = self.state.total_steps
        ahead = [every - done % every for every in (_LOG_STEPS, self.settings.checkpoint_steps)]
        return min(MOST_AT_ONCE, validation - self.state.step, *ahead)

    def _validate(self) -> None:
        state = self.state
        if (
            self.settings.progressive
        ):  # rows of validation may hold ids that the window is the first to teach
            fill_cold_rows(self.learner, self.experiment)
        set_intercepts(self.inference, self.dataset, self.experiment, A_FEW_ROWS, self.workers)
        figures = self._validation_figures()
        state.history.append(
            {
                "step": state.total_steps,
                "epoch": state.epoch + 1,
                "train_loss": state.loss_sum / state.loss_count,
                "validation": figures,
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0
        print(f"validation: {shown(figures)}", file=sys.stderr)
        self._log(
            {f"validation_{name}": value for name, value in figures.items() if value is not None}
        )
        improved = state.stopping.update(
            monitored(figures, self.settings.monitor), state.total_steps
        )
        if improved and self.settings.epochs * self.settings.validations_per_epoch > 1:
            self.checkpoints.save_best(state.total_steps)

    def _validation_figures(self) -> dict[str, float | None]:
        """As rank 0 finds them: so all workers stop after the same step."""
        found = ""
        if not self.workers.rank:
            outputs = run_frozen(
                self.inference, self.dataset, self.settings.validation, tap=None, title="validation"
            )
            found = json.dumps(
                validation_figures(outputs, self.learner.objectives, self.experiment)
            )
        figures: dict[str, float | None] = json.loads(told(self.workers, found))
        return figures

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.state)

    def _log(self, figures: dict[str, float]) -> None:
        with self.writer.as_default(step=self.state.total_steps):
            for name, value in figures.items():
                tf.summary.scalar(name, value)
