"""One writer of a folder at a time, and nothing left of writers that were killed."""

import fcntl
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs import InputError

_LOCK = ".lock"


@contextmanager
def sole_writer(folder: Path) -> Iterator[Path]:
    """Waits until no other process or thread writes into a folder; gives an empty folder in it to
    build in, removed in the end.

    The operating system takes the lock from a process that dies. So whatever else is hidden here
    while the lock is held was left by one that was killed, and is removed first. Readers need no
    lock: they see only what was renamed into place.

    Raises:
      InputError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from None
    with lock:
        _wait_for(lock.fileno(), folder)
        _sweep(folder)
        aside = Path(tempfile.mkdtemp(dir=folder, prefix=".aside-"))
        aside.chmod(0o755)
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)  # nothing where it was renamed into place


def _wait_for(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{folder}: waiting for another writer", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name != _LOCK:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
