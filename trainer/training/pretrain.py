"""Pre-training of the backbone: resumable, repeatable, stopped early on validation."""

import os
import sys
from contextlib import suppress
from dataclasses import replace
from math import ceil
from pathlib import Path

import keras
import numpy as np

from configs import Experiment, InputError
from configs.digests.sealed_json import write_sealed
from configs.files import atomic_directory, check_no_pattern, delete, write_json
from configs.random_streams import Purpose, integer_seed
from configs.tensorflow_import import tf
from configs.training import Teaching
from preprocessing.features.transform import transform_outputs
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import build_backbone, inference_model
from trainer.backbone.saving import job_fingerprint, save_backbone
from trainer.data.dataset import Dataset
from trainer.data.progress_bar import row_bar
from trainer.distillation.stored_scores import scores_folder, teacher_scores
from trainer.distillation.teacher import Teacher, taught_by
from trainer.job import TEACHER, Job
from trainer.kernels.scoring import entire_space_aucs
from trainer.losses import Objectives, log_probabilities
from trainer.metrics.task_metrics import mean_defined
from trainer.registry.golden_scores import keep_requests
from trainer.training.backbone_step import Learner
from trainer.training.checkpoints import Checkpoints, RunState, check_rows, rows_of
from trainer.training.early_stopping import EarlyStopping
from trainer.training.intercepts import A_FEW_ROWS, set_intercepts
from trainer.training.progressive_validation import fill_cold_rows, learn_window

_FEW_CORES = 2
_LOG_STEPS = 20
MOST_AT_ONCE = 10
"""Steps in one call of TensorFlow; Ctrl-C and the progress bar wait for its end."""
_DECISIVE = (
    "seed",
    "features",
    "tasks",
    "backbone",
    "pretrain",
)  # what a backbone depends on, beside its dataset


def one_thread_an_operation() -> None:
    """On few cores lets the operations of a training step run side by side, each in one thread:
    handing parts of each to several threads takes longer than it saves (two cores: 1.15 times the
    rows/s). Has no effect once TensorFlow has computed something.
    """
    if (os.cpu_count() or 1) <= _FEW_CORES:
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def pretrain(experiment: Experiment, data: Path, job: Job, taught: Job | None = None) -> None:
    """Trains a backbone and writes it to ``<job>/backbone``; resumes an interrupted run; does
    nothing where it is finished.

    Args:
      experiment: what is trained.
      data: folder of the dataset.
      job: where it goes.
      taught: by whose backbone and kernels it is taught, as ``pretrain.teacher`` says; by nobody's
        where None.

    Raises:
      InputError: no such dataset, a dataset of other settings, a job directory with a run of other
        settings, other rows or another teacher, or a teacher that cannot read the dataset.
    """
    experiment = experiment_taught(experiment, taught)
    read = {name: experiment.topics[name] for name in experiment.backbone.topics}
    dataset = Dataset.open(data, experiment, read)
    teacher = _teacher(experiment, dataset, job, taught)
    _claim(job, experiment, dataset, teacher)
    rows = rows_of(experiment, dataset)
    if job.finished:
        check_rows(job, job.rows, rows)
        print(
            f"{job.backbone}: finished already; choose another --job-dir to train again",
            file=sys.stderr,
        )
        return
    keras.utils.set_random_seed(integer_seed(experiment.seed, Purpose.FRAMEWORK))
    if teacher:
        print(f"taught by {teacher.job.folder}: {taught_by(teacher.record)}", file=sys.stderr)
        dataset = replace(dataset, side=teacher_scores(teacher, experiment, dataset, job))
    run = _Run(experiment, dataset, job)
    run.train()
    if experiment.pretrain.progressive:
        learn_window(experiment, dataset, job, run.learner, run.inference)
    save_backbone(run.model, job.backbone)
    write_json(job.backbone / "history.json", run.state.history)
    if dataset.manifest.golden_requests:  # else fine-tuning asks for them
        keep_requests(dataset, job)
    job.finish(job_fingerprint(run.model, job), rows)  # last: it says 'finished'
    delete(scores_folder(job))  # they were for going on with an interrupted run


