"""What the commands do where ``TF_CONFIG`` names several workers."""

import sys
from pathlib import Path

import pytest

from configs import InputError
from tests.conftest import QUICKSTART
from tests.trainer.conftest import one_line
from tests.trainer.distribution.two_workers import environment
from trainer import task

ADDRESSES = ["a:1", "b:2", "c:3"]


def act(command: str, rank: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", environment(ADDRESSES, rank)["TF_CONFIG"])
    words = [command, "--job-dir", str(folder / "job")]
    if command != "report":
        words += ["--config", str(QUICKSTART)]
    if command not in ("report", "tune"):
        words += ["--data", str(folder / "data")]
    if command == "tune":
        words += ["--trials", "1"]
    monkeypatch.setattr(sys, "argv", ["task", *words])
    task.main()


@pytest.mark.parametrize("command", task._BY_FIRST)
def test_what_one_does_alone_the_first_does(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is there, which the first alone notices."""
    act(command, 2, tmp_path, monkeypatch)
    said = capsys.readouterr().err
    assert said == f"worker 2 of 3 (c:3): {command} is done by worker 0 alone\n"
    with pytest.raises(InputError):
        act(command, 0, tmp_path, monkeypatch)


@pytest.mark.parametrize("command", ["pretrain", "run"])
def test_all_pretrain(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="data") as error:
        act(command, 2, tmp_path, monkeypatch)
    one_line(error)


@pytest.mark.parametrize("rank", [0, 1])
def test_after_pretraining_together_the_first_goes_on(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("pretrain", "finetune", "evaluate", "report"):
        step = lambda *_, name=name, **__: done.append(name)  # noqa: E731 - a step of the list
        monkeypatch.setattr(task, f"_{name}", step)
    act("run", rank, tmp_path, monkeypatch)
    assert done == (["pretrain"] if rank else ["pretrain", "finetune", "evaluate", "report"])


def test_a_cluster_that_cannot_be_read_is_said_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{")
    words = ["pretrain", "--config", str(QUICKSTART), "--data", "d", "--job-dir", "j"]
    monkeypatch.setattr(sys, "argv", ["task", *words])
    with pytest.raises(InputError, match="TF_CONFIG: not JSON"):
        task.main()
