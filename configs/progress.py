"""How far a command is, on stderr: a bar on a terminal; elsewhere plain lines now and then, so that
a log file holds no control characters.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import Any, Protocol, TypeVar, cast

SECONDS = 10.0
"""Between two plain lines."""

Item = TypeVar("Item")


class Bar(Protocol):
    """What a bar is told."""

    def update(self, count: int = 1) -> object:
        """So many more are done."""
        ...

    def set_postfix(self, *, refresh: bool = True, **figures: object) -> object:
        """Figures to show behind the count."""
        ...


class Lines:
    """A bar in plain lines: one every ``SECONDS``, and one at the end.

    Attributes:
      done: how many there are.
    """

    def __init__(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        self.done = done
        self._title, self._total, self._unit, self._first = title, total, unit, done
        self._figures = ""
        self._start = self._last = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            seconds = time.monotonic() - self._start
            self._say(f"{self.done:,} {self._unit} in {seconds:.1f} s")

    def update(self, count: int = 1) -> None:
        """See ``Bar``."""
        self.done += count
        if self.done != self._total and time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            of = "" if self._total is None else f" of {self._total:,}"
            self._say(f"{self.done:,}{of} {self._unit}")

    def set_postfix(self, *, refresh: bool = True, **figures: object) -> None:
        """See ``Bar``; they wait for the next line."""
        self._figures = "".join(f", {name} {value}" for name, value in figures.items())

    def _say(self, what: str) -> None:
        rate = (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)
        shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        line = f"{self._title}: {what}, {shown} {self._unit}/s{self._figures}"
        print(line, file=sys.stderr, flush=True)


def progress_bar(
    title: str, total: int | None, unit: str, done: int = 0
) -> AbstractContextManager[Bar]:
    """A bar that counts to ``total`` (None: nobody knows); ``done`` of them were counted in an
    earlier run.
    """
    if not sys.stderr.isatty():
        return Lines(title, total, unit, done)
    from tqdm import tqdm

    _end_bars_when_killed()
    bar: Any = tqdm(
        leave=None,  # a bar inside another one goes when it ends: its line is the other's then
        total=total,
        initial=done,
        desc=title,
        unit=f" {unit}",
        unit_scale=True,
        mininterval=1.0,
        dynamic_ncols=True,
    )
    return cast(AbstractContextManager[Bar], bar)


def end_bars() -> None:
    """Ends the lines of bars that are still drawn, so that what is said next has a line of its
    own.
    """
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


def _end_bars_when_killed() -> None:
    """Has SIGTERM end the lines of bars before it ends the process, as it does without bars; not
    where somebody else has taken the signal.
    """
    if current_thread() is not main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    drawn_by = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == drawn_by:  # a forked worker draws none
            bars = len(getattr(sys.modules["tqdm"].tqdm, "_instances", ()))
            os.write(2, b"\n" * bars)  # below the last of them; no lock is waited for
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def tracked(title: str, items: Iterable[Item], unit: str) -> Iterator[Item]:
    """Passes items on and shows how many were dealt with."""
    with progress_bar(title, len(items) if isinstance(items, Sized) else None, unit) as bar:
        for item in items:
            yield item
            bar.update()
