"""Files with the sha256 that they must have: whoever writes a file that others rely on lists it,
and whoever reads it asks here.

A file is hashed once a process, however often it is read: a file that changes while a run is at
work is not looked for.
"""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError

_THREADS = 4
_sound: set[tuple[str, str, int, int, int]] = set()
"""Path, sha256, inode, size and time of the files that this process has found to be what they
should be.
"""


@dataclass(frozen=True)
class Listed:
    """A file with the sha256 that it must have."""

    path: Path
    sha256: str


def sha256_of(path: Path) -> str:
    """Sha256 of a file, in hexadecimal. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_files(files: Iterable[Listed], listed_in: str, advice: str) -> None:
    """Hashes files, several at a time, unless this process has done so already.

    Args:
      files: what is listed.
      listed_in: what lists them, for the message.
      advice: what to do where one is missing or damaged; the message ends with it.

    Raises:
      InputError: names the first file that is missing or is not the one that was listed.
    """
    files = list(files)
    if not files:
        return
    with ThreadPoolExecutor(min(len(files), _THREADS)) as pool:
        problems = list(pool.map(lambda file: _problem(file, listed_in), files))
    for file, problem in zip(files, problems, strict=True):
        if problem:
            raise InputError(f"{file.path}: {problem}; {advice}")


def is_sound(file: Listed) -> bool:
    """Whether a file is there and is the one that was listed."""
    return not _problem(file, "")


def read_listed(file: Listed, listed_in: str, advice: str) -> bytes:
    """A small file's content, checked. Raises ``InputError`` as ``check_files``."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise InputError(f"{file.path}: {_unreadable(error, listed_in)}; {advice}") from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(f"{file.path}: {_damaged(listed_in)}; {advice}")
    return content


def _problem(file: Listed, listed_in: str) -> str:
    try:
        status = file.path.stat()
        known = (
            os.fspath(file.path.absolute()),
            file.sha256,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
        )
        if known in _sound:
            return ""
        received = sha256_of(file.path)
    except OSError as error:
        return _unreadable(error, listed_in)
    if received != file.sha256:
        return _damaged(listed_in)
    _sound.add(known)
    return ""


def _unreadable(error: OSError, listed_in: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"missing: {listed_in} lists it"
    return f"cannot be read: {error.strerror}"


def _damaged(listed_in: str) -> str:
    return f"damaged: its sha256 is not the one that {listed_in} lists"
