"""A backbone on disk: written whole or not at all, reloaded in safe mode, frozen and checked."""

import sys
from pathlib import Path
from typing import Any

import keras

from configs import Experiment, InputError
from configs.errors import first_names
from configs.files import atomic_directory, atomic_file
from trainer.backbone.bodies.registry import body_named
from trainer.backbone.fingerprint import (
    check_fingerprint,
    model_fingerprint,
    settings_digest,
)
from trainer.backbone.model import inference_model
from trainer.job import Job

_LARGEST_ARCHIVE = 1 << 28
"""Bytes of weights that are zipped: Keras holds a zip's weights in memory, once more, while it
writes or reads them.
"""


def save_backbone(model: keras.Model, folder: Path) -> None:
    """Writes a backbone into a folder, whole or not at all: ``model.keras``, or ``model/`` (the
    same, not zipped) where it is large.
    """
    if (
        sum(
            variable.value.dtype.size * variable.value.shape.num_elements()
            for variable in model.variables
        )
        <= _LARGEST_ARCHIVE
    ):
        with atomic_file(folder / "model.keras") as zipped:
            model.save(zipped, zipped=True)
        return
    # There is one where a run was stopped right after it.
    with atomic_directory(folder / "model", replace=True) as unzipped:
        model.save(unzipped, zipped=False)


def _saved_path(folder: Path) -> Path:
    unzipped = folder / "model"
    return unzipped if unzipped.is_dir() else folder / "model.keras"


def job_fingerprint(model: keras.Model, job: Job) -> dict[str, Any]:
    """The fingerprint of a model with a job's transform and settings."""
    return model_fingerprint(model, job.fitted().digest, settings_digest(job.raw_experiment()))


def load_frozen(job: Job, experiment: Experiment) -> keras.Model:
    """``load_backbone``, for inference and with no weight trainable."""
    frozen = inference_model(load_backbone(job, experiment), experiment)
    frozen.trainable = False
    return frozen


def load_backbone(job: Job, experiment: Experiment) -> keras.Model:
    """Reloads a job's backbone in Keras's safe mode, as it was trained.

    Raises:
      InputError: there is none, it is damaged, or its weights or its transform are not those of its
        fingerprint.
    """
    path = _saved_path(job.backbone)
    expected = job.fingerprint()
    job.check_model()
    # an installed package registers its layers when it is loaded
    body_named(experiment.backbone.body)
    where = path / "model.weights.h5" if path.is_dir() else path
    try:
        model = keras.saving.load_model(path, compile=False)
    # Keras raises what its parts raise (zip, JSON, HDF5); the file is the user's, so is the mistake
    except Exception as error:
        # Of its own stumbling over what is not there, it says nothing that helps.
        said = str(error).splitlines() if isinstance(error, ValueError | OSError) else []
        raise InputError(
            f"{where}: not a saved backbone: {next(iter(said), 'damaged')}; restore the job from a"
            " copy, or train it anew in another --job-dir"
        ) from None
    check_fingerprint(expected, job_fingerprint(model, job), str(where))
    job.fitted().check_matches(
        job.experiment(), str(job.backbone / "experiment.json"), "restore the job from a copy"
    )
    return model


def load_fitting(job: Job, experiment: Experiment) -> keras.Model:
    """``load_frozen``, of a backbone that was trained for an experiment's tasks, and for the topics
    of it that its body reads. Raises ``InputError`` where it was not. Says which other settings of
    the experiment are not those of the backbone, which keeps its own.
    """
    backbone = load_frozen(job, experiment)
    trained = job.experiment()
    if not trained.tasks.same_as(experiment.tasks):
        raise InputError(
            f"tasks: the backbone of {job.folder} was trained for {trained.tasks.words}, and the"
            f" config has {experiment.tasks.words}; leave the tasks as they are, or train a"
            " backbone in another --job-dir"
        )
    for name in trained.backbone.topics:
        if not trained.topics[name].same_as(experiment.topics.get(name)):
            raise InputError(
                f"topics.{name}: the body of the backbone of {job.folder} reads it, and was trained"
                " with other settings of it; leave it as it is, and cut new domains by a topic of"
                " another name"
            )
    ours, theirs = experiment.features, trained.features
    differ = [f"features.{n}" for n in theirs | ours if theirs.get(n) != ours.get(n)]
    differ += ["backbone"] if trained.backbone != experiment.backbone else []
    if differ:
        print(
            f"note: {first_names(differ)}: other settings than those that the backbone of"
            f" {job.folder} was trained with; a backbone keeps its own",
            file=sys.stderr,
        )
    return backbone
