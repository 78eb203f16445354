"""Progress outside a terminal: plain lines, no control characters."""

import io
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from configs import progress
from configs.progress import Lines, progress_bar, tracked
from tests.conftest import ROOT


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock; its one number is the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_every_ten_seconds_and_at_the_end(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("read", 10_000, "rows", done=2_000) as bar:
        assert isinstance(bar, Lines)
        for _ in range(8):
            seconds[0] += 4.0
            bar.update(1_000)
            bar.set_postfix(loss="0.5", refresh=False)
    assert capsys.readouterr().err.splitlines() == [
        "read: 5,000 of 10,000 rows, 250 rows/s, loss 0.5",
        "read: 8,000 of 10,000 rows, 250 rows/s, loss 0.5",
        "read: 10,000 rows in 32.0 s, 250 rows/s, loss 0.5",
    ]


def test_what_fails_is_not_called_done(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyError), progress_bar("read", 10, "rows"):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_items_are_passed_on_and_slow_rates_keep_two_digits(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    for item in tracked("simulate", range(3), "days"):
        seconds[0] += 4.0
        seen.append(item)
    assert seen == [0, 1, 2]
    assert capsys.readouterr().err == "simulate: 3 days in 12.0 s, 0.25 days/s\n"


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("read", 10, "rows") as bar:
        bar.update(10)
        bar.set_postfix(loss="0.5", refresh=True)
    assert "\r" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_a_generator_has_no_total(seconds: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in tracked("replay", (number for number in range(3)), "requests"):
        seconds[0] += 6.0
    assert capsys.readouterr().err.splitlines() == [
        "replay: 2 requests, 0.17 requests/s",
        "replay: 3 requests in 18.0 s, 0.17 requests/s",
    ]


BARS = """
import os, signal, sys, time
from configs.progress import progress_bar

with progress_bar("outer", 10, "rows") as outer:
    outer.update(1)
    for number in range(2):
        with progress_bar(f"inner {number}", 5, "rows") as inner:
            inner.update(5)
            if number == 1 and sys.argv[1] == "killed":
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(30)
    outer.update(9)
"""


def in_a_terminal(word: str) -> tuple[int, str]:
    """What a process that draws bars ends with, and what it writes to its terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen([sys.executable, "-c", BARS, word], cwd=ROOT, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # that the terminal's other end is closed
            while part := os.read(ours, 4_096):
                written += part
    os.close(ours)
    return process.returncode, written.decode()


def test_a_killed_command_ends_its_bars() -> None:
    """So that the shell's prompt stands on a line of its own; and it is a kill like any other."""
    code, written = in_a_terminal("killed")
    assert code == -signal.SIGTERM
    assert "inner 1" in written
    assert written.endswith("\n\r\n") or written.endswith("\n\n")


def test_a_bar_inside_another_leaves_no_line() -> None:
    code, written = in_a_terminal("whole")
    assert code == 0
    lines = [line.rpartition("\r")[2] for line in re.sub(r"\x1b\[A", "", written).split("\r\n")]
    assert not [line for line in lines if "inner" in line and "100%" in line]
    assert "outer: 100%" in written
