"""The one place that says "these files are what was written": sha256 of files and of JSON.

Whoever writes a file that others rely on lists its sha256, or seals it: a JSON object holds the
sha256 of its other keys under ``sha256``. Whoever reads it asks here. A file is hashed once a
process, however often it is read: a file that changes while a run is at work is not looked for.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import read_object, write_json

SEAL = "sha256"
"""The key of a sealed JSON object; objects that are older than seals have none."""

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


def digest_of(content: Any) -> str:
    """Sha256 of JSON content, whatever the order of its keys and the spaces between them."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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


def read_listed(file: Listed, listed_in: str, advice: str) -> bytes:
    """A small file's content, checked. Raises ``InputError`` as ``check_files``."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise InputError(f"{file.path}: {_unreadable(error, listed_in)}; {advice}") from None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(f"{file.path}: {_damaged(listed_in)}; {advice}")
    return content


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its seal."""
    bare = {name: value for name, value in content.items() if name != SEAL}
    return {**bare, SEAL: digest_of(bare)}


def unsealed(content: Mapping[str, Any], path: Path | str, advice: str) -> dict[str, Any]:
    """A JSON object without its seal, which is checked; one that is older than seals as it is.

    Who reads it refuses keys that it does not know, so that a damaged name of the seal's key is
    noticed, too.

    Args:
      content: as it was read.
      path: where, for the message.
      advice: what to do where it is damaged; the message ends with it.

    Raises:
      InputError: something in it is not what was written.
    """
    bare = {name: value for name, value in content.items() if name != SEAL}
    if SEAL in content and content[SEAL] != digest_of(bare):
        raise InputError(f"{path}: damaged: its content is not what was written (sha256); {advice}")
    return bare


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object with its seal, as ``configs.files.write_json`` does."""
    write_json(path, sealed(content))


def read_sealed(
    path: Path, advice: str, *keys: str, optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Reads a JSON object and checks its seal, where it has one.

    Args:
      path: of the file.
      advice: what to do where it is damaged; the message ends with it.
      keys: that it must have.
      optional: that it may have; there are no others.

    Raises:
      InputError: the file is missing or damaged, or holds something else.
    """
    content = unsealed(read_object(path, *keys), path, advice)
    if strange := content.keys() - {*keys, *optional}:
        raise InputError(f"{path}: damaged: unknown key {ascii(min(strange))[:100]}; {advice}")
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