def experiment_taught(experiment: Experiment, taught: Job | None) -> Experiment:
    """The experiment with the default of ``pretrain.teacher`` where there is a teacher and the
    section is missing, so that what is written down says how it counted. Raises ``InputError``
    where the section is there, and no teacher.
    """
    settings = experiment.pretrain.teacher
    if taught is None and settings and settings.weight:
        raise InputError(
            "pretrain.teacher: says how much a teacher counts, and there is none; name its job with"
            " --teacher, or leave the section out"
        )
    if taught is None or settings:
        return experiment
    own = experiment.pretrain.model_copy(update={"teacher": Teaching()})
    return experiment.model_copy(update={"pretrain": own})


def _teacher(
    experiment: Experiment, dataset: Dataset, job: Job, taught: Job | None
) -> Teacher | None:
    """The teacher, checked; None where there is none, or its weight is 0."""
    settings = experiment.pretrain.teacher
    if taught is None or settings is None:
        return None
    if not settings.weight:
        print("pretrain.teacher.weight is 0: the teacher teaches nothing", file=sys.stderr)
        return None
    if taught.folder.resolve() == job.folder.resolve():
        raise InputError(
            f"--teacher: {taught.folder} is the job that is trained; expected another, finished one"
        )
    teacher = Teacher.open(taught)
    teacher.check_reads(experiment, dataset)
    return teacher


def _check_teacher(job: Job, teacher: Teacher | None) -> None:
    """Raises ``InputError`` where a job was begun under another teacher."""
    theirs, ours = job.teacher(), teacher.record if teacher else None
    if (theirs and {name: theirs[name] for name in theirs if name != "job"}) == ours:
        return
    expected = f"{theirs['job']}: {taught_by(theirs)}" if theirs else "nobody"
    received = f"{teacher.job.folder}: {taught_by(teacher.record)}" if teacher else "no --teacher"
    raise InputError(
        f"{job.folder}: holds a backbone taught by {expected}; received {received}; go on with what"
        " it began with, or choose another --job-dir"
    )


def _claim(job: Job, experiment: Experiment, dataset: Dataset, teacher: Teacher | None) -> None:
    """Writes down what is trained in this job directory, and by whom it is taught, or checks that
    it is the same.
    """
    path = job.backbone / "experiment.json"
    ours = experiment.model_dump(mode="json")
    begun = job.finished or any(job.checkpoints.glob("*/checkpoint"))
    if begun and not path.exists():
        raise InputError(
            f"{path}: missing, though this job has trained; restore it, or choose another --job-dir"
        )
    if not path.exists():
        check_no_pattern(job.folder)
        with atomic_directory(job.backbone / "transform", replace=True) as folder:
            dataset.fitted.save(str(folder))
        if teacher:
            record = {"job": str(teacher.job.folder), **teacher.record}
            write_sealed(job.backbone / TEACHER, record)
        else:
            delete(job.backbone / TEACHER)  # of a run that was killed right here
        write_json(path, ours)
    theirs = job.experiment().model_dump(
        mode="json"
    )  # as read now: with the defaults of settings that are younger than the job
    for side in (ours, theirs):  # a topic that the body does not read is no matter of the backbone
        side["topics"] = [(name, side["topics"][name]) for name in side["backbone"]["topics"]]
    for section in (*_DECISIVE, "topics"):
        if theirs[section] != ours[section]:
            raise InputError(
                f"{job.folder}: holds a backbone with other '{section}' settings; choose another"
                " --job-dir"
            )
    _check_teacher(job, teacher)
    if experiment.pretrain.progressive and theirs["finetune"]["split"] != experiment.finetune.split:
        raise InputError(
            f"{job.folder}: holds a backbone that learned from another 'finetune.split'; choose"
            " another --job-dir"
        )
    if not dataset.fitted.same_outputs_as(job.fitted()):
        raise InputError(
            f"{job.folder}: holds a backbone of another dataset (its transform differs); choose"
            " another --job-dir, or, for new logs under that backbone, run python -m"
            f" preprocessing.task with --transform {job.folder}"
        )


