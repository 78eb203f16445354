"""The small files beside a job's kernels that say what is served, pinned and decided, and
``sums.json``, which says that they are what was written.

A file is listed with the sha256 that it may have: while it is written its former and its new one,
else one alone. So a reader, who never waits, and a writer that is killed find nothing wrong.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.digests.sealed_json import SEAL, read_sealed, write_sealed
from configs.errors import InputError
from configs.files import read_json, read_object, write_json

ACTIVE, PINNED, DECISIONS = "active.json", "pinned.json", "decisions.json"
_NAMES = (ACTIVE, PINNED, DECISIONS)
_SUMS = "sums.json"
_LOOKS, _MOMENT = 5, 0.02
"""How often a reader looks, and seconds between: a writer may be between two of its files."""


class StateFiles:
    """The files of one registry.

    Args:
      folder: of the kernels.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Any:
        """A file's content; None where there is none and none was written.

        Raises:
          InputError: it is missing, damaged or not what was written last; jobs that are older than
            ``sums.json`` are read as they are.
        """
        path = self._folder / name
        for look in range(_LOOKS):
            listed, content = self._listed(), _bytes(path)
            if listed is None or _digest(content) in listed.get(name, [None]):
                return None if content is None else read_json(path)
            time.sleep(_MOMENT * (look + 1))
        if listed is not None and name not in listed:
            raise InputError(
                f"{self._folder / _SUMS}: damaged: expected the sha256 of every file beside it,"
                f" received none of {name}; restore it, or, where {path} is as it should be, delete"
                " it"
            )
        raise InputError(
            f"{path}: {'missing' if content is None else 'damaged'}: it is not what was written"
            f" last (sha256 in {_SUMS}); restore it, or, where it is as it should be, delete"
            f" {self._folder / _SUMS}"
        )

    def write(self, name: str, content: Any) -> None:
        """Writes a file, whole or not at all; who calls it holds the registry's lock."""
        path = self._folder / name
        new = hashlib.sha256(json.dumps(content, indent=1).encode()).hexdigest()
        allowed = self._listed()
        if allowed is None:  # of a job that is older than it: the others are taken as they are
            there = {other: _digest(_bytes(self._folder / other)) for other in _NAMES}
            allowed = {other: [digest] for other, digest in there.items() if digest}
        self._write_sums(allowed | {name: [_digest(_bytes(path)), new]})
        write_json(path, content)
        self._write_sums(allowed | {name: [new]})

    def settle(self) -> None:
        """Ends what a writer that was killed between two files had begun: each file may then be
        what it is, and nothing else. Who calls it holds the registry's lock.
        """
        allowed = self._listed() or {}
        settled = {
            name: [found] if (found := _digest(_bytes(self._folder / name))) in sums else sums
            for name, sums in allowed.items()
        }
        if settled != allowed:
            self._write_sums(settled)

    def _write_sums(self, sums: Mapping[str, list[str | None]]) -> None:
        write_sealed(self._folder / _SUMS, dict(sorted(sums.items())))

    def _listed(self) -> dict[str, list[str | None]] | None:
        """Name of a file -> the sha256 that it may have, null where it may be missing; None in jobs
        that are older than ``sums.json``, which has been sealed from the first.
        """
        path = self._folder / _SUMS
        if not path.exists():
            return None
        if SEAL not in read_object(path):
            raise InputError(f"{path}: damaged: it has no {SEAL}; restore it, or delete it")
        found = read_sealed(path, "restore it, or delete it", optional=_NAMES)
        if not all(isinstance(sums, list) for sums in found.values()):
            raise InputError(f"{path}: damaged: expected lists of sha256; restore it, or delete it")
        return found


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
