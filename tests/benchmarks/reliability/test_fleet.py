"""The section of fleets runs every shard to its end, whoever was killed before."""

import time
from pathlib import Path

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability import fleet
from benchmarks.reliability.small_job import Command
from configs import InputError
from configs.files import write_bytes


def test_killed_shards_are_run_again_and_all_come_to_their_end(tmp_path: Path) -> None:
    def shard(number: int) -> Command:
        def act() -> None:
            with (tmp_path / f"begun-{number}").open("a") as file:
                file.write(".")
            time.sleep(0.4)
            write_bytes(tmp_path / f"done-{number}", b"")

        return act

    fleet.in_shards(shard, 0.3, np.random.default_rng(1), tmp_path / "log.txt")
    numbers = range(1, fleet._SHARDS + 1)
    assert all((tmp_path / f"done-{number}").exists() for number in numbers)
    begun = sum(
        len(path.read_text())
        for number in numbers
        if (path := tmp_path / f"begun-{number}").exists()
    )
    assert fleet._SHARDS <= begun <= fleet._SHARDS + fleet._KILLS


def test_a_shard_that_fails_by_itself_is_said(tmp_path: Path) -> None:
    def shard(number: int) -> Command:
        def act() -> None:
            raise InputError("no")

        return act

    with pytest.raises(InputError, match="ended with exit code 1"):
        fleet.in_shards(shard, 0.0, np.random.default_rng(1), tmp_path / "log.txt")