class _Run:
    """One pre-training run: model, optimisers, position in the data, checkpoints."""

    def __init__(self, experiment: Experiment, dataset: Dataset, job: Job) -> None:
        self.experiment, self.settings, self.dataset = experiment, experiment.pretrain, dataset
        self.model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
        self.inference = inference_model(self.model, experiment)
        self.learner = Learner(self.model, experiment)
        self.state = RunState(stopping=EarlyStopping(self.settings.patience))
        self.checkpoints = Checkpoints(job, self.learner, rows_of(experiment, dataset))
        self.writer = tf.summary.create_file_writer(str(job.logs / "pretrain"))

    def train(self) -> None:
        """Trains to the end, from the last checkpoint where there is one."""
        if state := self.checkpoints.restore():
            self.state = state
            print(f"resuming after step {state.total_steps}", file=sys.stderr)
        while self.state.epoch < self.settings.epochs and not self.state.stopping.stopped:
            self._train_epoch()
        if self.state.stopping.when != self.state.total_steps:
            self.checkpoints.restore_best(self.state.stopping.when)
            print(f"kept: step {self.state.stopping.when}, the best on validation", file=sys.stderr)
        found = set_intercepts(self.inference, self.dataset, self.experiment)
        print(f"intercepts: CTR {found[0]:+.4f}, CVR {found[1]:+.4f}", file=sys.stderr)
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
            self.settings.split, batch_size, self.experiment.seed, state.epoch
        )
        iterator = iter(batches.skip(state.step))
        with row_bar(
            f"pretrain {state.epoch + 1}/{self.settings.epochs}", n_rows, state.step * batch_size
        ) as bar:
            while state.step < steps and not state.stopping.stopped:
                count = self._steps_at_once(min(step for step in validate_at if step > state.step))
                losses, learned = self.learner.steps(iterator, tf.constant(count))
                if not np.isfinite(losses.numpy()).all():
                    raise InputError(
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
                    self._log({"loss": float(losses[-1]), **self.learner.objectives.means()})
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
        set_intercepts(self.inference, self.dataset, self.experiment, A_FEW_ROWS)
        outputs = run_frozen(
            self.inference, self.dataset, self.settings.validation, tap=None, title="validation"
        )
        figures = validation_figures(outputs, self.learner.objectives, self.experiment)
        state.history.append(
            {
                "step": state.total_steps,
                "epoch": state.epoch + 1,
                "train_loss": state.loss_sum / state.loss_count,
                "validation": figures,
            }
        )
        state.loss_sum, state.loss_count = 0.0, 0
        print(f"validation: {_shown(figures)}", file=sys.stderr)
        self._log(
            {f"validation_{name}": value for name, value in figures.items() if value is not None}
        )
        improved = state.stopping.update(
            monitored(figures, self.settings.monitor), state.total_steps
        )
        if improved and self.settings.epochs * self.settings.validations_per_epoch > 1:
            self.checkpoints.save_best(state.total_steps)

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.state)

    def _log(self, figures: dict[str, float]) -> None:
        with self.writer.as_default(step=self.state.total_steps):
            for name, value in figures.items():
                tf.summary.scalar(name, value)


def _shown(figures: dict[str, float | None]) -> str:
    """Figures of validation as a line."""
    shown = (
        f"{name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in figures.items()
    )
    return ", ".join(shown)


def validation_figures(
    outputs: BackboneOutputs, objectives: Objectives, experiment: Experiment
) -> dict[str, float | None]:
    """Loss, CTR-AUC and CTCVR-AUC of the frozen backbone on a validation split; None where a
    split has one class only.
    """
    log_p = log_probabilities(tf.constant(outputs.logits))
    columns = {
        name: tf.constant(values)
        for name, values in outputs.columns.items()
        if name.startswith(("label/", "row/weight"))
    }
    aucs = entire_space_aucs(experiment, outputs, np.arange(len(outputs.logits)), outputs.logits)
    return {
        "loss": float(objectives.loss(log_p, columns, compute_metrics=False)),
        **{f"{task}_auc": value for task, value in aucs.items()},
    }


def monitored(figures: dict[str, float | None], monitor: str) -> float:
    """The figure that early stopping maximises: minus the loss, or the mean of the AUCs that are
    defined (minus the loss where none is).
    """
    auc = mean_defined(value for name, value in figures.items() if name.endswith("_auc"))
    if monitor == "auc" and auc is not None:
        return auc
    loss = figures["loss"]
    return -loss if loss is not None else float("-inf")
