"""How results get into a job directory: whole, and never over somebody else's."""

from pathlib import Path

import pytest

from configs import InputError
from configs.files import atomic_directory


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


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "1"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
