"""How files and folders get onto the disk: whole, for good, and never over somebody else's."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import InputError
from configs.files import (
    atomic_directory,
    atomic_file,
    check_no_pattern,
    delete,
    discard,
    link,
    publish,
    read_json,
    unsynced_file,
    write_bytes,
    write_json,
    write_unsynced,
)
from tests.disk import check_sweeping, forever, hidden, recorded, started, wait_for


def fill(target: Path, content: str) -> None:
    with atomic_directory(target) as folder:
        (folder / "file").write_text(content)


def test_of_two_writers_of_one_folder_the_first_to_finish_stays(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "1"
    with (
        pytest.raises(InputError, match=r"deep/1: another run has written it meanwhile"),
        atomic_directory(target) as folder,
    ):
        (folder / "file").write_text("late")
        fill(target, "early")
    assert (target / "file").read_text() == "early"
    assert [path.name for path in target.parent.iterdir()] == ["1"]


@pytest.mark.parametrize("writer", [atomic_directory, atomic_file])
def test_a_block_that_fails_leaves_nothing(writer: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "1"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    with pytest.raises(ZeroDivisionError), atomic_file(path) as new:
        assert new.name == path.name  # what some writers go by
        new.write_text("half")
        _ = 1 / 0
    assert json.loads(path.read_text()) == {"a": 1}
    write_bytes(path, b"2")
    assert path.read_text() == "2"
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_an_unsynced_file_is_whole_too(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_unsynced(path, b"1")
    with pytest.raises(OSError, match="disk full"), unsynced_file(path) as file:
        file.write(b"2")
        raise OSError("disk full")
    assert path.read_text() == "1"
    assert [found.name for found in path.parent.iterdir()] == ["file"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "1"
    fill(target, "former")
    (target / "more").touch()
    with atomic_directory(target, replace=True) as new:
        (new / "file").write_text("new")
        assert (target / "more").exists()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [PermissionError(13, "not today"), KeyboardInterrupt()])
def test_a_folder_that_cannot_take_its_place_leaves_the_former(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "1", os.rename
    fill(target, "former")

    def refuse(source: Path, name: Path) -> None:
        if Path(source).name == Path(name).name == "1":
            raise error
        rename(source, name)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(type(error)), atomic_directory(target, replace=True) as new:
        (new / "file").write_text("new")
    assert (target / "file").read_text() == "former"
    assert list(tmp_path.iterdir()) == [target]


def test_everything_is_on_disk_before_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(monkeypatch)
    write_json(tmp_path / "made" / "above" / "a.json", 1)
    with atomic_directory(tmp_path / "folder") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("1")
        os.link(tmp_path / "made" / "above" / "a.json", folder / "linked")
    with atomic_directory(tmp_path / "folder", replace=True) as folder:
        (folder / "file").write_text("2")
    work = tmp_path / ".partial"
    for name in "ab":
        write_unsynced(work / name, name.encode())
    publish((work / name, tmp_path / "new" / name) for name in "ab")
    recorder.check(tmp_path)


@pytest.mark.parametrize("miss", ["content", "folder", "parent"])
def test_the_recorder_sees_what_is_not(
    miss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, recorder = os.fsync, recorded(monkeypatch)
    recording_fsync = os.fsync

    def forget(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        wanted = {"content": path.is_file(), "folder": path.name == "1", "parent": not hidden(path)}
        (fsync if wanted[miss] else recording_fsync)(descriptor)

    monkeypatch.setattr(os, "fsync", forget)
    fill(tmp_path / "1", "1")
    with pytest.raises(AssertionError):
        recorder.check(tmp_path)


def test_a_folder_that_is_made_is_there_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, fsync = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_bytes(tmp_path / "a" / "b" / "file", b"")
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} <= set(synced)


def test_deleting_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "1", "1")
    fill(tmp_path / "2", "2")
    write_bytes(tmp_path / "file", b"")
    delete(tmp_path / "1")
    delete(tmp_path / "file")
    delete(tmp_path / "file")
    discard(tmp_path / "2")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_the_same_file_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "file", b"1")
    link(tmp_path / "file", tmp_path / "deep" / "linked")
    assert (tmp_path / "deep" / "linked").samefile(tmp_path / "file")

    def refuse(*arguments: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    link(tmp_path / "file", tmp_path / "copied")
    assert not (tmp_path / "copied").samefile(tmp_path / "file")
    assert (tmp_path / "copied").read_bytes() == b"1"


def begun(aside: Path) -> bool:
    return any(path.name != ".lock" for path in aside.rglob("*"))


def test_a_killed_writer_of_a_file_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    def stuck() -> None:
        with atomic_file(tmp_path / "file") as new:
            new.write_text("half")
            forever()

    def act() -> None:
        write_bytes(tmp_path / "file", b"whole")

    check_sweeping(tmp_path, stuck, begun, act)
    assert (tmp_path / "file").read_text() == "whole"


def test_a_killed_writer_of_a_folder_is_swept_and_a_living_one_is_not(tmp_path: Path) -> None:
    def stuck() -> None:
        with atomic_directory(tmp_path / "1") as new:
            (new / "file").write_text("half")
            forever()

    check_sweeping(tmp_path, stuck, begun, lambda: write_bytes(tmp_path / "other", b""))
    assert not (tmp_path / "1").exists()


def test_who_is_killed_while_replacing_a_folder_is_finished_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "1"
    fill(target, "former")

    def stuck() -> None:
        os.rename = _stop_after_the_first(os.rename)
        with atomic_directory(target, replace=True) as new:
            (new / "file").write_text("new")

    process = started(stuck)
    wait_for(lambda: not target.exists())
    process.kill()
    process.join()
    write_bytes(tmp_path / "other", b"")
    assert (target / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "other"]


def _stop_after_the_first(rename: Callable[..., None]) -> Callable[..., None]:
    renamed: list[object] = []

    def renaming(source: Any, target: Any) -> None:
        if renamed:
            forever()
        rename(source, target)
        renamed.append(source)

    return renaming


def test_writers_load_neither_tensorflow_nor_beam() -> None:
    code = "import sys, configs.files; print({'tensorflow', 'apache_beam'} & sys.modules.keys())"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output == "set()\n"


@pytest.mark.parametrize("name", ["a*", "a?", "a[1]", "a[1]/b"])
def test_a_folder_that_would_be_taken_for_a_pattern_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder without") as error:
        check_no_pattern(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)
    check_no_pattern(tmp_path / "a]{b}")


@pytest.mark.parametrize("content", ["[" * 100_000, "{", b"\xff"], ids=["deep", "cut", "no text"])
def test_what_is_no_json_is_one_line(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "active.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"active\.json: not readable as JSON: ") as caught:
        read_json(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
