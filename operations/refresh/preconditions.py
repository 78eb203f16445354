"""What is looked at before a refresh does anything: its folders, and what earlier ones left."""

import os
from pathlib import Path

from configs.digests.listed_files import Listed, is_sound
from configs.errors import InputError
from operations.refresh.finishing import served_memory
from operations.refresh.progress_file import ProgressFile, State
from preprocessing.dataset.manifest import load_manifest
from trainer.job import Job


def check_places(work: Path, models: Path | None) -> None:
    """Raises ``InputError`` where nothing could be written in the end."""
    for flag, path in (("--work", work), ("--models", models)):
        if path is None:
            continue
        there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise InputError(f"{flag} {path}: {there} is no folder; expected one, or a new one")
        if not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{flag} {path}: {there} cannot be written to")


def later_day(work: Path, day: str) -> Path | None:
    """Folder of the newest day after one that has been learned from; None where there is none.

    Args:
      work: folder of all refreshes.
      day: name of the folder of the one that is asked for; names are in the order of time.
    """
    for folder in sorted(work.glob("*Z"), reverse=True):
        later = ProgressFile(folder).state() if folder.name > day else None
        if later and later.tuned:
            return folder
    return None


def check_order(work: Path, day: str) -> None:
    """Raises ``InputError`` where days after one have been learned from. Arguments are those of
    ``later_day``.
    """
    if folder := later_day(work, day):
        raise InputError(
            f"{folder}: a later day is refreshed already, and {day} would judge by its own rows"
            " what has learned from younger ones; give a later --as-of, or another --work"
        )


def counted_before(progress: ProgressFile, former: State | None, key: str, job: Job) -> list[str]:
    """A note where memory was counted from rows of this day that have changed since.

    Args:
      progress: of the refresh.
      former: what is written down of it.
      key: of what it is of now.
      job: whose memory is served.
    """
    if not former or former.key == key or not former.tuned:
        return []
    now = served_memory(job)
    if now == former.memory:
        return []
    return [
        f"memory version {now} was counted from this day's rows as they were before, and stays; to"
        f" count them anew: trainer.task memory rollback, delete {progress.folder}, and run this"
        " again"
    ]


def has_dataset(folder: Path) -> bool:
    """Whether a folder holds a finished dataset, and every file as it was written."""
    try:
        listed = load_manifest(folder).files()
    except InputError:
        return False
    return all(is_sound(Listed(folder / file.path, file.sha256)) for file in listed)
