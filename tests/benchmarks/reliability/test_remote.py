"""The section on object stores kills every upload once, and counts what is not whole."""

from pathlib import Path

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability import remote


@pytest.fixture
def former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two files, of which one changes and one goes."""
    monkeypatch.setattr(remote, "_NEW_FILES", 1)
    folder = tmp_path / "former"
    folder.mkdir()
    for name in ("gone", "other"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_an_upload_is_killed_after_every_change(store: str, former: Path, tmp_path: Path) -> None:
    assert remote._cuts(former, f"{store}/{tmp_path.name}", tmp_path) == {
        "uploads_killed": 3,  # the file, the index aside and in place
        "half_seen": 0,
        "not_finished": 0,
    }


def test_what_is_not_whole_is_counted(
    store: str, former: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_read", lambda path, scratch: {"other": "half"})
    found = remote._cuts(former, f"{store}/{tmp_path.name}", tmp_path)
    assert found["half_seen"] == found["not_finished"] == 4
