"""Says on stderr how far a pass is: a line when it starts, one every few seconds, and one when it
is done.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from configs.terminal.plain_text import wrap

_SECONDS = 10.0

_lock = threading.Lock()
_rows = 0
_forward: Callable[[int], object] | None = None


def advance(rows: int) -> None:
    """Steps report rows they are done with. Seen where steps run on the command's machine; other
    runners show Beam's counter.
    """
    global _rows
    if _forward:
        _forward(rows)
        return
    with _lock:
        _rows += rows


def forward(report: Callable[[int], object]) -> None:
    """In a worker process: from now on ``report`` takes rows to the command's process."""
    global _forward
    _forward = report


def say(text: str) -> None:
    """One line on stderr; in a terminal as many as it takes."""
    print("\n".join(wrap(text)), file=sys.stderr, flush=True)


class Progress:
    """Shows a pass while it runs: ``with Progress("analyse") as progress: ...; progress.rows =
    12``.

    Attributes:
      rows: the pass's rows, once they are known.
    """

    def __init__(self, name: str) -> None:
        self.rows = 0
        self._name = name
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> "Progress":
        global _rows
        _rows = 0
        self._start = time.monotonic()
        say(f"{self._name}: started")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        if error is None:
            say(f"{self._name}: done, {self._rate(self.rows)}")

    def _show(self) -> None:
        while not self._done.wait(_SECONDS):
            say(
                f"{self._name}: {self._rate(_rows)} so far"
                if _rows
                else f"{self._name}: {time.monotonic() - self._start:.0f} s so far"
            )

    def _rate(self, rows: int) -> str:
        seconds = time.monotonic() - self._start
        return f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s"
