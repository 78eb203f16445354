"""A product's command as a process of its own: its seconds, by the clock and of the processor, and
the most memory it ever held.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.options import Figures
from configs import InputError

_POLL_SECONDS, _SAMPLE_SECONDS = 0.02, 0.1


@dataclass(frozen=True)
class Finished:
    """How a process went.

    Attributes:
      seconds: from start to end, imports included.
      cpu_seconds: user and system time, of the processes that it started, too.
      peak_mib: the most that was resident (``VmHWM``), libraries included.
      log: what it printed, both streams.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    log: str

    def figures(self, stage: str) -> Figures:
        """Seconds and peak, named by stage."""
        return {
            f"{stage}_seconds": self.seconds,
            f"{stage}_cpu_seconds": self.cpu_seconds,
            f"{stage}_peak_mib": self.peak_mib,
        }


def run_process(
    words: list[str], log: Path, kill_when: Callable[[], bool] | None = None
) -> Finished:
    """Runs ``python -m WORDS`` to its end, or kills it.

    Args:
      words: module and arguments.
      log: file for its output.
      kill_when: asked every 20 ms; the process is killed once it is true.

    Raises:
      InputError: the command failed, or ended before it was to be killed.
    """
    start, before, peak = time.perf_counter(), children_cpu_seconds(), 0.0

    def finished() -> Finished:
        cpu_seconds = children_cpu_seconds() - before
        text = log.read_text(encoding="utf-8")
        return Finished(time.perf_counter() - start, cpu_seconds, peak, text)

    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [sys.executable, "-m", *words], stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid))
            if kill_when is not None and kill_when():
                process.kill()
                process.wait()
                return finished()
            time.sleep(_POLL_SECONDS)
    ended = finished()
    if process.returncode or kill_when is not None:
        last = next(reversed(ended.log.strip().splitlines()), "")
        how = (
            f"exit code {process.returncode}"
            if process.returncode
            else "ended before it was to be killed"
        )
        raise InputError(f"{' '.join(words[:2])}: {how}; {log} ends with: {last}")
    return ended


def children_cpu_seconds() -> float:
    """Of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_mib(pid: int) -> float:
    """The most memory that a running process has held; 0 where it is gone."""
    return _status_mib(pid, "VmHWM:")


def resident_mib(pid: int) -> float:
    """The memory that a running process holds; 0 where it is gone."""
    return _status_mib(pid, "VmRSS:")


def _status_mib(pid: int, field: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


@contextmanager
def watched_memory(
    held: Callable[[list[float]], float], take: Callable[[float], None]
) -> Iterator[None]:
    """Samples what the processes hold that are started from here, until the block ends.

    Args:
      held: MiB of each process -> the figure that is watched.
      take: is given, of every two samples, the lesser figure, as a fork between two reads counts
        twice.
    """
    done = threading.Event()

    def watch() -> None:
        former = 0.0
        while not done.wait(_SAMPLE_SECONDS):
            figure = held(list(map(_proportional_mib, _descendants(os.getpid()))))
            take(min(former, figure))
            former = figure

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, those that they started, and so on."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _text(children).split()):
            found += [child, *_descendants(child)]
    return found


def _proportional_mib(pid: int) -> float:
    """Anonymous memory, shared pages divided by the processes that share them; 0 where the
    process is gone.
    """
    lines = _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return next(
        (int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss_Anon:")), 0.0
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # the process has ended
        return ""
