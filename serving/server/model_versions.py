"""Finds which versions of a model to serve by looking at the base path, and swaps them in without a
failed request.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import grpc

from serving.server.failures import status_of
from serving.server.model_config import VersionPolicy
from serving.wire.errors import StatusError
from serving.wire.version_files import version_directories

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


def not_found(name: str, version: int | None, models: Iterable[str] | None = None) -> StatusError:
    """NOT_FOUND for a model or version that is not being served; names the ``models`` of this
    server where it is the model that it does not have.
    """
    asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    names = None if models is None else ", ".join(sorted(models)) or "none"
    served = "" if names is None else f"; models of this server: {names}"
    return StatusError(
        grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}{served}"
    )


class Model(Generic[S]):
    """A named model, some of whose versions are served: the newest, unless its policy says
    otherwise.

    A new version is loaded beside the served ones and answers from then on; versions that the
    policy no longer wants are unloaded when all that it wants are served, each after its last
    request (TensorFlow Serving's availability-preserving policy; old and new are in memory for that
    time). A version that cannot be loaded leaves the old ones served, and is tried again when its
    files have changed. Versions that all vanish leave the loaded ones served, as in TensorFlow
    Serving.

    Attributes:
      base_path: directory with a directory for each version.
      policy: which versions are wanted; another one counts from the next ``refresh``.
    """

    def __init__(
        self,
        name: str,
        base_path: Path,
        load: Callable[[int, Path], S],
        report: Callable[[str], None],
        policy: VersionPolicy = VersionPolicy(),  # noqa: B008 - frozen
    ) -> None:
        """A model with nothing loaded; call ``refresh``.

        Args:
          name: what requests call it.
          base_path: see the class.
          load: loads a version from its directory.
          report: takes one line about a version that joined or replaced served ones.
          policy: see the class.
        """
        self.name = name
        self.base_path = base_path
        self.policy = policy
        self._load = load
        self._report = report
        self._served: dict[int, S] = {}
        self._users: dict[int, int] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._failed: dict[int, tuple[object, str]] = {}
        self._changed = threading.Condition()
        self._refreshing = threading.Lock()
        self._closed = False

    @property
    def version(self) -> int | None:
        """The newest served version; None before the first."""
        return max(self._served, default=None)

    @property
    def versions(self) -> list[int]:
        """The served versions, in ascending order."""
        return sorted(self._served)

    @property
    def loaded(self) -> list[S]:
        """What is served, by ascending version: to look at. ``acquire`` what is to be run."""
        return [servable for _, servable in sorted(self._served.items())]

    def refresh(self) -> str:
        """Looks at the base path once, loads what is wanted and missing, unloads what is no longer
        wanted.

        Returns:
          Why not all wanted versions are served, in one line; empty where they are.
        """
        with self._refreshing:
            try:
                return "" if self._closed else self._refresh()
            except Exception as error:  # whoever looks goes on looking, at other models too
                return (
                    f"cannot look for versions in {self.base_path}: {type(error).__name__}: {error}"
                )

    def _refresh(self) -> str:
        try:
            found = version_directories(self.base_path)
        except OSError as error:
            return f"cannot read {self.base_path}: {error.strerror}"
        if not found:
            return f"no version (a directory with an integer for a name) in {self.base_path}"
        wanted, before = self.policy.wanted(found), self._served
        missing = self.policy.specific - found.keys()
        problem = (
            f"no version {min(missing)} of model {self.name} in {self.base_path}" if missing else ""
        )
        for version in wanted:
            if version not in self._served:
                problem = self._load_version(version, found[version]) or problem
        retired = self._retire(wanted) if wanted and set(wanted) <= self._served.keys() else []
        if before and (joined := sorted(self._served.keys() - before.keys())):
            place = (
                f"in place of version {_listed(retired)}"
                if retired
                else f"beside version {_listed(before)}"
            )
            self._report(f"{self.name} version {_listed(joined)} is served, {place}")
        return problem

    def _load_version(self, version: int, path: Path) -> str:
        files = _files(path)
        failed_files, problem = self._failed.get(version, (None, ""))
        if problem and failed_files == files:
            return problem
        self._set(version, State.LOADING)
        try:
            servable = self._load(version, path)
        except Exception as error:
            failure = status_of(error)
            problem = f"{self.name} version {version} could not be loaded: {failure}"
            self._failed[version] = (files, problem)
            self._set(version, State.END, failure)
            return problem
        self._failed.pop(version, None)
        with self._changed:
            self._served = {
                **self._served,
                version: servable,
            }  # never changed in place: it is read without the lock
            self._statuses[version] = VersionStatus(State.AVAILABLE)
        return ""

    @contextmanager
    def acquire(self, version: int | None = None) -> Iterator[S]:
        """A served version, kept loaded for as long as the context lasts.

        Args:
          version: the version the request names; None for the newest that is served.

        Raises:
          StatusError: NOT_FOUND where that version is not being served.
        """
        with self._changed:
            servable = self._served.get(
                max(self._served, default=-1) if version is None else version
            )
            if servable is None:
                raise not_found(self.name, version)
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

    def close(self, patience: float | None = _PATIENCE) -> None:
        """Stops serving, and unloads what was served once its requests are done; those that take
        longer keep it loaded (None: waits).
        """
        with self._refreshing:
            self._closed = True
        with self._changed:
            served, self._served = self._served, {}
            for version in served:
                self._statuses[version] = VersionStatus(State.UNLOADING)
        for servable in served.values():
            self._unload(servable, patience)

    def _retire(self, wanted: Collection[int]) -> list[int]:
        """Stops serving what is not wanted; returns those versions."""
        with self._changed:
            retired = [
                servable
                for version, servable in sorted(self._served.items())
                if version not in wanted
            ]
            self._served = {
                version: servable for version, servable in self._served.items() if version in wanted
            }
            for servable in retired:
                self._statuses[servable.version] = VersionStatus(State.UNLOADING)
        for servable in retired:
            # A thread of its own: a slow request inside the old version must not keep the next
            # version waiting.
            threading.Thread(
                target=self._unload,
                args=(servable,),
                name=f"unload-{self.name}-{servable.version}",
                daemon=True,
            ).start()
        return [servable.version for servable in retired]

    def _unload(self, servable: S, patience: float | None = None) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._users.get(id(servable)), patience):
                return
            self._users.pop(id(servable), None)
        try:
            servable.close()
        except Exception as error:
            self._report(
                f"{self.name} version {servable.version} could not be freed:"
                f" {type(error).__name__}: {error}"
            )
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


def _listed(versions: Collection[int]) -> str:
    return ", ".join(map(str, sorted(versions)))
