"""A backbone on disk: written whole or not at all, reloaded in safe mode, frozen and checked."""

from pathlib import Path

import keras

from configs import Experiment, InputError
from configs.files import atomic_directory, atomic_file
from trainer.backbone.bodies.builder import TASKS as TASKS
from trainer.backbone.fingerprint import check_fingerprint, model_fingerprint
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


def load_frozen(job: Job, experiment: Experiment) -> keras.Model:
    """Reloads a job's backbone in Keras's safe mode, for inference and with no weight trainable.

    Raises:
      InputError: there is none, it is damaged, or its weights or its transform are not those of its
        fingerprint.
    """
    path = _saved_path(job.backbone)
    expected = job.fingerprint()
    try:
        model = keras.saving.load_model(path, compile=False)
    # Keras raises what its parts raise (zip, JSON, HDF5); the file is the user's, so is the mistake
    except Exception as error:
        raise InputError(
            f"{path}: not a saved backbone:"
            f" {next(iter(str(error).splitlines()), type(error).__name__)}"
        ) from None
    check_fingerprint(expected, model_fingerprint(model, job.fitted().digest), str(job.backbone))
    frozen = inference_model(model, experiment)
    frozen.trainable = False
    return frozen
