"""Which version of a model is served: the newest integer directory, found by polling, swapped in without a failed request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import grpc

from serving.status import StatusError, status_of

_LARGEST_VERSION = 2**63 - 1
_PATIENCE = 5.0
"""Seconds that closing a model waits for requests inside it."""


class Closable(Protocol):
    """What is served: anything with a version that can be closed."""

    version: int

    def close(self) -> None:
        """Frees it."""


S = TypeVar("S", bound=Closable)


class State(IntEnum):
    """``ModelVersionStatus.State`` of TensorFlow Serving."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """State of a version; ``error`` is why it could not be loaded."""

    state: State
    error: StatusError | None = None


def version_directories(base_path: Path) -> dict[int, Path]:
    """Version -> directory. Only directories with an integer for a name are versions; everything else is ignored.

    Raises ``OSError`` where the base path cannot be read.
    """
    return {
        int(path.name): path
        for path in base_path.iterdir()
        if path.name.isascii() and path.name.isdigit() and int(path.name) <= _LARGEST_VERSION and path.is_dir()
    }


class Model(Generic[S]):
    """A named model whose newest version is served.

    A new version is loaded beside the served one, then takes its place, then the old one is unloaded when its last request is done
    (TensorFlow Serving's availability-preserving policy; both versions are in memory for that time). A version that cannot be loaded
    leaves the old one served, and is tried again when its files have changed. Unlike TensorFlow Serving, versions that all vanish leave
    the loaded one served.
    """

    def __init__(self, name: str, base_path: Path, load: Callable[[int, Path], S], report: Callable[[str], None]) -> None:
        """A model with nothing loaded; call ``refresh``.

        Args:
          name: what requests call it.
          base_path: directory with a directory for each version.
          load: loads a version from its directory.
          report: takes one line about a version that took another's place, or that a poll could not load.
        """
        self.name = name
        self.base_path = base_path
        self._load = load
        self._report = report
        self._served: S | None = None
        self._users: dict[int, int] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, tuple[object, str]] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._poller: threading.Thread | None = None

    @property
    def version(self) -> int | None:
        """The served version; None before the first."""
        served = self._served
        return None if served is None else served.version

    def refresh(self) -> str:
        """Looks at the base path once and swaps in the newest version if it is another one than the served.

        Returns:
          Why the newest version is not served, in one line; empty where it is.
        """
        try:
            versions = version_directories(self.base_path)
        except OSError as error:
            return f"cannot read {self.base_path}: {error.strerror}"
        if not versions:
            return f"no version (a directory with an integer for a name) in {self.base_path}"
        version = max(versions)
        if version == self.version:
            return ""
        files = _files(versions[version])
        failed_files, problem = self._failed.get(version, (None, ""))
        if problem and failed_files == files:
            return problem
        self._set(version, State.LOADING)
        try:
            servable = self._load(version, versions[version])
        except Exception as error:
            failure = status_of(error)
            problem = f"{self.name} version {version} could not be loaded: {failure}"
            self._failed[version] = (files, problem)
            self._set(version, State.END, failure)
            return problem
        self._failed.pop(version, None)
        self._swap(servable)
        return ""

    @contextmanager
    def acquire(self, version: int | None = None) -> Iterator[S]:
        """The served version, kept loaded for as long as the context lasts.

        Args:
          version: the version the request names; None for whichever is served.

        Raises:
          StatusError: NOT_FOUND where that version is not being served.
        """
        with self._changed:
            servable = self._served
            if servable is None or version not in (None, servable.version):
                asked = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
                raise StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
            self._users[id(servable)] = self._users.get(id(servable), 0) + 1
        try:
            yield servable
        finally:
            with self._changed:
                self._users[id(servable)] -= 1
                self._changed.notify_all()

    def statuses(self) -> dict[int, VersionStatus]:
        """Every version met so far, newest first, those already unloaded included."""
        with self._changed:
            return dict(sorted(self._statuses.items(), reverse=True))

    def poll(self, seconds: float) -> None:
        """Calls ``refresh`` every so many seconds, in a thread, until ``close``."""

        def loop() -> None:
            last = ""
            while not self._stopped.wait(seconds):
                problem = self.refresh()
                if problem and problem != last:  # what stays wrong is said once
                    self._report(f"{problem}; version {self.version} goes on being served")
                last = problem

        self._poller = threading.Thread(target=loop, name=f"poll-{self.name}", daemon=True)
        self._poller.start()

    def close(self) -> None:
        """Stops polling and unloads what is served, once its requests are done; a request that never ends keeps it loaded."""
        self._stopped.set()
        if self._poller is not None:
            self._poller.join()
        with self._changed:
            servable, self._served = self._served, None
            if servable is not None:
                self._statuses[servable.version] = VersionStatus(State.UNLOADING)
        if servable is not None:
            self._unload(servable, patience=_PATIENCE)

    def _swap(self, servable: S) -> None:
        with self._changed:
            old, self._served = self._served, servable
            self._statuses[servable.version] = VersionStatus(State.AVAILABLE)
            if old is not None:
                self._statuses[old.version] = VersionStatus(State.UNLOADING)
        if old is not None:
            self._report(f"{self.name} version {servable.version} is served, in place of version {old.version}")
            # A thread of its own: a slow request inside the old version must not keep the next version waiting.
            threading.Thread(target=self._unload, args=(old,), name=f"unload-{self.name}-{old.version}", daemon=True).start()

    def _unload(self, servable: S, patience: float | None = None) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._users.get(id(servable)), patience):
                return
            self._users.pop(id(servable), None)
        servable.close()
        with self._changed:
            # The version may have come back meanwhile (a newer one appeared and was deleted).
            if self._statuses[servable.version].state is State.UNLOADING:
                self._statuses[servable.version] = VersionStatus(State.END)

    def _set(self, version: int, state: State, error: StatusError | None = None) -> None:
        with self._changed:
            self._statuses[version] = VersionStatus(state, error)


def _files(path: Path) -> object:
    """Changes whenever a file below the path does: names, sizes and times."""
    try:
        stats = [(str(file), file.stat()) for file in sorted(path.rglob("*"))]
    except OSError:
        return None
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
