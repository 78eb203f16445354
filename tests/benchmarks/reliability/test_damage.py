"""The section of damage counts what it says; what is accepted with other scores does not pass."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability.damage import Kind, damage, judge, read_dataset, read_model
from configs import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "rows.txt").write_bytes(b"0123456789")
    return tmp_path


def found(root: Path, read: object, cases: int = 20) -> dict[str, float | int | str]:
    figures = damage(root, [Kind("part", "*.txt", read)], cases, seed=3)  # type: ignore[arg-type]
    assert (root / "part" / "rows.txt").read_bytes() == b"0123456789", "whole again"
    assert figures["damaged_files"] == cases
    outcomes = ("noticed", "without_effect", "unnamed", "changed_scores", "tracebacks")
    return {name: figures[name] for name in outcomes if figures[name]}


def content(folder: Path) -> bytes:
    return (folder / "rows.txt").read_bytes()


def test_what_is_read_without_a_look_changes_scores(root: Path) -> None:
    def read(folder: Path) -> Iterator[bytes]:
        yield content(folder)

    assert found(root, read) == {"changed_scores": 20}


def test_what_is_not_read_is_without_effect(root: Path) -> None:
    def read(folder: Path) -> Iterator[bytes]:
        yield b""

    assert found(root, read) == {"without_effect": 20}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InputError("rows.txt: damaged"), "noticed"),
        (InputError("something is damaged"), "unnamed"),
        (OSError(5, "Input/output error", "part/rows.txt"), "noticed"),
        (IndexError("rows.txt"), "tracebacks"),
    ],
)
def test_what_is_noticed_is_one_line_that_names_the_file(
    error: Exception, outcome: str, root: Path
) -> None:
    def read(folder: Path) -> Iterator[bytes]:
        if content(folder) != b"0123456789":
            raise error
        yield b""

    assert found(root, read) == {outcome: 20}


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 2
    path.write_bytes(whole)


def test_a_version_of_a_model_is_read_as_a_server_does(models_dir: Path) -> None:
    sound = list(read_model(models_dir))
    assert len(sound) > 4
    assert list(read_model(models_dir)) == sound


def test_files_of_no_kind_are_said(root: Path) -> None:
    with pytest.raises(InputError, match=r"holds no \*\.json"):
        damage(root, [Kind("part", "*.json", read_dataset)], 1, seed=0)


def test_a_bit_that_is_flipped_back_is_without_effect(root: Path) -> None:
    def read(folder: Path) -> Iterator[bytes]:
        yield np.sort(np.frombuffer(content(folder), np.uint8)).tobytes()

    kind = Kind("part", "*.txt", read)
    path = root / "part" / "rows.txt"
    path.write_bytes(b"1023456789")
    before = damage(root, [kind], 1, seed=0)
    assert before["damaged_files"] == 1
    assert judge(path, kind, root / "part", "another digest") == ("changed_scores", "")
