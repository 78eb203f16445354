"""Where remote folders are worked on: a local folder for each, named after its path."""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from configs.errors import InputError
from configs.files import check_no_pattern
from preprocessing import filesystem

_STORES = ("gs://", "s3://")


def add_scratch_argument(parser: argparse.ArgumentParser) -> None:
    """``--scratch DIR``."""
    parser.add_argument(
        "--scratch",
        type=Path,
        metavar="DIR",
        help=(
            "where folders at gs:// and s3:// are taken in and worked on; what is there already is"
            " not fetched again (a folder of your own among the system's temporary files)"
        ),
    )


def check_store(path: str) -> None:
    """Raises ``InputError`` where a path is on no store that shows an object whole or not at all,
    or has a part that would lead its local copy, which is named after it, to another folder.
    """
    if not path.startswith(_STORES) or not path.partition("://")[2].strip("/"):
        raise InputError(
            f"{path}: expected a local folder, or one at {' or '.join(_STORES)}BUCKET/..."
        )
    if {".", ".."} & set(path.split("/")):
        raise InputError(
            f"{path}: expected a path without the parts '.' and '..', which stores do not resolve"
        )
    check_no_pattern(path)


def scratch_folder(given: Path | None) -> Path:
    """The folder that is given, or this user's own among the system's temporary files. Raises
    ``InputError`` where that one is another's.
    """
    if given is not None:
        return given
    folder = Path(tempfile.gettempdir()) / f"domain-kernel-recommender-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder}: is not yours; give a folder with --scratch")
    return folder


def place_of(scratch: Path, path: str, content: str = "") -> Path:
    """Where a remote folder is worked on, and its state is kept.

    Args:
      scratch: of ``scratch_folder``.
      path: of the remote folder.
      content: says what is taken in of it, where it may be several things; nothing by default.
    """
    name = path.rstrip("/").rpartition("/")[2]
    digest = hashlib.sha256(f"{path.rstrip('/')}\n{content}".encode()).hexdigest()
    return scratch / f"{name}-{digest[:12]}"


def copy_of(scratch: Path, path: str, content: str = "") -> Path:
    """The local folder itself; its name is the remote one's."""
    return place_of(scratch, path, content) / path.rstrip("/").rpartition("/")[2]


@contextmanager
def called(local: Path, path: str) -> Iterator[None]:
    """Calls a copy by the name of the remote folder in all that people are told meanwhile: in what
    is printed, and in an ``InputError``, which is raised again.
    """
    out, err = (_Calling(stream, str(local), path) for stream in (sys.stdout, sys.stderr))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    except InputError as error:
        raise InputError(str(error).replace(str(local), path)) from None


class _Calling:
    """A stream that calls a copy by the name of the remote folder."""

    def __init__(self, stream: TextIO, local: str, path: str) -> None:
        self._stream, self._local, self._path = stream, local, path

    def write(self, text: str) -> int:
        self._stream.write(text.replace(self._local, self._path))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_remote(path: object) -> bool:
    """Whether a command was given a folder that is not local."""
    return isinstance(path, str) and not filesystem.is_local(path)
