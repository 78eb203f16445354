"""Files on any Beam filesystem: whole or not at all. Beam itself, a second to import, is loaded
where a path needs it.
"""

import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any, BinaryIO, cast

_RAW = {"mime_type": "application/octet-stream", "compression_type": "uncompressed"}


def is_local(path: str) -> bool:
    """Whether the path has no scheme such as ``gs://``."""
    return not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path)


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
    """Writes a file aside, then renames it: another process sees the whole file or none. Returns
    the content's sha256.
    """
    aside = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
    with _beam().create(aside, **_RAW) as file:
        file.write(content)
    _beam().rename([aside], [path])
    return hashlib.sha256(content).hexdigest()


def list_files(folder: str) -> dict[str, str]:
    """All files below a folder: path relative to it -> full path, in the order of the relative
    paths.
    """
    root = folder.rstrip("/") + "/"
    found = [file.path for match in _beam().match([f"{root}**"]) for file in match.metadata_list]
    return dict(sorted((path[path.index(root) + len(root) :], path) for path in found))


def move(moves: list[tuple[str, str]]) -> None:
    """Renames files; folders of the targets are made where the filesystem has folders."""
    for folder in {target.rpartition("/")[0] for _, target in moves}:
        if is_local(folder):
            Path(folder).mkdir(parents=True, exist_ok=True)
    if moves:
        _beam().rename([source for source, _ in moves], [target for _, target in moves])


def delete(paths: list[str]) -> None:
    """Deletes files; locally also folders with all they hold. What is not there is no error."""
    there = [path for path in paths if exists(path)]
    if there:
        _beam().delete(there)


def delete_folder(folder: str) -> None:
    """Deletes a folder and all it holds."""
    if is_local(folder):
        delete([folder])
    else:
        delete(list(list_files(folder).values()))


def _beam() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
