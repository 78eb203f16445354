"""The memory of a job on disk: ``memory/<version>/`` and ``memory/active.json``.

A version is what counted at one refresh (``counts.Counts``); it appears whole or not at all and
never changes. ``active.json`` says which version of every definition is served: kernels of another
definition of memory have another one.
"""

import hashlib
import io
import json
import re
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, PlainSerializer

from configs import InputError
from configs.asides import sole_writer
from configs.digests.listed_files import Listed, read_listed
from configs.digests.sealed_json import read_sealed, sealed, write_sealed
from configs.files import discard, publish, write_unsynced
from configs.memory import Memory, defined_memory, memory_definition
from configs.section import Section, read_section
from trainer.job import Job
from trainer.memory.counts import Counts, KeyCounts, border_moment

_ACTIVE, _MANIFEST, _COUNTS = "active.json", "manifest.json", "counts.npz"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_AGAIN = "remove this version, and run python -m trainer.task memory refresh again"


Definition = Annotated[
    str,
    BeforeValidator(lambda held: memory_definition(held) if isinstance(held, dict) else held),
    PlainSerializer(json.loads),
]
"""``configs.memory.Memory.definition``, as an object in JSON."""


class MemoryManifest(Section):
    """What a version is.

    Attributes:
      version: from 1 on.
      definition: of the memory.
      labels: columns whose rates they are.
      border: refresh at which it counted.
      until: that moment, ISO 8601.
      covers: seconds since 1970 before which every row counts, where that is not what was known
        then.
      base: the version on top of which it counted; None where it was the first.
      keys: how many are remembered, by name.
      files: the other files and their sha256.
    """

    version: int
    definition: Definition
    labels: tuple[str, ...]
    border: int
    until: str
    covers: int | None = None
    base: int | None = None
    keys: dict[str, int]
    files: dict[str, str]

    @property
    def memory(self) -> Memory:
        """What ``definition`` says."""
        return defined_memory(self.definition)


@dataclass(frozen=True)
class StoredMemory:
    """A version.

    Attributes:
      version: its number.
      memory: its definition.
      counts: what counted.
    """

    version: int
    memory: Memory
    counts: Counts

    @property
    def until(self) -> datetime:
        """The refresh at which it counted."""
        return _moment(self.memory, self.counts.border)


