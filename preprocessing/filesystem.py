"""Files on any Beam filesystem, whole or not at all: local ones by ``configs.files``.

Beam itself, a second to import, is loaded where a path needs it.
"""

import glob
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from configs import files
from configs.digests.code import install_words
from configs.errors import A_FOLDER, InputError
from preprocessing import s3_objects
from preprocessing.s3_objects import is_s3

_PART = 1 << 20
_EXTRAS = {"s3": "aws", "gs": "gcp"}
_RAW = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}


def is_local(path: str) -> bool:
    """Whether the path has no scheme such as ``gs://``."""
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path)


def folder_argument(text: str, name: str = "a folder's name") -> Path | str:
    """An argparse type: a local folder as a path, any other as the text that it is (a path would
    lose one of the slashes of ``gs://``). Raises ``InputError`` where it is empty.

    Args:
      text: as it was given.
      name: of the argument, in messages.
    """
    if not text:
        raise InputError(f"{name} is empty; expected {A_FOLDER}")
    shorter = text.rstrip("/")
    return Path(text) if is_local(text) else text if is_local(shorter) else shorter


def one_name(folder: str) -> str:
    """A folder's name in the one way in which names of folders are compared: relative or not, with
    a slash at its end or without, by a local link or not, it is the same.
    """
    return str(Path(folder).resolve()) if is_local(folder) else folder.rstrip("/")


def join(folder: str, *parts: str) -> str:
    """A path inside a folder."""
    if is_local(folder):
        return os.path.join(folder, *parts)  # noqa: PTH118 - a path is a text here
    with _said(folder):
        joined: str = _beam().join(folder, *parts)
        return joined


def open_raw(path: str) -> BinaryIO:
    """Opens a file's bytes as they are: an extension such as ``.gz`` changes nothing."""
    if is_local(path):
        return Path(path).open("rb")
    with _asked(path):
        return cast(BinaryIO, _beam().open(path, **_RAW))


def read(path: str) -> bytes:
    """A file's bytes."""
    return b"".join(read_parts(path))


def read_parts(path: str) -> Iterator[bytes]:
    """A file's bytes, a part at a time."""
    with _asked(path), _opened(path) as file:
        while part := file.read(_PART):
            yield part


def look(*paths: str) -> None:
    """Raises ``InputError`` where one is at a store that cannot be asked: what reads it is not
    installed, it does not answer, or has no such bucket. For commands, before they work.
    """
    for path in paths:
        with _asked(path):
            pass


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    with _asked(path):
        return bool(_beam().exists(path))


def write(path: str, content: bytes) -> str:
    """Writes a file aside, then renames it: another process sees the whole file or none. A local
    one is not on disk for certain until ``move`` has moved it. Returns the content's sha256.
    """
    return write_parts(path, (content,))


def write_parts(path: str, parts: Iterable[bytes]) -> str:
    """Writes a file as ``write`` does, of which no more than a part is in memory at a time."""
    digest = hashlib.sha256()
    if is_s3(path):
        parts = filter(None, parts)
        first = next(parts, b"")
        if not first:
            return put(path, ())
        parts = chain((first,), parts)
    with _new_file(path) as file:
        for part in parts:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def put(path: str, parts: Iterable[bytes]) -> str:
    """Writes a file where it shall be, not aside: an object store shows it when it is whole, but a
    writer that is interrupted may end it early. For names that say what the file must hold.

    Returns:
      Sha256 of what was written.
    """
    digest = hashlib.sha256()
    with _asked(path):
        parts = filter(None, parts)
        first = next(parts, b"")
        if not first and is_s3(path):
            s3_objects.put_empty(path, _beam()._pipeline_options)
            return digest.hexdigest()
        with _created(path) as file:
            for part in chain((first,), parts):
                file.write(part)
                digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Stored:
    """A file in a listing: its full path, its bytes, and the seconds since it was written."""

    path: str
    bytes: int
    age: float


def list_files(folder: str) -> dict[str, str]:
    """All files below a folder: path relative to it -> full path, in the order of the relative
    paths.
    """
    return {name: stored.path for name, stored in list_stored(folder).items()}


def list_stored(folder: str) -> dict[str, Stored]:
    """``list_files`` with what else is known of each file."""
    root, now = folder.rstrip("/") + "/", time.time()
    found = (
        (path[path.index(root) + len(root) :], Stored(path, size, now - written))
        for path, size, written in _matching(f"{root}**", folder)
    )
    return dict(sorted(found, key=lambda pair: pair[0]))


