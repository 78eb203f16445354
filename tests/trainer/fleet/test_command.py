"""``finetune --shard`` and ``gather`` on the command line: a mistake is one line and exit code
2.
"""

from pathlib import Path

import pytest

from configs import Experiment
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.test_task import Command
from trainer.fleet import shard as module
from trainer.fleet.plan import Shard

CONFIG = ("--config", QUICKSTART, *(word for text in SMALL for word in ("--set", text)))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def test_a_shard_out_of_range_is_refused_before_anything_is_read(
    tmp_path: Path, command: Command
) -> None:
    where = ("--data", tmp_path / "none", "--job-dir", tmp_path / "none")
    said = command.refused("finetune", *CONFIG, *where, "--shard", "5/4")
    assert "--shard: expected 1/4 to 4/4, received '5/4'" in said
    assert not list(tmp_path.iterdir())


def test_a_shard_is_trained_by_its_number(
    dataset_dir: Path,
    job_dir: Path,
    experiment: Experiment,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[object] = []

    def remember(*arguments: object) -> str:
        given.extend(arguments)
        return "said"

    monkeypatch.setattr(module, "finetune_shard", remember)
    where = ("--data", dataset_dir, "--job-dir", job_dir)
    code, out, err = command(
        "finetune", *CONFIG, *where, "--shard", "2/3", "--domains", "scene=home"
    )
    assert (code, out) == (0, "said\n"), err
    assert given[0] == experiment
    assert given[3:] == [["scene=home"], Shard(2, 3)]


def test_gathering_nothing_is_refused(dataset_dir: Path, job_dir: Path, command: Command) -> None:
    said = command.refused("gather", *CONFIG, "--data", dataset_dir, "--job-dir", job_dir)
    assert "no shards to gather; run python -m trainer.task finetune --shard 1/N" in said
