"""A dataset on another filesystem, taken in to a local folder by its manifest."""

import hashlib
import sys
from collections.abc import Collection
from pathlib import Path

from configs.asides import sole_writer
from configs.digests.listed_files import Listed, is_sound
from configs.errors import InputError
from configs.files import write_bytes
from preprocessing import filesystem
from preprocessing.dataset.manifest import MANIFEST, load_manifest
from preprocessing.remote.scratch import copy_of, place_of
from preprocessing.remote.transfer import Transfer, download


def staged_dataset(path: str, scratch: Path, only: Collection[str] | None = None) -> Path:
    """Takes a dataset in: its manifest and what that lists, but for rejected rows. Files that are
    here already, of an earlier run or one that was interrupted, are not fetched again.

    Args:
      path: of the dataset, on any filesystem of Beam's.
      scratch: folder of all copies. Each manifest has a folder of its own there, so a dataset that
        is written anew does not change what another run reads.
      only: the files that are wanted beside the manifest; all that it lists where None.

    Returns:
      The local folder.

    Raises:
      InputError: there is no finished dataset, or a file is missing or damaged.
      OSError: it cannot be read.
    """
    source = filesystem.join(path, MANIFEST)
    try:
        content = filesystem.read(source)
    except FileNotFoundError:
        raise InputError(
            f"{source}: not found; expected a dataset written by preprocessing.task"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    place, folder = place_of(scratch, path, digest), copy_of(scratch, path, digest)
    with sole_writer(place) as new:
        write_bytes(new / MANIFEST, content)
        manifest = load_manifest(new)
        wanted = [
            Transfer(folder / file.path, filesystem.join(path, file.path), file.sha256)
            for file in manifest.files()
            if file not in manifest.rejected_files and (only is None or file.path in only)
        ]
        missing = [one for one in wanted if not is_sound(Listed(one.local, one.sha256))]
        if missing:
            print(f"{path}: fetching {len(missing)} of {len(wanted)} files", file=sys.stderr)
        try:
            download(missing)
        except FileNotFoundError as error:
            raise InputError(
                f"{error}; {MANIFEST} lists it; run this again where the dataset was written anew"
                " meanwhile, else run preprocessing.task again"
            ) from None
        write_bytes(folder / MANIFEST, content)
    return folder