def matching(pattern: str) -> list[str]:
    """The files of a glob by Beam's rules, in no order."""
    return [path for path, _, _ in _matching(pattern, pattern)]


def find(pattern: str) -> list[str]:
    """The files of a glob, sorted; of a local one by Python's rules, without Beam."""
    if is_local(pattern):
        return sorted(glob.glob(pattern))  # noqa: PTH207 - it may be absolute
    return sorted(matching(pattern))


def _matching(pattern: str, given: str) -> list[tuple[str, int, float]]:
    """The files of a glob, which ``given`` is in messages."""
    with _asked(given):
        return [
            (file.path, file.size_in_bytes, file.last_updated_in_seconds)
            for match in _beam().match([pattern])
            for file in match.metadata_list
            if not file.path.endswith("/")  # some tools mark empty folders so
        ]


def move(moves: list[tuple[str, str]]) -> None:
    """Renames files, local ones or remote ones alike; folders of the targets are made where the
    filesystem has folders. What is local is on disk before it is moved.
    """
    if not moves:
        return
    if all(is_local(path) for move in moves for path in move):
        files.publish((Path(source), Path(target)) for source, target in moves)
    else:
        with _asked(moves[0][1]):
            remote = _beam()
            remote.rename([source for source, _ in moves], [target for _, target in moves])


def delete(paths: list[str]) -> None:
    """Deletes files; locally also folders with all they hold. What is not there is no error."""
    for path in filter(is_local, paths):
        files.delete(Path(path))
    there = [path for path in paths if not is_local(path) and exists(path)]
    if there:
        delete_stored(there)


def delete_stored(paths: list[str]) -> None:
    """Deletes files that a listing has just named, all at once."""
    with _asked(paths[0]):
        _beam().delete(paths)


def delete_folder(folder: str) -> None:
    """Deletes a folder and all it holds."""
    if is_local(folder):
        delete([folder])
    else:
        delete(list(list_files(folder).values()))


@contextmanager
def _new_file(path: str) -> Iterator[Any]:
    """A file aside, which is renamed where the block ends well."""
    if is_local(path):
        with files.unsynced_file(Path(path)) as file:
            yield file
        return
    aside = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    with _asked(path):
        with _created(aside) as file:
            yield file
        remote = _beam()
        remote.rename([aside], [path])


@contextmanager
def _created(path: str) -> Iterator[Any]:
    remote = _beam()
    if is_s3(path):
        with s3_objects.created(path, remote._pipeline_options) as file:
            yield file
    else:
        with remote.create(path, **_RAW) as file:
            yield file


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    if is_s3(path):
        with s3_objects.opened(path, _beam()._pipeline_options) as file:
            yield file
    else:
        with open_raw(path) as file:
            yield file


@contextmanager
def _asked(path: str) -> Iterator[None]:
    """``_said`` around what asks a store, which is looked at before: where it does not answer, or
    the bucket is not there, that is an ``InputError`` in seconds.
    """
    with _said(path):
        if is_s3(path):
            s3_objects.look(path, _beam()._pipeline_options)
        elif not is_local(path):
            _beam().get_filesystem(path)
        yield


@contextmanager
def _said(path: str) -> Iterator[None]:
    """Says in one line what a remote filesystem's library raises: ``InputError`` where the library
    is not installed, ``FileNotFoundError`` where there is no such file, ``OSError`` otherwise.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each library has its own
        if is_local(path) or type(error) is FileNotFoundError:
            raise
        scheme = path.partition("://")[0]
        missing = "Unable to get filesystem" in str(error) or "boto3" in str(error)
        if missing:
            how = install_words(_EXTRAS[scheme]) if scheme in _EXTRAS else "expected gs:// or s3://"
            raise InputError(
                f"{path}: Beam has no filesystem for {scheme}:// here; {how}"
            ) from None
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            raise InputError(f"{path}: {error}") from None
        details = getattr(error, "exception_details", None) or {}
        cause = next(iter(details.values()), error)
        if 404 in (getattr(cause, "code", None), getattr(error, "code", None)):
            raise FileNotFoundError(f"{path}: not found: {cause}") from None
        raise OSError(f"{path}: {_words(cause)}") from None


def _words(error: BaseException) -> str:
    """What an error says; boto's are a text and a status."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, str) and first else repr(error)


def _beam() -> Any:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # no job has set them; S3 wants some
        FileSystems.set_options(PipelineOptions([]))
    logging.getLogger().addFilter(_news)
    return FileSystems


def _news(record: logging.LogRecord) -> bool:
    """Not what Beam logs of an error that it raises, too."""
    return record.module not in ("s3io", "gcsio")
