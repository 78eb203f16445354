"""Where writers build: hidden folders beside what they will become.

Whatever is unfinished stands in a folder ``.aside-*``. Its writer holds a lock (``flock``) on
``.aside-*/.lock`` for as long as it lives; the operating system takes the lock from a process that
dies. So the next writer into the same folder removes the asides that nobody holds, and no others.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.errors import InputError

ASIDE = ".aside-"
FORMER = ".former"
"""In an aside: what a folder that is replaced was until now."""
_LOCK = ".lock"
_TEMPORARY = "TMPDIR"
_RESERVE = 1 << 16
"""Bytes that a folder's lock holds for when the disk is full: what removes things needs some."""
_SYNCING_THREADS = 8


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """An empty hidden folder in ``folder`` (made where it is missing), removed in the end, after
    those that killed writers left.
    """
    make_folder(folder)
    _sweep(folder)
    while True:
        place = Path(tempfile.mkdtemp(dir=folder, prefix=ASIDE))
        try:
            lock = _lock(place)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        if lock is not None:  # else another writer took it for a leftover in this very moment
            break
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(lock)


@contextmanager
def sole_writer(folder: Path, *, full: bool = False) -> Iterator[Path]:
    """Waits until no other process or thread writes into a folder; gives an empty folder in it to
    build in, removed in the end.

    Args:
      folder: is made where it is missing.
      full: on a full disk, take the bytes that earlier writers have set aside for this.

    Whatever else is hidden here while the lock is held was left by a writer that was killed, and
    is removed first. Readers need no lock: they see only what was renamed into place.

    Raises:
      InputError: the folder cannot be written to.
    """
    try:
        make_folder(folder)
        lock = (folder / _LOCK).open("ab")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: waiting for another writer", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if full:
            lock.truncate(0)
        try:
            _empty(folder, lambda name: name.startswith(".") and not name.startswith(ASIDE))
            with aside(folder) as place:
                new = place / "new"
                new.mkdir()
                yield new
        finally:
            with suppress(OSError):  # there is no room for it now
                os.posix_fallocate(lock.fileno(), 0, _RESERVE)


@contextmanager
def work_folder(folder: Path) -> Iterator[None]:
    """An empty folder whose name other processes know, such as workers that fill it; removed in
    the end. What a killed writer left in it is removed first.

    Raises:
      InputError: a writer that lives is at work in it.
    """
    with held(folder):
        try:
            _empty(folder, lambda name: True)
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(folder: Path, advice: str = "wait for it, or stop it") -> Iterator[None]:
    """Holds a folder (made where it is missing), which stays as it is, against other processes.

    Args:
      folder: to hold.
      advice: what to do where a process that lives holds it; the message ends with it.

    Raises:
      InputError: one does.
    """
    make_folder(folder)
    lock = _lock(folder)
    if lock is None:
        raise InputError(f"{folder}: another run is at work here; {advice}")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def temporary_files() -> Iterator[None]:
    """Has this process, and those that it starts, keep temporary files (its libraries', too) in an
    aside of the system's folder for them: what a killed process left there is removed by the next.
    """
    former, environment = tempfile.tempdir, os.environ.get(_TEMPORARY)
    with aside(Path(tempfile.gettempdir())) as place:
        tempfile.tempdir = os.environ[_TEMPORARY] = str(place)
        try:
            yield
        finally:
            tempfile.tempdir = former
            if environment is None:
                del os.environ[_TEMPORARY]
            else:
                os.environ[_TEMPORARY] = environment


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, for good, where they are missing."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    sync_all(path.parent for path in missing)


def sync(path: Path) -> None:
    """Makes a file's content, or what was created, renamed or deleted in a folder, survive the
    loss of power.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[Path]) -> None:
    """``sync`` of many, several at a time."""
    if paths := list(paths):
        with ThreadPoolExecutor(min(len(paths), _SYNCING_THREADS)) as pool:
            list(pool.map(sync, paths))


def _sweep(folder: Path) -> None:
    for place in folder.glob(f"{ASIDE}*"):
        with suppress(OSError):  # it is another user's: not ours to remove
            if (lock := _lock(place)) is None:
                continue
            try:
                _finish_replacing(place)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)


def _finish_replacing(place: Path) -> None:
    """Puts a folder in place whose writer was killed when it had taken the former one away."""
    if not (place / FORMER).exists():
        return
    for new in place.iterdir():
        target = place.parent / new.name
        if not new.name.startswith(".") and not target.exists():
            new.rename(target)
            sync(target.parent)


def _lock(place: Path) -> int | None:
    """Descriptor that holds a folder's lock; None where another writer holds it or has just
    removed the folder.
    """
    path = place / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _empty(folder: Path, unwanted: Callable[[str], bool]) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK and unwanted(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
