"""What a step needs before it starts, looked at before TensorFlow is loaded: a forgotten step or a
wrong name is said at once.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from configs import Experiment, InputError
from configs.errors import did_you_mean
from preprocessing.dataset.manifest import load_manifest
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore


def as_of_job(job: Job) -> Callable[[object], datetime | None]:
    """What a step without a dataset asks where a config's windows count from ``as_of``, and it is
    not given (``configs.load.FindAsOf``): it reads no rows, and any moment will do that the windows
    of the backbone allow. Raises ``InputError`` where there is no backbone.
    """

    def find(_: object) -> datetime | None:
        trained_with = job.experiment()
        return trained_with.as_of or max(split.end for split in trained_with.splits.values())

    return find


def check_split(experiment: Experiment, split: str | None) -> None:
    """Raises ``InputError`` where a split that is named is none of the config's."""
    if split is not None and split not in experiment.splits:
        raise InputError(
            f"--split: '{split}' is no split of this config{did_you_mean(split, experiment.splits)}"
        )


def check_dataset(data: Path, *splits: str) -> None:
    """Raises ``InputError`` where there is no finished dataset, or one of these splits of it has no
    row.
    """
    manifest = load_manifest(data)
    manifest.check_splits(data, [name for name in splits if name in manifest.splits])


def check_older(job: Job, older: Job) -> None:
    """Raises ``InputError`` where a backbone shall go on from a job that has none, and needs it."""
    if older.finished or job.goes_on_alone:
        return
    found = "holds no finished backbone" if older.folder.is_dir() else "no such job"
    begun = f", which {job.folder} needs up to its first checkpoint" if job.ancestor() else ""
    raise InputError(
        f"--from: {older.folder}: {found}; expected the folder of a finished one{begun}"
    )


def check_kernels(job: Job) -> None:
    """Raises ``InputError``, which names the missing step, where there is no kernel to evaluate."""
    job.check_finished()
    if not KernelStore(job).domains():
        raise InputError(f"{job.kernels}: no kernel yet; run python -m trainer.task finetune first")


def check_evaluated(job: Job) -> None:
    """Raises ``InputError``, which names the missing step, where there is nothing to report."""
    metrics = job.reports / "metrics.json"
    if not metrics.exists():
        check_kernels(job)
        raise InputError(f"{metrics}: not found; run python -m trainer.task evaluate first")
