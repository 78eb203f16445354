"""A job directory becomes a version, wherever either of them is."""

from argparse import Namespace
from contextlib import AbstractContextManager, nullcontext
from os import PathLike, fspath
from pathlib import Path

from configs.asides import temporary_files
from configs.cli import tensorflow_file_errors
from configs.errors import InputError
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import scratch_folder
from trainer.job import Job
from trainer.staging import at_hand
from trainer.steps import check_keras

Folder = str | PathLike[str]
"""A local folder, or one at ``gs://`` or ``s3://``."""


def export(
    job_dir: Folder,
    models: Folder,
    version: int | None = None,
    *,
    full: bool = False,
    slots: int | None = None,
    scratch: Folder | None = None,
) -> Path | str:
    """Exports a job's backbone and active kernels as one version of a SavedModel, which appears
    whole or not at all.

    Args:
      job_dir: with a finished backbone.
      models: base path of the model; versions are folders in it.
      version: its number; the next free integer where None.
      full: write everything anew, not the kernels alone.
      slots: for kernels and the backbone; None keeps the newest version's, or leaves head-room.
      scratch: where folders at a store are worked on; among the system's temporary files where
        None.

    Returns:
      Where the version is: a path, or a text at a store.

    Raises:
      InputError: no finished backbone, a damaged kernel, a version that exists already, too few
        slots, or an operation that TensorFlow Serving does not have.
    """
    for option, value in (("--version", version), ("--slots", slots)):
        if value is not None and (type(value) is not int or value < 1):
            raise InputError(f"{option}: expected an integer from 1 on, received {value!r}")
    place = None if scratch is None else Path(scratch)
    target = folder_argument(fspath(models), "--output")
    here = Namespace(
        models=target, job_dir=folder_argument(fspath(job_dir), "--job-dir"), scratch=place
    )
    with at_hand(here, changes=False):
        return _export(Job(here.job_dir), target, place, version, full, slots)


def _export(
    job: Job,
    models: Path | str,
    scratch: Path | None,
    version: int | None,
    full: bool,
    slots: int | None,
) -> Path | str:
    job.check_finished()  # before TensorFlow is loaded
    check_keras()

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from serving.export.remote_models import models_here, upload_version
    from serving.export.version_writer import export as write_version

    here: AbstractContextManager[Path]
    if isinstance(models, Path):
        here = nullcontext(models)
    else:
        here = models_here(models, scratch_folder(scratch))
    with here as folder, tensorflow_file_errors(), temporary_files():
        path = write_version(job, folder, version, full=full, slots=slots)
        if isinstance(models, Path):
            return path
        upload_version(path, models)
        return f"{models}/{path.name}"
