"""What a loss of power or a killed writer would leave, and a disk that is full."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

UNPUBLISHED = (".aside-", ".partial")
"""What the folders are called in which nothing has appeared yet."""


@dataclass
class Recorder:
    """Notes every fsync and rename of this process.

    Attributes:
      appeared: paths that were renamed out of an unpublished folder.
      problems: what was not on disk when it appeared.
    """

    appeared: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _synced: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    _unsynced_folders: dict[tuple[int, int], Path] = field(default_factory=dict)

    def fsync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._synced[_identity(status)] = _state(status)
        self._unsynced_folders.pop(_identity(status), None)

    def rename(self, source: Path, target: Path) -> None:
        if hidden(target) or not hidden(source):
            return
        for path in (source, *(source.rglob("*") if source.is_dir() else ())):
            status = path.stat()
            if self._synced.get(_identity(status)) != _state(status):
                self.problems.append(f"{target}: {path} was not synced before")
        self.appeared.append(target)
        self._unsynced_folders[_identity(target.parent.stat())] = target.parent

    def check(self, folder: Path, but: Collection[str] = ()) -> None:
        """Everything in a folder, less what ``but`` names, has appeared whole and for good."""
        assert self.problems == []
        assert list(self._unsynced_folders.values()) == []
        files = {path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}
        files = {path for path in files if path.relative_to(folder).parts[0] not in but}
        assert files
        strange = {path for path in files if not {path, *path.parents} & set(self.appeared)}
        assert strange == set()


def hidden(path: Path) -> bool:
    return any(part.startswith(UNPUBLISHED) for part in path.parts)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Records from now on."""
    recorder = Recorder()
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def recording_fsync(descriptor: int) -> None:
        fsync(descriptor)
        recorder.fsync(descriptor)

    def recording(act: Callable[..., None]) -> Callable[..., None]:
        def renaming(source: Any, target: Any, **settings: Any) -> None:
            recorder.rename(Path(source), Path(target))
            act(source, target, **settings)

        return renaming

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "rename", recording(rename))
    monkeypatch.setattr(os, "replace", recording(replace))
    return recorder


def forever(*arguments: Any, **settings: Any) -> Any:
    """A step that a process does not get past."""
    while True:
        signal.pause()


def started(act: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """A process that acts."""
    process = get_context("fork").Process(target=act, args=arguments, daemon=True)
    process.start()
    return process


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def kill(process: BaseProcess) -> None:
    """Without a chance to clean up."""
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


def asides(folder: Path) -> set[str]:
    """What writers have not finished in a folder."""
    return {path.name for path in folder.glob(".aside-*")}


def check_sweeping(
    folder: Path, stuck: Callable[[], Any], begun: Callable[[Path], bool], act: Callable[[], Any]
) -> None:
    """A killed writer's aside is removed by the next one, and a living one's stays.

    Args:
      folder: where the asides are.
      stuck: writes, and stops for good half-way.
      begun: whether it has got there, from its aside.
      act: writes.
    """

    def at_work(but: set[str]) -> set[str]:
        return {name for name in asides(folder) - but if begun(folder / name)}

    dead = started(stuck)
    wait_for(lambda: bool(at_work(set())))
    left = asides(folder)
    living = started(stuck)
    wait_for(lambda: bool(at_work(left)))
    assert left < asides(folder), "of living writers nothing is removed"
    theirs = asides(folder) - left
    kill(dead)
    assert left < asides(folder)
    act()
    assert asides(folder) == theirs
    assert living.is_alive()
    kill(living)
    act()
    assert asides(folder) == set()


@contextmanager
def full_disk(folder: Path, mib: int = 4) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A small disk at a folder, and what fills it to the last byte. Skips the test where this
    user may not mount one.
    """
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a disk can be mounted by root alone")

    def fill() -> None:
        with (folder / "filler").open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1 << 6, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    try:
        yield folder, fill
    finally:
        subprocess.run(["umount", str(folder)], check=True)
