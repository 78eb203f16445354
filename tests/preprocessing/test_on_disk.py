"""What preprocessing leaves is on the disk before it appears; what a killed run leaves is swept."""

from pathlib import Path
from typing import Any

import pytest

from configs import Experiment
from preprocessing import filesystem
from preprocessing import simulate as command
from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.manifest import MANIFEST
from preprocessing.simulate import simulate
from preprocessing.task import parse_arguments
from tests.conftest import QUICKSTART
from tests.disk import check_sweeping, forever, recorded


def test_a_dataset_is_on_disk_before_it_appears(
    experiment: Experiment, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data"
    _, beam_flags = parse_arguments(["--config", str(QUICKSTART), "--output", str(output)])
    job = Job(experiment, str(logs / "*.parquet"), str(output), tuple(beam_flags))
    for _ in ("new", "in place of a former one"):
        with monkeypatch.context() as patch:
            recorder = recorded(patch)
            job.run()
        recorder.check(output)
        assert recorder.appeared[-1] == output / MANIFEST
        assert not (output / ".partial").exists()


def test_a_simulation_is_on_disk_before_it_appears(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in ("new", "in place of a former one"):
        with monkeypatch.context() as patch:
            recorder = recorded(patch)
            simulate(experiment, tmp_path / "logs", rows=500)
        recorder.check(tmp_path)
        assert recorder.appeared == [tmp_path / "logs"]


def test_a_killed_simulation_is_swept_and_a_living_one_is_not(
    experiment: Experiment, tmp_path: Path
) -> None:
    def stuck() -> None:
        command.truth_table = forever
        simulate(experiment, tmp_path / "logs", rows=500)

    def begun(aside: Path) -> bool:
        return bool(list(aside.glob("logs/*.parquet")))

    def act() -> Any:
        return simulate(experiment, tmp_path / "logs", rows=500)

    check_sweeping(tmp_path, stuck, begun, act)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_local_files_are_moved_onto_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, target = str(tmp_path / ".partial"), str(tmp_path / "data")
    names = [f"{split}/{number}" for split in ("pretrain", "test") for number in range(3)]
    recorder = recorded(monkeypatch)
    for name in names:
        filesystem.write(filesystem.join(work, name), name.encode())
    filesystem.move(
        [(filesystem.join(work, name), filesystem.join(target, name)) for name in names]
    )
    recorder.check(tmp_path)
    assert list(filesystem.list_files(target)) == names
    filesystem.delete([filesystem.join(target, "pretrain"), filesystem.join(target, "none")])
    assert list(filesystem.list_files(target)) == names[3:]
