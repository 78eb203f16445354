"""The section of kills kills, and a step that is not the same again, or leaves something, does not
pass.
"""

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability.kills import Step, killed
from benchmarks.reliability.small_job import finish
from benchmarks.speed.options import Figures
from configs import InputError
from configs.files import write_bytes

KILLS = 4


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sound" / "data").mkdir(parents=True)
    (tmp_path / "sound" / "data" / "rows").write_text("rows")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path


def figures(place: Path, step: Step) -> Figures:
    random = np.random.default_rng(5)
    return killed(step, place / "sound", place / "work", KILLS, random)


def outcome(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*") if path.is_file()}


def write(folder: Path) -> None:
    time.sleep(0.2)
    write_bytes(folder / "result", b"whole")
    time.sleep(0.2)


def append(folder: Path) -> None:
    with (folder / "result").open("a") as file:
        file.write("more")
    time.sleep(0.3)


def litter(folder: Path) -> None:
    Path(tempfile.mkdtemp())
    time.sleep(0.3)
    write_bytes(folder / "result", b"whole")


def fork(folder: Path) -> None:
    if not os.fork():
        time.sleep(60)
        os._exit(0)
    time.sleep(0.3)


def test_a_step_that_is_the_same_again_passes(place: Path) -> None:
    data = place / "work" / "data"
    found = figures(place, Step("step", ("data",), partial(write, data), partial(outcome, data)))
    assert found["step_kills"] == KILLS
    assert found["step_kills_at_work"]
    assert not found["step_other_results"]
    assert not found["step_left_over"]
    assert not found["step_left_processes"]
    assert float(found["step_seconds"]) > 0.4


def test_a_step_that_goes_on_from_half_of_something_does_not(place: Path) -> None:
    data = place / "work" / "data"
    found = figures(place, Step("step", ("data",), partial(append, data), partial(outcome, data)))
    assert found["step_other_results"]


def test_what_is_left_over_is_found(place: Path) -> None:
    data = place / "work" / "data"
    found = figures(place, Step("step", ("data",), partial(litter, data), partial(outcome, data)))
    assert found["step_left_over"] == KILLS
    assert not list((place / "temporary").iterdir())


def test_processes_that_live_on_are_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.reliability.kills._PATIENCE", 0.2)
    data = place / "work" / "data"
    found = figures(place, Step("step", ("data",), partial(fork, data), dict))
    assert found["step_left_processes"]


def test_a_step_that_fails_by_itself_is_said(place: Path) -> None:
    def fail() -> None:
        raise InputError("no")

    with pytest.raises(InputError, match="ended with exit code 1"):
        finish(fail, place / "log.txt")
