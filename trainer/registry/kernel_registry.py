"""The registry of a job's kernels: ``kernels/<domain>/<version>/`` and ``kernels/active.json``.

A version appears whole or not at all and never changes; ``active.json`` alone says what is served,
``pinned.json`` what fine-tuning leaves alone, ``decisions.json`` what it decided last. What became
of domains over time is in ``<job>/history.jsonl`` (``trainer.registry.history``).
Writers of one job directory, also of different processes, take turns (``configs.files``); readers
never wait.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from configs.asides import sole_writer
from configs.domain_definitions import Definition
from configs.domain_names import folder_domain, folder_name
from configs.errors import InputError, did_you_mean
from configs.files import discard, publish
from trainer.job import Job
from trainer.kernels.shape import KernelShape
from trainer.registry.decision import Decision
from trainer.registry.history import Action, Event, History, Origin, happened
from trainer.registry.kernel_manifest import KernelManifest, KernelRecord
from trainer.registry.kernel_version import StoredKernel as StoredKernel
from trainer.registry.kernel_version import (
    VersionFiles,
    Weights,
    read_card,
    read_manifest,
    read_version,
    stored_at,
)
from trainer.registry.kernel_version import common_memory as common_memory
from trainer.registry.kernel_version import common_tap as common_tap
from trainer.registry.state_files import ACTIVE, DECISIONS, PINNED, StateFiles

_ALL_DECISIONS = TypeAdapter(dict[str, Decision])
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class KernelStore:
    """The kernels of a job directory; domain names are exact, never prefixes.

    A domain's folder has its name, percent-encoded (``configs.domain_names.folder_name``). Names
    that could not be a folder's are unknown everywhere, and refused where one is to be added.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.folder = job, job.kernels
        self._backbone = job.fingerprint()
        self.fingerprint: str = self._backbone["fingerprint"]
        self._files = StateFiles(self.folder)
        self.history = History(job.history)

    def domains(self) -> list[str]:
        """Names of the domains that have a kernel, sorted."""
        return sorted(
            domain
            for name in _names(self.folder)
            if (domain := folder_domain(name)) is not None and (self.folder / name).is_dir()
        )

    def versions(self, domain: str) -> list[int]:
        """Versions of a domain's kernel, ascending; none for an unknown domain."""
        # Looked up in the list: a file system may take another spelling for the same name.
        if not _can_be_stored(domain) or folder_name(domain) not in _names(self.folder):
            return []
        names = _names(self._folder_of(domain))
        return sorted(int(name) for name in names if _VERSION.fullmatch(name))

    def active(self) -> dict[str, int]:
        """Domain -> version that is served. Raises ``InputError`` where the file is damaged, or
        names a version that is not stored.
        """
        active, folders = self.named_active(), set(_names(self.folder))
        for domain, version in active.items():
            stored = folder_name(domain) in folders
            if stored and (self._folder_of(domain) / str(version)).is_dir():
                continue
            if self.named_active() != active:  # it was changed while this looked
                return self.active()
            raise InputError(
                f"{self.folder / ACTIVE}: damaged: names version {version} of domain {domain!r},"
                " which is not stored; restore it, or run python -m trainer.task kernels deactivate"
            )
        return active

    def named_active(self) -> dict[str, int]:
        """The same, whether the versions are stored or not."""
        path, content = self.folder / ACTIVE, self._files.read(ACTIVE)
        if not isinstance(content, dict | None):
            raise InputError(f"{path}: damaged: expected a JSON object")
        for domain, version in (content or {}).items():
            if not _can_be_stored(domain) or type(version) is not int:
                raise InputError(
                    f"{path}: damaged: expected domains with whole numbers, received {domain!r}:"
                    f" {version!r}"
                )
        return content or {}

    def pinned(self) -> set[str]:
        """Domains that fine-tuning leaves alone. Raises ``InputError`` where the file is wrong."""
        content = self._files.read(PINNED)
        if content is not None and (
            not isinstance(content, list)
            or not all(isinstance(name, str) and _can_be_stored(name) for name in content)
        ):
            raise InputError(
                f"{self.folder / PINNED}: damaged: expected a list of domains, received"
                f" {str(content)[:100]!r}; delete it and pin them again"
            )
        return set(content or ())

    def decisions(self) -> dict[str, Decision]:
        """Domain -> what the newest run of fine-tuning that tuned it decided; none in jobs that are
        older than decisions.
        """
        content = self._files.read(DECISIONS)
        try:
            return {} if content is None else _ALL_DECISIONS.validate_python(content)
        except ValidationError as error:
            raise InputError(
                f"{self.folder / DECISIONS}: damaged: {error.errors()[0]['msg']}; the next finetune"
                " writes it anew"
            ) from None

    def known(self) -> dict[str, Definition | None]:
        """Every domain that has a version or was decided, by name, and which rows a decision says
        are its. A server must know them all: where they have no kernel, one above them answers.
        Raises ``InputError`` where ``decisions.json`` is damaged.
        """
        decided = {domain: found.definition for domain, found in self.decisions().items()}
        return {domain: decided.get(domain) for domain in sorted({*self.domains(), *decided})}

    def version_with(
        self, domain: str, weights: Weights, definition: Definition | None
    ) -> int | None:
        """The active or the newest version of a domain whose arrays and definition are these; None
        where neither's are.
        """
        newest = max(self.versions(domain), default=None)
        for version in dict.fromkeys((self.active().get(domain), newest)):
            try:
                stored = self.load(domain, version) if version is not None else None
            except InputError:  # damaged: it holds nothing
                continue
            if stored and stored.manifest.definition == definition and _same(weights, stored):
                return version
        return None

    def add(
        self,
        domain: str,
        weights: Weights,
        record: KernelRecord | Mapping[str, Any],
        golden: dict[str, Any] | None = None,
    ) -> int:
        """Stores a new version, all or nothing, unless the newest one is the same to the byte.

        Args:
          domain: exact name.
          weights: as ``StoredKernel`` says.
          record: what fine-tuning says of it; a mapping is checked first. What it says of domain,
            version, backbone and files, where it was read from another version, is dropped.
          golden: scores of the golden requests (``golden_scores.GoldenRows.scores_for``); None
            stores none.

        Returns:
          The version's number.

        Raises:
          InputError: a name that cannot be a folder's, or a job directory that cannot be written
            to.
          ValueError: a record that is none (``pydantic.ValidationError``), or NaN in it.
        """
        try:
            folder = self._folder_of(domain)
        except ValueError as error:
            raise InputError(f"{ascii(domain)[:100]}: no domain's name: {error}") from None
        files = VersionFiles.of(
            self._backbone, weights, KernelRecord.model_validate(record), golden
        )
        with self._alone() as aside:
            newest = max(self.versions(domain), default=0)
            if newest and files.same_as(folder / str(newest), domain, newest):
                return newest  # an interrupted run that is run again stores nothing twice
            new = aside / str(newest + 1)
            files.write(new, domain, newest + 1)
            if folder.name in _names(self.folder):
                publish([(new, folder / new.name)])
            else:
                publish([(aside, folder)])  # never a domain without a version
        return newest + 1

    def load(self, domain: str, version: int) -> StoredKernel:
        """Reads a version. Raises ``InputError`` where it is missing, damaged, or was trained on
        another backbone.
        """
        return read_version(self._existing(domain, version), domain, version, self._backbone)

    def manifest(self, domain: str, version: int) -> KernelManifest:
        """A version's manifest alone. Raises ``InputError`` where it is missing or damaged."""
        return read_manifest(self._existing(domain, version))

    def card(self, domain: str, version: int) -> str:
        """A version's card, Markdown. Raises ``InputError`` where it is missing."""
        return read_card(self._existing(domain, version))

    def stored_at(self, domain: str, version: int) -> datetime:
        """When a version was stored, in UTC. Raises ``InputError`` where it is missing."""
        return stored_at(self._existing(domain, version))

    def active_or_newest(self, domain: str) -> StoredKernel | None:
        """The active version of a domain's kernel, else its newest one, else None."""
        version = self.active_or_newest_version(domain)
        return None if version is None else self.load(domain, version)

    def active_or_newest_version(self, domain: str) -> int | None:
        """The number of the active version of a domain's kernel, else of its newest one, else
        None.
        """
        return self.active().get(domain) or max(self.versions(domain), default=None)

    def decide(
        self,
        decisions: Mapping[str, Decision],
        before: Mapping[str, int],
        origin: Origin | None = None,
    ) -> dict[str, Decision]:
        """Serves what was decided, and writes it down in ``decisions.json``. A domain that was
        pinned in the meantime, or is served by another version by now, is left alone.

        Args:
          decisions: by domain, with the numbers of versions.
          before: what was served when they were made (``active``).
          origin: the run that made them, for the history.

        Returns:
          The decisions that were carried out, and of domains that were left alone that nothing was.

        Raises:
          InputError: a version that is to be served is missing or damaged; nothing is changed.
        """
        with self._alone():
            pinned, active = self.pinned(), self.active()
            others = self._activated_beside(decisions, before, active)
            done = {}
            for domain, decision in decisions.items():
                how = ""
                if domain in pinned:
                    how = "pinned"
                elif active.get(domain) != before.get(domain):
                    how = "changed by hand"
                elif decision.outcome == "activate" and decision.active is not None and others:
                    shape = self.manifest(domain, decision.active).shape
                    how = "" if others == {shape} else "kernels of another shape were activated"
                done[domain] = _left_alone(decision, active.get(domain), how) if how else decision
            for domain, decision in done.items():
                if decision.active is None:
                    active.pop(domain, None)
                elif decision.active != active.get(domain):
                    self.load(domain, decision.active)
                    active[domain] = decision.active
            known, former = self._known_decisions(), self.named_active()
            self._write_active(active)
            self._write_decisions(known | done)
            self.history.add(
                self._happened(domain, former, decision.reason, origin)
                for domain, decision in done.items()
                if former.get(domain) != active.get(domain)
            )
        return done

    def _activated_beside(
        self, decisions: Mapping[str, Decision], before: Mapping[str, int], active: dict[str, int]
    ) -> set[KernelShape]:
        """Shapes of what others have activated since ``before``: kernels of different shapes
        cannot be exported together.
        """
        return {
            self.manifest(domain, version).shape
            for domain, version in active.items()
            if domain not in decisions and before.get(domain) != version
        }

    def pin(self, domain: str) -> None:
        """Has fine-tuning leave a domain alone: what it is served by now stays, and where nothing
        of its own is, it stays off. A domain of which no kernel was worth storing can be, too.
        """
        with self._alone():
            if domain not in self.pinned() | self._known_decisions().keys():
                self.check_known(domain)
            self._pin(domain, pinned=True)

    def unpin(self, domain: str) -> None:
        """Lets fine-tuning decide about a domain again."""
        with self._alone():
            if domain not in self.pinned() | self._known_decisions().keys():
                self.check_known(domain)
            self._pin(domain, pinned=False)

    def activate(self, domain: str, version: int) -> None:
        """Makes a version the served one."""
        with self._alone():
            self._activate(domain, version, "activate")

    def rollback(self, domain: str) -> int:
        """Makes what was served before the active version the served one, and returns it: by the
        history; where that holds nothing (the job is older than it, or the version is gone), the
        newest version below the active one that helped on validation, which is what fine-tuning
        activates by itself.

        The domain is pinned, so that the next run of fine-tuning does not undo it.

        Raises:
          InputError: nothing of the domain's own was served before.
        """
        with self._alone():
            version = self.version_before(domain)
            self._write_pinned(self.pinned() | {domain})
            self._activate(domain, version, "rollback")
        return version

    def version_before(self, domain: str) -> int:
        """What ``rollback`` makes the served version. Raises ``InputError`` as it does."""
        self.check_known(domain)
        active = self.active().get(domain)
        stored = self.versions(domain)
        for version in self.history.before(domain, active):
            if version is None:
                raise InputError(
                    f"{self.folder}: nothing of domain '{domain}' was served before version"
                    f" {active} (kernels history {domain} says why); deactivate it, or activate a"
                    " version by number"
                )
            if version in stored:
                self.load(domain, version)
                return version
        if active is None:
            raise InputError(
                f"{self.folder}: domain '{domain}' has no active version to roll back from, and"
                " none is known to have been"
            )
        told = {event.version for event in self.history.events(domain)}
        for version in reversed([known for known in stored if known < active]):
            if version not in told and self.load(domain, version).manifest.activated:
                return version
        raise InputError(
            f"{self.folder}: nothing is known to have been served of domain '{domain}' before"
            f" version {active}, and no version below it helped on validation; activate one by"
            " number, or deactivate"
        )

    def deactivate(self, domain: str) -> None:
        """Lets the nearest active kernel above a domain answer for it; its versions stay. Works on
        a full disk.
        """
        with self._alone(full=True):
            self._deactivate(domain)

    def remove(self, domain: str) -> None:
        """Deletes every version of a domain's kernel, and what is known of the domain. Works on a
        full disk.
        """
        with self._alone(full=True):
            pinned = self.pinned()  # before anything changes: it may be damaged
            served, known = self.named_active().get(domain), bool(self.versions(domain))
            decisions = self._known_decisions()
            if domain not in decisions or domain in self.domains():
                self._deactivate(domain, told=False)
            self._write_pinned(pinned - {domain})
            if decisions.pop(domain, None):
                self._write_decisions(decisions)
            if self._folder_of(domain).exists():
                discard(self._folder_of(domain))
            if served is not None or known:
                self.history.add([happened(domain, "remove", None, served)])

    def check_known(self, domain: str) -> None:
        """Raises ``InputError`` where a domain has no kernel."""
        if domain not in self.domains():
            if decision := self._known_decisions().get(domain):
                raise InputError(
                    f"{self.folder}: no kernel of domain '{domain}' was worth storing:"
                    f" {decision.reason}"
                )
            raise InputError(
                f"{self.folder}: no kernel of domain '{domain}'"
                f"{did_you_mean(domain, self.domains())}"
            )

    @contextmanager
    def _alone(self, *, full: bool = False) -> Iterator[Path]:
        """The only writer here (``configs.asides.sole_writer``); what a killed one left between two
        files is settled first.
        """
        with sole_writer(self.folder, full=full) as new:
            self._files.settle()
            with suppress(InputError):  # what is served cannot be read: who asks for it says so
                self.history.note_found(self.named_active())
            yield new

    def _activate(self, domain: str, version: int, action: Action) -> None:
        self.load(domain, version)
        former = self.active()
        self._write_active({**former, domain: version})
        if former.get(domain) != version:
            self.history.add([self._happened(domain, former, action=action)])

    def _deactivate(self, domain: str, *, told: bool = True) -> None:
        active = self.named_active()
        if domain not in active:
            self.check_known(domain)
        self._write_active({name: number for name, number in active.items() if name != domain})
        if told and domain in active:
            self.history.add([happened(domain, "deactivate", None, active[domain])])

    def _pin(self, domain: str, *, pinned: bool) -> None:
        former, active = self.pinned(), self.named_active().get(domain)
        self._write_pinned(former | {domain} if pinned else former - {domain})
        if (domain in former) != pinned:
            self.history.add([happened(domain, "pin" if pinned else "unpin", active, active)])

    def _happened(
        self,
        domain: str,
        former: Mapping[str, int],
        reason: str = "",
        origin: Origin | None = None,
        action: Action = "activate",
    ) -> Event:
        """What became of a domain, whose served version has just changed."""
        version = self.named_active().get(domain)
        run, windows = origin.run if origin else None, None
        if version is None:
            action = "deactivate"
        else:
            manifest = self.manifest(domain, version)
            run, windows = manifest.judges or run, manifest.windows
        return happened(
            domain,
            action,
            version,
            former.get(domain),
            reason=reason,
            run=run,
            windows=windows,
            data=origin.data if origin else None,
        )

    def _existing(self, domain: str, version: int) -> Path:
        if not self.versions(domain):
            self.check_known(domain)
        if version not in self.versions(domain):
            known = ", ".join(map(str, self.versions(domain))) or "none"
            raise InputError(
                f"{self.folder}: no version {version} of domain '{domain}'; there are: {known}"
            )
        return self._folder_of(domain) / str(version)

    def _folder_of(self, domain: str) -> Path:
        return self.folder / folder_name(domain)

    def _known_decisions(self) -> dict[str, Decision]:
        """For writers, who write them anew: what can be read of them."""
        try:
            return self.decisions()
        except InputError:
            return {}

    def _write_decisions(self, decisions: Mapping[str, Decision]) -> None:
        shown = {name: found.model_dump(mode="json") for name, found in sorted(decisions.items())}
        self._files.write(DECISIONS, shown)

    def _write_pinned(self, domains: set[str]) -> None:
        if domains != self.pinned():
            self._files.write(PINNED, sorted(domains))

    def _write_active(self, active: dict[str, int]) -> None:
        if active != self.named_active():
            self._files.write(ACTIVE, dict(sorted(active.items())))


def _left_alone(decision: Decision, active: int | None, how: str) -> Decision:
    left = {"outcome": "keep", "reason": f"{how} while it was tuned", "active": active}
    return decision.model_copy(update=left)


def _same(weights: Weights, stored: StoredKernel) -> bool:
    return weights.keys() == stored.weights.keys() and all(
        np.array_equal(array, stored.weights[name]) for name, array in weights.items()
    )


def _can_be_stored(domain: str) -> bool:
    try:
        return bool(folder_name(domain))
    except ValueError:
        return False


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
