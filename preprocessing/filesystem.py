"""Files on any Beam filesystem, whole or not at all: local ones by ``configs.files``.

Beam itself, a second to import, is loaded where a path needs it.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from configs import files

_RAW = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}


def is_local(path: str) -> bool:
    """Whether the path has no scheme such as ``gs://``."""
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path)


def same_folder(first: str, second: str) -> bool:
    """Whether two paths are of one folder, as far as their names and local links tell."""
    if is_local(first) and is_local(second):
        return Path(first).resolve() == Path(second).resolve()
    return first.rstrip("/") == second.rstrip("/")


def join(folder: str, *parts: str) -> str:
    """A path inside a folder."""
    if is_local(folder):
        return os.path.join(folder, *parts)  # noqa: PTH118 - a path is a text here
    joined: str = _beam().join(folder, *parts)
    return joined


def open_raw(path: str) -> BinaryIO:
    """Opens a file's bytes as they are: an extension such as ``.gz`` changes nothing."""
    if is_local(path):
        return Path(path).open("rb")
    return cast(BinaryIO, _beam().open(path, **_RAW))


def read(path: str) -> bytes:
    """A file's bytes."""
    with open_raw(path) as file:
        return file.read()


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    return bool(_beam().exists(path))


def write(path: str, content: bytes) -> str:
    """Writes a file aside, then renames it: another process sees the whole file or none. A local
    one is not on disk for certain until ``move`` has moved it. Returns the content's sha256.
    """
    return write_parts(path, (content,))


def write_parts(path: str, parts: Iterable[bytes]) -> str:
    """Writes a file as ``write`` does, of which no more than a part is in memory at a time."""
    digest = hashlib.sha256()
    with _new_file(path) as file:
        for part in parts:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def list_files(folder: str) -> dict[str, str]:
    """All files below a folder: path relative to it -> full path, in the order of the relative
    paths.
    """
    root = folder.rstrip("/") + "/"
    found = [file.path for match in _beam().match([f"{root}**"]) for file in match.metadata_list]
    return dict(sorted((path[path.index(root) + len(root) :], path) for path in found))


def move(moves: list[tuple[str, str]]) -> None:
    """Renames files, local ones or remote ones alike; folders of the targets are made where the
    filesystem has folders. What is local is on disk before it is moved.
    """
    if not moves:
        return
    if all(is_local(path) for move in moves for path in move):
        files.publish((Path(source), Path(target)) for source, target in moves)
    else:
        remote = _beam()
        remote.rename([source for source, _ in moves], [target for _, target in moves])


def delete(paths: list[str]) -> None:
    """Deletes files; locally also folders with all they hold. What is not there is no error."""
    for path in filter(is_local, paths):
        files.delete(Path(path))
    there = [path for path in paths if not is_local(path) and exists(path)]
    if there:
        _beam().delete(there)


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
    remote, aside = _beam(), f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    with remote.create(aside, **_RAW) as file:
        yield file
    remote.rename([aside], [path])


def _beam() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
