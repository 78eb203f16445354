"""A bar for people, nothing for files."""

import io
import sys

import pytest

from serving.client.progress import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    assert list(bar(iter([1, 2]), "replay")) == [1, 2] and file.getvalue() == ""


def test_a_terminal_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert list(bar(iter([1, 2]), "replay")) == [1, 2]
    assert "replay: 2 requests" in terminal.getvalue() and "\r" in terminal.getvalue()
