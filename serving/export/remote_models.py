"""A model's base path on an object store: its newest version is taken in, so that the next can
share its files, and a new version appears there at once.

TensorFlow Serving takes every folder with a number for a name for a version, as soon as the store
lists one object in it, and refuses to load one without ``saved_model.pb`` for now (it tries again a
few times, a minute apart). An object store cannot rename a folder. So a version is uploaded beside,
into a folder whose name is no number, copied into place within the store, and ``saved_model.pb``
comes last.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.asides import held
from configs.digests.listed_files import Listed, is_sound, sha256_of
from configs.errors import InputError
from configs.files import delete, write_bytes
from preprocessing import filesystem
from preprocessing.remote.folder import KEPT_SECONDS
from preprocessing.remote.scratch import called, check_store, copy_of, place_of
from preprocessing.remote.transfer import Transfer, download, upload
from serving.export.export_manifest import Record
from serving.wire.version_files import RECORD, SAVED_MODEL, whole_versions

_ASIDE = ".uploading-"


@contextmanager
def models_here(path: str, scratch: Path) -> Iterator[Path]:
    """A local base path with the newest version of a remote one; of older versions there are empty
    folders, so that their numbers are taken.

    Args:
      path: the remote base path; there may be nothing yet.
      scratch: folder of all copies.

    Raises:
      InputError: no such store, or another run of this machine works on the copy.
      OSError: it cannot be read.
    """
    check_store(path)
    folder = copy_of(scratch, path)
    with held(place_of(scratch, path), "wait for it, or give another --scratch"):
        numbers = whole_versions(filesystem.list_files(path))
        for local in folder.iterdir() if folder.is_dir() else ():
            if local.name not in map(str, numbers[-1:]):
                delete(local)
        for number in numbers:
            (folder / str(number)).mkdir(parents=True, exist_ok=True)
        if numbers:
            _take_in(filesystem.join(path, str(numbers[-1])), folder / str(numbers[-1]))
        with called(folder, path):
            yield folder


def upload_version(version: Path, path: str) -> None:
    """Uploads a version into a remote base path, where it is whole as soon as it has
    ``saved_model.pb``.

    Args:
      version: its local folder; the name is its number.
      path: the remote base path.

    Raises:
      InputError: there is such a version already, or there is another afterwards.
      OSError: the store cannot be written to.
    """
    own = f"{_ASIDE}{version.name}-{secrets.token_hex(4)}"
    aside = filesystem.join(path, own)
    target = filesystem.join(path, version.name)
    names = sorted(
        (file.relative_to(version).as_posix() for file in version.rglob("*") if file.is_file()),
        key=lambda name: (name == SAVED_MODEL, name),
    )
    upload(
        Transfer(version / name, filesystem.join(aside, name), sha256_of(version / name))
        for name in names
    )
    there = filesystem.list_stored(path)
    if int(version.name) in whole_versions(there):
        raise _taken(target)
    left = [stored.path for name, stored in there.items() if name.startswith(f"{version.name}/")]
    left += [
        stored.path
        for name, stored in there.items()
        if name.startswith(_ASIDE) and not name.startswith(f"{own}/") and stored.age > KEPT_SECONDS
    ]
    if left:  # of exports that were killed
        filesystem.delete_stored(left)
    moves = [(filesystem.join(aside, name), filesystem.join(target, name)) for name in names]
    filesystem.move(moves[:-1])
    filesystem.move(moves[-1:])
    if filesystem.read(filesystem.join(target, str(RECORD))) != (version / RECORD).read_bytes():
        raise _taken(target)


def _taken(target: str) -> InputError:
    return InputError(
        f"{target}: another run has exported it meanwhile; a version never changes: run this again,"
        " and let one run at a time export here"
    )


def _take_in(remote: str, version: Path) -> None:
    """Fetches a version by its record. One without, or a damaged one, cannot be built on: what is
    fetched of it then says so.
    """
    try:
        content = filesystem.read(filesystem.join(remote, str(RECORD)))
    except FileNotFoundError:
        return
    write_bytes(version / RECORD, content)
    record = Record.read(version)
    wanted = [
        Transfer(version / name, filesystem.join(remote, name), entry.sha256, entry.bytes)
        for name, entry in (record.files if record else {}).items()
    ]
    with suppress(InputError, FileNotFoundError):
        download(one for one in wanted if not is_sound(Listed(one.local, one.sha256)))
