"""Where writers build: who may be there, and what becomes of what they leave."""

import os
import tempfile
from pathlib import Path

import pytest

from configs import InputError
from configs.asides import aside, temporary_files, work_folder
from tests.disk import forever, kill, started, wait_for


def test_a_work_folder_is_for_one_and_goes_in_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / ".partial"
    with work_folder(folder):
        (folder / "file").touch()
        with (
            pytest.raises(InputError, match=r"\.partial: another run is at work here"),
            work_folder(folder),
        ):
            pass
        assert (folder / "file").exists()
    assert list(folder.parent.iterdir()) == []


def test_a_work_folder_is_emptied_of_what_a_killed_writer_left(tmp_path: Path) -> None:
    folder = tmp_path / ".partial"

    def stuck() -> None:
        with work_folder(folder):
            (folder / "deep").mkdir()
            (folder / "deep" / "file").touch()
            (folder / "file").touch()
            forever()

    process = started(stuck)
    wait_for((folder / "file").exists)
    with pytest.raises(InputError, match="another run"), work_folder(folder):
        pass
    kill(process)
    with work_folder(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]
    assert not folder.exists()


def test_writers_of_one_folder_stand_side_by_side(tmp_path: Path) -> None:
    with aside(tmp_path) as first, aside(tmp_path) as second:
        assert first != second
        assert first.exists()
        assert second.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_aside_stays(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".aside-file").touch()
    (tmp_path / ".aside-folder").mkdir()
    with aside(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", ".aside-file"}


def test_temporary_files_of_a_killed_process_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("TMPDIR", raising=False)

    def stuck() -> None:
        with temporary_files():
            tempfile.mkdtemp()
            forever()

    process = started(stuck)
    wait_for(lambda: bool(list(tmp_path.glob(".aside-*/tmp*"))))
    kill(process)
    assert list(tmp_path.iterdir())
    with temporary_files():
        (place,) = tmp_path.iterdir()
        assert Path(tempfile.mkdtemp()).parent == place
        assert os.environ["TMPDIR"] == str(place)
    assert not list(tmp_path.iterdir())
    assert tempfile.gettempdir() == str(tmp_path)
    assert "TMPDIR" not in os.environ
