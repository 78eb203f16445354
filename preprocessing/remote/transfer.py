"""Files on their way between a local folder and a remote one, several at a time, each checked by
its sha256 as it passes.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from configs.errors import InputError
from configs.files import unsynced_file, write_unsynced
from preprocessing import filesystem

THREADS = 8
"""Files at once: a request waits for the store most of its time."""

_PART = 1 << 20


@dataclass(frozen=True)
class Transfer:
    """A file that is brought to the other side.

    Attributes:
      local: its path here.
      remote: its path there.
      sha256: that it must have.
      bytes: that it must have; None where they are not known.
    """

    local: Path
    remote: str
    sha256: str
    bytes: int | None = None


def download(transfers: Iterable[Transfer]) -> None:
    """Writes local files, each whole or not at all.

    Raises:
      InputError: a file is not the one that was expected.
      FileNotFoundError: a file is not there.
      OSError: it cannot be read or written.
    """
    _each(_download, transfers)


def upload(transfers: Iterable[Transfer]) -> None:
    """Writes remote files under names that are nobody's yet. Raises ``InputError`` where a local
    file changes meanwhile, ``OSError`` where the store refuses one.
    """
    _each(_upload, transfers)


def digest_of_beginning(path: Path, size: int) -> str:
    """Sha256 of a file's first bytes: what ``upload`` brings of it."""
    digest = hashlib.sha256()
    for part in _beginning(path, size):
        digest.update(part)
    return digest.hexdigest()


def _each(bring: Callable[[Transfer], None], transfers: Iterable[Transfer]) -> None:
    if transfers := list(transfers):
        with ThreadPoolExecutor(min(len(transfers), THREADS)) as pool:
            for _ in pool.map(bring, transfers):  # the first that fails stops the rest
                pass


def _download(transfer: Transfer) -> None:
    if transfer.bytes == 0:
        write_unsynced(transfer.local, b"")
        return
    digest = hashlib.sha256()
    with unsynced_file(transfer.local) as file:
        for part in filesystem.read_parts(transfer.remote):
            file.write(part)
            digest.update(part)
        if digest.hexdigest() != transfer.sha256:
            raise InputError(
                f"{transfer.remote}: damaged: its sha256 is not the one that was listed; upload it"
                " again, or choose another place"
            )


def _upload(transfer: Transfer) -> None:
    written = filesystem.put(transfer.remote, _beginning(transfer.local, transfer.bytes))
    if written != transfer.sha256:
        raise InputError(f"{transfer.local}: changed while it was uploaded; run this again")


def _beginning(path: Path, size: int | None) -> Iterator[bytes]:
    """A file's bytes, of which more may have come since it was looked at: logs grow."""
    with path.open("rb") as file:
        left = path.stat().st_size if size is None else size
        while left and (part := file.read(min(_PART, left))):
            left -= len(part)
            yield part
