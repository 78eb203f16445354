"""A folder on an object store that is worked on here: taken in, changed by who works on it,
uploaded whole.

Nobody locks an object store. Two runs that work on one remote folder at once are told apart by its
index: who uploads second finds an index that is not the one it began with, and is refused. Between
that look and the one request that writes the new index somebody else may write his; who is
overwritten so finds out when it looks again, at once and at its next upload.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from configs.asides import held
from configs.digests.listed_files import Listed, is_sound
from configs.digests.sealed_json import write_sealed
from configs.errors import InputError
from configs.files import delete
from configs.section import Section, read_section
from preprocessing import filesystem
from preprocessing.remote.index import (
    BEGUN,
    FILES,
    INDEX,
    NOTHING,
    Entry,
    Index,
    read_index,
    write_index,
)
from preprocessing.remote.scratch import called, check_store, copy_of, place_of
from preprocessing.remote.transfer import Transfer, digest_of_beginning, download, upload

KEPT_SECONDS = 6 * 3600
"""For so long the bytes of former uploads stay, for who reads them still."""

_PENDING = "pending.json"
_open: dict[Path, "RemoteFolder"] = {}
_known: dict[tuple[str, int, int, int], str] = {}
"""Path, inode, size and time of files -> the sha256 that this process has found."""


class Pending(Section):
    """An upload that has begun: after which one, and what it uploads."""

    after: str
    index: Index


@dataclass
class RemoteFolder:
    """A remote folder and its local copy.

    Attributes:
      path: where it is.
      local: the copy.
      index: what is there, as far as this run knows.
      former: what was there before this run's last upload.
    """

    path: str
    local: Path
    index: Index = NOTHING
    former: Index = NOTHING
    _pending: Path = field(init=False)

    def __post_init__(self) -> None:
        """The state of an upload lies beside the copy."""
        self._pending = self.local.with_name(_PENDING)

    def take_in(self) -> None:
        """Makes the copy what the remote folder is, after an upload of this copy that was
        interrupted has been finished. Files that are here already are not fetched.

        Raises:
          InputError: what is there was not uploaded by ``publish``, or is damaged.
          OSError: it cannot be read.
        """
        self.index = self._read()
        if self._pending.exists():
            self._go_on(read_section(self._pending, Pending))
        for path in sorted(self.local.rglob("*"), reverse=True):
            name = path.relative_to(self.local).as_posix()
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.is_symlink() or name not in self.index.files:
                path.unlink()
        self.local.mkdir(parents=True, exist_ok=True)
        missing = [name for name in self.index.files if not self._has(name, self.index)]
        try:
            download(self.transfer(name, self.index) for name in missing)
        except FileNotFoundError as error:
            raise InputError(
                f"{error}; it was uploaded anew meanwhile, or is damaged: run this again"
            ) from None

    def publish(self) -> None:
        """Uploads the copy as it is now, if it has changed. At any moment the remote folder is the
        former one or this one; who is killed meanwhile goes on in ``take_in``.

        Raises:
          InputError: another run has uploaded since this one has taken the folder in.
          OSError: the store cannot be written to.
        """
        files = _entries(self.local)
        if files == self.index.files:
            return
        following = self.index.following(files)
        pending = Pending(after=self.index.writer, index=following)
        write_sealed(self._pending, pending.model_dump(mode="json"))
        self._put(following)
        delete(self._pending)

    def _put(self, following: Index) -> None:
        there = filesystem.list_stored(self.path)
        places = following.places
        new = [
            name
            for name, place in places.items()
            if place not in there or there[place].bytes != following.files[name].bytes
        ]
        begun = filesystem.join(self.path, BEGUN)
        if not self.index.generation:
            self._check_alone()  # no mark beside the index of another
            filesystem.put(begun, [b"{}"])
        upload(self.transfer(name, following) for name in new)
        self._check_alone()
        write_index(self.path, following)
        if self._read().writer != following.writer:
            raise self._overtaken()
        if BEGUN in there or not self.index.generation:
            filesystem.delete_stored([begun])
        self.former, self.index = self.index, following
        print(f"{self.path}: uploaded as generation {following.generation}", file=sys.stderr)
        needed = {*places.values(), *self.former.places.values(), INDEX}
        old = [
            stored.path
            for name, stored in there.items()
            if name not in needed and stored.age > KEPT_SECONDS and _ours(name)
        ]
        if old:
            filesystem.delete_stored(old)

    def _go_on(self, pending: Pending) -> None:
        """Finishes an upload that was interrupted, unless another has come since."""
        if pending.after == self.index.writer and all(
            self._has(name, pending.index) for name in pending.index.files
        ):
            print(f"{self.path}: going on with an interrupted upload", file=sys.stderr)
            self._put(pending.index)
        delete(self._pending)

    def _read(self) -> Index:
        index = read_index(self.path)
        if index is None:
            there = filesystem.list_files(self.path)
            if strange := next((name for name in there if not _ours(name)), None):
                raise InputError(
                    f"{self.path}: holds {strange} and no {INDEX}; expected an empty place, or a"
                    " folder that was uploaded; upload a local one with python -m"
                    " preprocessing.remote put"
                )
            if there and BEGUN not in there:
                raise InputError(
                    f"{self.path}: holds {FILES}/ and no {INDEX}: what was uploaded there has lost"
                    f" it; restore {INDEX} (a bucket that keeps versions has it), choose another"
                    " place, or delete all that is there to begin anew"
                )
        return index or NOTHING

    def _check_alone(self) -> None:
        if self._read().writer != self.index.writer:
            raise self._overtaken()

    def _overtaken(self) -> InputError:
        return InputError(
            f"{self.path}: another run has uploaded since this one began with generation"
            f" {self.index.generation}; what this run has changed since is in"
            f" {self.local.parent} until the next one; run it again, one run at a time"
        )

    def _has(self, name: str, index: Index) -> bool:
        path = self.local / name
        return not path.is_symlink() and is_sound(Listed(path, index.files[name].sha256))

    def transfer(self, name: str, index: Index) -> Transfer:
        """A file of an index on its way to or from this copy."""
        entry = index.files[name]
        place = f"{FILES}/{name}/{entry.sha256}"
        remote = filesystem.join(self.path, place)
        return Transfer(self.local / name, remote, entry.sha256, entry.bytes)


@contextmanager
def taken_in(path: str, scratch: Path) -> Iterator[RemoteFolder]:
    """A remote folder to work on; what is changed is uploaded by ``RemoteFolder.publish`` alone.

    Errors that name the copy are raised again with the name of the remote folder.

    Args:
      path: of the remote folder; there may be nothing yet.
      scratch: folder of all copies.

    Raises:
      InputError: another run of this machine works on the copy, or as ``RemoteFolder.take_in``.
    """
    check_store(path)
    local = copy_of(scratch, path)
    with (
        called(local, path),
        held(place_of(scratch, path), "wait for it, or give another --scratch"),
    ):
        folder = RemoteFolder(path, local)
        folder.take_in()
        _open[local.resolve()] = folder
        try:
            yield folder
        finally:
            del _open[local.resolve()]


@contextmanager
def part_here(path: str, beginnings: tuple[str, ...]) -> Iterator[str]:
    """Some files of a folder, to be read: a local copy of them where it is a remote one that has an
    index, else the folder as it is.

    Args:
      path: of the folder.
      beginnings: of the names of these files.

    Raises:
      InputError: a file is damaged.
      OSError: it cannot be read.
    """
    index = None if filesystem.is_local(path) else read_index(path)
    if index is None:
        yield path
        return
    names = [name for name in index.files if name.startswith(beginnings)]
    with tempfile.TemporaryDirectory(prefix="part-") as local:
        part = RemoteFolder(path, Path(local) / "part")
        download(part.transfer(name, index) for name in names)
        yield str(part.local)


def publish(path: Path) -> None:
    """Uploads the remote folder whose copy a path lies in; nothing where it lies in none."""
    for local, folder in _open.items():
        if path.resolve().is_relative_to(local):
            folder.publish()


def name_of(path: Path) -> str:
    """What a path is called where it lies in the copy of a remote folder: its remote path."""
    for local, folder in _open.items():
        if path.resolve().is_relative_to(local):
            parts = path.resolve().relative_to(local).parts
            return filesystem.join(folder.path, *parts)
    return str(path)


def _ours(name: str) -> bool:
    """Whether an object may be a part of a folder that was uploaded."""
    return name.startswith((f"{FILES}/", INDEX))


def _entries(local: Path) -> dict[str, Entry]:
    """The files of a folder but for links and what is hidden: locks, and what is half written."""
    found = {}
    for path in sorted(local.rglob("*")):
        relative = path.relative_to(local)
        if not path.is_symlink() and path.is_file() and not _hidden(relative):
            status = path.stat()
            key = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
            digest = _known.get(key) or digest_of_beginning(path, status.st_size)
            _known[key] = digest
            found[relative.as_posix()] = Entry(bytes=status.st_size, sha256=digest)
    return found


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
