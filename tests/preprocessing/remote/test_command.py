"""``python -m preprocessing.remote``: what is put there comes back."""

import sys
from pathlib import Path

import pytest

from configs.cli import run
from preprocessing.remote.__main__ import main
from tests.object_store import tree


def refused(capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, *words: object) -> str:
    """The one line on stderr."""
    capsys.readouterr()
    assert command(patch, *words) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err


def command(patch: pytest.MonkeyPatch, *words: object) -> int:
    patch.setattr(sys, "argv", ["remote", *map(str, words)])
    try:
        run(main)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_folder_goes_there_and_back(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*words: object) -> int:
        return command(monkeypatch, *words, "--scratch", tmp_path / "scratch")

    def one_line(*words: object) -> str:
        return refused(capsys, monkeypatch, *words, "--scratch", tmp_path / "scratch")

    there, local = f"{store}/{tmp_path.name}/job/", tmp_path / "job"
    (local / "kernels").mkdir(parents=True)
    (local / "kernels" / "active.json").write_bytes(b"{}")
    assert one_line("get", there, tmp_path / "back").endswith("holds nothing that was uploaded\n")
    assert call("put", local, there) == 0
    assert call("get", there, tmp_path / "back") == 0
    assert tree(tmp_path / "back") == tree(local)
    (local / "kernels" / "active.json").rename(local / "other")
    assert call("put", local, there) == 0
    assert call("get", there, tmp_path / "again") == 0
    assert tree(tmp_path / "again") == {"other": b"{}"}
    assert "exists already" in one_line("get", there, tmp_path / "again")
    assert "no such directory" in one_line("put", tmp_path / "none", there)
    assert "expected a local and a remote" in one_line("put", there, local)
    assert "expected a local and a remote" in one_line("get", local, tmp_path / "x")
    for words in (
        ("put", local, "s3://nowhere-at-all/job"),
        ("get", "s3://nowhere-at-all/job", "x"),
    ):
        assert "s3://nowhere-at-all is not there" in one_line(*words)
