"""Pre-training, fine-tuning and evaluation, each as one call: folders are brought here, what is
missing is said before TensorFlow is loaded, and then the step is run. The commands and the Python
API call these.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import InputError
from configs.asides import temporary_files
from configs.cli import tensorflow_file_errors
from configs.domains import named_domains
from preprocessing.filesystem import folder_argument
from trainer.distribution.cluster import read_cluster
from trainer.job import Job
from trainer.prerequisites import check_dataset, check_kernels, check_older, check_split
from trainer.staging import at_hand

if TYPE_CHECKING:
    from configs import Experiment
    from trainer.metrics.results import EvaluationResult
    from trainer.training.outcome import Outcome

Folder = str | PathLike[str]
"""A local folder, or one at ``gs://`` or ``s3://``."""


def check_keras() -> None:
    """Raises ``InputError`` where this process has used ``tf.keras`` before ``trainer`` was
    imported, so that it is Keras 3, which tensorflow-recommenders refuses: it cannot be exchanged.
    """
    tensorflow = sys.modules.get("tensorflow")
    version = getattr(tensorflow.keras, "version", None) if tensorflow else None
    if version and version().startswith("3."):  # the Keras 2 of tf.keras has no ``version``
        raise InputError(
            f"tf.keras is Keras {version()} in this process, since it was used before the steps"
            " were imported; expected Keras 2: restart (in a notebook, the kernel) and begin with"
            " 'from domain_kernels import pretrain'"
        )


@contextmanager
def tensorflow_loaded() -> Iterator[None]:
    """Loads TensorFlow, which takes seconds, once a step is known to be possible.

    The same run gives the same bits. Files are checked before they are read, so TensorFlow finds
    damage only where it came later: an ``InputError``, too. Deterministic operations stay on when
    the step is over, since TensorFlow has no public way to turn them off: a random operation of
    the caller's then needs a seed.
    """
    check_keras()
    from configs.tensorflow_import import tf

    tf.config.experimental.enable_op_determinism()
    try:
        with tensorflow_file_errors(), temporary_files():
            yield
    except tf.errors.DataLossError as error:
        raise InputError(
            f"a file was damaged while this run read it: {error.message}; run this again: it says"
            " what to do"
        ) from None


def rank_here() -> int:
    """Of this process among several workers (``TF_CONFIG``), of which the first alone writes."""
    cluster = read_cluster(os.environ)
    return cluster.rank if cluster else 0


@contextmanager
def _here(*, changes: bool, scratch: Folder | None, **folders: Folder | None) -> Iterator[Any]:
    """The folders as local paths by their names; what is at a store is taken in, and what has
    changed is uploaded at the end.
    """
    names = Namespace(
        scratch=None if scratch is None else Path(scratch),
        **{
            name: None
            if folder is None
            else folder_argument(fspath(folder), f"--{name.replace('_', '-')}")
            for name, folder in folders.items()
        },
    )
    with at_hand(names, changes=changes):
        yield names


def pretrain(
    experiment: "Experiment",
    data: Folder,
    job_dir: Folder,
    *,
    teacher: Folder | None = None,
    older: Folder | None = None,
    alone: bool = False,
    scratch: Folder | None = None,
) -> None:
    """Trains a backbone and writes it to ``<job_dir>/backbone``; goes on with an interrupted run,
    and does nothing where it is finished. With ``TF_CONFIG`` in the environment several workers
    train it together.

    Args:
      experiment: what is trained.
      data: folder of the dataset.
      job_dir: where backbone, kernels and reports go.
      teacher: job whose backbone and active kernels teach this one; nobody where None.
      older: finished job from whose backbone this one goes on, on a dataset whose transform was
        grown from that one's; it begins anew where None. From its first checkpoint on a run goes on
        also where that job is gone or is not named.
      alone: whether this process runs no other step after it, as the command ``pretrain`` does;
        on few cores TensorFlow's operations then get one thread each and run side by side, for as
        long as the process lives.
      scratch: where folders at a store are worked on; among the system's temporary files where
        None.

    Raises:
      InputError: no such dataset, one of other settings, or a job directory with a run of other
        settings, other rows, another teacher or another backbone to go on from.
    """
    cluster = read_cluster(os.environ)
    folders = {"data": data, "job_dir": job_dir, "teacher": teacher, "older": older}
    with _here(changes=not rank_here(), scratch=scratch, **folders) as here:
        check_dataset(here.data, *experiment.fitted_on, experiment.pretrain.validation)
        taught = Job(here.teacher) if here.teacher else None
        before = Job(here.older) if here.older else None
        if taught:
            taught.check_finished()
        if before and not rank_here():
            check_older(Job(here.job_dir), before)
        with tensorflow_loaded():
            from trainer.distribution.joining import facts_of, joined
            from trainer.training import pretrain as pretraining

            if alone:  # not before the other steps, whose operations are few and large
                pretraining.one_thread_an_operation()
            facts = facts_of(experiment, here.data, here.teacher, here.older) if cluster else {}
            with joined(cluster, facts) as workers:
                job = Job(here.job_dir)
                pretraining.pretrain(experiment, here.data, job, taught, None, workers, before)


def finetune(
    experiment: "Experiment",
    data: Folder,
    job_dir: Folder,
    domains: str | Sequence[str] = (),
    *,
    scratch: Folder | None = None,
) -> "list[Outcome]":
    """Trains kernels on a job's frozen backbone, stores those that have learned something, and
    decides what is served.

    Args:
      experiment: its domains are tuned.
      data: folder of a dataset under the backbone's transform.
      job_dir: with a finished backbone.
      domains: names of those to tune, or one name; all of the experiment's by default.
      scratch: as ``pretrain``.

    Returns:
      What became of each domain, in the order of the experiment.

    Raises:
      InputError: no finished backbone, a dataset that it cannot read or that lacks rows, an unknown
        domain.
    """
    names = [domains] if isinstance(domains, str) else [*domains]
    named_domains(experiment.domains, names, "--domains")
    with _here(changes=True, scratch=scratch, data=data, job_dir=job_dir) as here:
        check_dataset(here.data, experiment.finetune.split, experiment.finetune.validation)
        job = Job(here.job_dir)
        job.check_finished()
        with tensorflow_loaded():
            from trainer.training import finetune as tuning

            return tuning.finetune(experiment, here.data, job, names)


def evaluate(
    experiment: "Experiment",
    data: Folder,
    job_dir: Folder,
    split: str | None = None,
    *,
    scratch: Folder | None = None,
) -> "EvaluationResult":
    """Judges backbone and kernels on a split, domain by domain, and writes
    ``<job_dir>/reports/metrics.json``.

    Args:
      experiment: its domains and tasks are judged.
      data: folder of a dataset under the backbone's transform.
      job_dir: with a finished backbone and kernels.
      split: ``evaluation.split`` where None.
      scratch: as ``pretrain``.

    Returns:
      What the file holds.

    Raises:
      InputError: no finished backbone, no kernel, an unknown split, or a dataset that the backbone
        cannot read.
    """
    check_split(experiment, split)
    with _here(changes=True, scratch=scratch, data=data, job_dir=job_dir) as here:
        check_dataset(here.data, split or experiment.evaluation.split)
        job = Job(here.job_dir)
        check_kernels(job)
        with tensorflow_loaded():
            from trainer.evaluation import evaluate as evaluation

            return evaluation.evaluate(experiment, here.data, job, split)