class MemoryStore:
    """The versions of a job's memory."""

    def __init__(self, job: Job) -> None:
        self.folder = job.memory
        self._labels = job.experiment().label_columns

    def versions(self) -> list[int]:
        """All versions, ascending."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted(
            int(name)
            for name in names
            if _VERSION.fullmatch(name) and (self.folder / name).is_dir()
        )

    def active(self) -> dict[str, int]:
        """Digest of a definition -> version that is served. Raises ``InputError`` where the file is
        damaged or names a version that is not stored.
        """
        path = self.folder / _ACTIVE
        if not path.exists():
            return {}
        found = read_sealed(path, "restore it, or activate a version", "active")["active"]
        versions = self.versions()
        if not isinstance(found, dict) or any(v not in versions for v in found.values()):
            raise InputError(
                f"{path}: damaged: expected versions that are stored; activate one of"
                f" {', '.join(map(str, versions)) or 'none'}"
            )
        return found

    def is_active(self, manifest: MemoryManifest) -> bool:
        """Whether a version is what is served."""
        return self.active().get(_digest(manifest.definition)) == manifest.version

    def served(self, memory: Memory) -> StoredMemory:
        """What kernels of a definition are served with. Raises ``InputError`` where there is none
        or it is damaged.
        """
        if (stored := self.served_or_none(memory)) is None:
            raise InputError(
                f"{self.folder}: no memory of the active kernels ({memory.words}); run python -m"
                " trainer.task memory refresh with a dataset of the newest days"
            )
        return stored

    def served_or_none(self, memory: Memory) -> StoredMemory | None:
        """The same; None where there is none."""
        version = self.active().get(_digest(memory.definition))
        return None if version is None else self.load(version)

    def newest_at(self, memory: Memory, border: int) -> StoredMemory | None:
        """What was served of a definition at a border: of the served version and those that it
        stands on, the last that counted, but not after the border; None where there is none. What
        was rolled back from is none of them.
        """
        version = self.active().get(_digest(memory.definition))
        while version is not None and version in self.versions():
            manifest = self.manifest(version)
            if manifest.border <= border:
                return self.load(version)
            version = manifest.base
        return None

    def manifest(self, version: int) -> MemoryManifest:
        """A version's manifest. Raises ``InputError`` where it is missing or damaged."""
        if version not in self.versions():
            known = ", ".join(map(str, self.versions())) or "none"
            raise InputError(f"{self.folder}: no version {version}; there are: {known}")
        manifest = read_section(self.folder / str(version) / _MANIFEST, MemoryManifest)
        if manifest.labels != self._labels:
            raise InputError(
                f"{self.folder / str(version)}: rates of {', '.join(manifest.labels)}; this job's"
                f" labels are {', '.join(self._labels)}"
            )
        return manifest

    def load(self, version: int) -> StoredMemory:
        """Reads a version. Raises ``InputError`` where it is missing or damaged."""
        manifest, folder = self.manifest(version), self.folder / str(version)
        memory = defined_memory(manifest.definition)
        listed = Listed(folder / _COUNTS, manifest.files.get(_COUNTS, ""))
        content = read_listed(listed, _MANIFEST, _AGAIN)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                keys = {
                    name: KeyCounts(arrays[f"{name}/hashes"], arrays[f"{name}/sums"])
                    for name in memory.keys
                }
                counts = Counts(manifest.border, arrays["total"], keys, manifest.covers)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{folder / _COUNTS}: no counts of memory: {error}; {_AGAIN}"
            ) from None
        return StoredMemory(version, memory, counts)

    def add(
        self,
        memory: Memory,
        counts: Counts,
        base: StoredMemory | None = None,
        before: int | None = None,
    ) -> int:
        """Stores a version, unless one holds the same already, and serves it. Returns its number.

        Args:
          memory: its definition.
          counts: what counted.
          base: on top of what.
          before: version that was served when this began to count, 0 for none; None where it does
            not matter.

        Raises:
          InputError: another version is served by now, whose rows this does not count.
        """
        content = _bytes(counts)
        files = {_COUNTS: hashlib.sha256(content).hexdigest()}
        with sole_writer(self.folder) as aside:
            served = self.active().get(_digest(memory.definition), 0)
            if before is not None and served != before:
                raise InputError(
                    f"{self.folder}: another run has changed what is served meanwhile, to version"
                    f" {served}; nothing is changed, run this again"
                )
            version = self._same(memory, files)
            if version is None:
                version = max(self.versions(), default=0) + 1
                manifest = MemoryManifest(
                    version=version,
                    definition=memory.definition,
                    labels=self._labels,
                    border=counts.border,
                    until=_moment(memory, counts.border).isoformat(),
                    covers=counts.covers,
                    base=base.version if base else None,
                    keys={name: len(found.hashes) for name, found in counts.keys.items()},
                    files=files,
                )
                new, about = aside / str(version), sealed(manifest.model_dump(mode="json"))
                write_unsynced(new / _COUNTS, content)
                write_unsynced(new / _MANIFEST, json.dumps(about, indent=1).encode())
                publish([(new, self.folder / new.name)])
            self._serve(version)
        return version

    def served_chains(self) -> list[list[StoredMemory]]:
        """Of each definition the version that is served and those that it stands on, the first one
        first; they begin behind one that is damaged, which is told. Raises ``InputError`` where a
        served one is.
        """
        chains = []
        for version in self.active().values():
            chain = [self.load(version)]
            while (base := self._base_of(chain[0].version)) and base[0] in self.versions():
                try:
                    chain.insert(0, self.load(base[0]))
                except InputError as error:
                    print(f"warning: {error}", file=sys.stderr)
                    break
            chains.append(chain)
        return chains

    def take_over(self, other: "MemoryStore") -> None:
        """Stores and serves what another job remembers, with the versions that it stands on; what
        is there already is found again. Raises ``InputError`` where what is served is damaged.
        """
        for chain in other.served_chains():
            before: StoredMemory | None = None
            for one in chain:
                number = self.add(one.memory, one.counts, before)
                before = StoredMemory(number, one.memory, one.counts)

    def activate(self, version: int) -> None:
        """Serves a version."""
        with sole_writer(self.folder):
            self.load(version)
            self._serve(version)

    def rollback(self, memory: Memory) -> int:
        """Serves, of a definition, the version that the served one stands on; where that cannot be
        read, the newest before it that can. Returns it. Raises ``InputError`` where there is none.
        """
        with sole_writer(self.folder):
            version = self.active().get(_digest(memory.definition))
            if version is None:
                raise InputError(f"{self.folder}: nothing is served of memory {memory.words}")
            older = [number for number in reversed(self.versions()) if number < version]
            for number in (*self._base_of(version), *older):
                try:
                    same = self.load(number).memory.definition == memory.definition
                except InputError:
                    continue
                if same:
                    self._serve(number)
                    return number
        raise InputError(f"{self.folder}: no sound version of this definition before {version}")

    def remove(self, version: int) -> None:
        """Deletes a version that is not served, or is damaged. Works on a full disk."""
        with sole_writer(self.folder, full=True):
            if version not in self.versions():
                self.manifest(version)
            active = self.active()
            if version in active.values():
                try:
                    self.load(version)
                except InputError:
                    left = {digest: other for digest, other in active.items() if other != version}
                    write_sealed(self.folder / _ACTIVE, {"active": left})
                else:
                    raise InputError(
                        f"{self.folder}: version {version} is served; activate another one first"
                    )
            discard(self.folder / str(version))

    def _base_of(self, version: int) -> list[int]:
        try:
            base = self.manifest(version).base
        except InputError:
            return []
        return [] if base is None else [base]

    def _serve(self, version: int) -> None:
        try:
            active = self.active()
        except InputError:  # damaged: what it said of other definitions is lost
            active = {}
        digest = _digest(self.manifest(version).definition)
        if active.get(digest) != version:
            served = dict(sorted((active | {digest: version}).items()))
            write_sealed(self.folder / _ACTIVE, {"active": served})

    def _same(self, memory: Memory, files: dict[str, str]) -> int | None:
        for version in reversed(self.versions()):
            try:
                manifest = self.manifest(version)
            except InputError:
                continue
            if manifest.definition == memory.definition and manifest.files == files:
                return version
        return None


def _moment(memory: Memory, border: int) -> datetime:
    return datetime.fromtimestamp(border_moment(memory, border), UTC)


def _digest(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:16]


def _bytes(counts: Counts) -> bytes:
    arrays = {"total": counts.total, "border": np.array(counts.border)}
    for name, found in counts.keys.items():
        arrays |= {f"{name}/hashes": found.hashes, f"{name}/sums": found.sums}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
