"""One writer of a folder at a time, and nothing left of writers that were killed."""

import errno
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def read_json(path: Path) -> Any:
    """Reads JSON. Raises ``InputError`` where the file is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run the step that writes it first") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from None


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Reads a JSON object that has the given keys. Raises ``InputError`` where the file is
    missing or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content.keys() >= set(keys):
        raise InputError(
            f"{path}: expected a JSON object" + (f" with {', '.join(keys)}" if keys else "")
        )
    return content


def write_json(path: Path, content: Any) -> None:
    """Writes JSON aside and renames it into place."""
    write_bytes(path, json.dumps(content, indent=1, allow_nan=False).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file aside and renames it into place; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}-", delete=False
    ) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Makes what was created, renamed or deleted in a folder survive the loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """A folder to fill; it becomes ``target`` (which must not exist) when the block ends well, and
    is removed when it does not.

    Raises:
      InputError: somebody else has written ``target`` meanwhile; theirs stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield aside
        aside.chmod(0o755)
        try:
            aside.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise InputError(
                f"{target}: another run has written it meanwhile; run this again"
            ) from None
        sync(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
