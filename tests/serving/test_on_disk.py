"""What an export leaves is on the disk before it appears; what a killed one leaves is swept."""

from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import pytest

from configs import Experiment
from serving import signature_lock
from serving.export import version_writer
from serving.export.kernel_slots import Layout
from serving.export.sharded_checkpoint import BACKBONE_DATA
from serving.export.version_writer import export
from serving.load_test.plot import plot
from tests.disk import asides, check_sweeping, forever, recorded
from tests.serving.jobs import add_kernel, kernel_shape, loud_job, made_up
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore


@pytest.fixture(scope="module")
def job(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = loud_job(tmp_path_factory.mktemp("disk") / "job", experiment, made_up(experiment))
    add_kernel(KernelStore(job), "all", kernel_shape(job), 1)
    return job


def test_a_version_is_on_disk_before_it_appears(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(monkeypatch)
    for number in (1, 2):
        assert export(job, tmp_path) == tmp_path / str(number)
        recorder.check(tmp_path)
    assert recorder.appeared == [tmp_path / "1", tmp_path / "2"]
    assert (tmp_path / "1" / BACKBONE_DATA).samefile(tmp_path / "2" / BACKBONE_DATA)
    monkeypatch.setattr(signature_lock, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr("sys.argv", ["signature_lock", str(tmp_path / "1"), "--write"])
    signature_lock.main()
    recorder.check(tmp_path)
    assert recorder.appeared[2:] == [tmp_path / "lock.json"]


def test_a_killed_export_is_swept_and_a_living_one_is_not(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_writer, "_write_all", lambda aside, wanted: _half(aside))
    monkeypatch.setattr(version_writer, "_write_extra", lambda *arguments: None)

    def stuck() -> None:
        version_writer._write_extra = forever
        export(job, tmp_path, full=True)

    def begun(aside: Path) -> bool:
        return bool(list(aside.glob("*/variables")))

    check_sweeping(tmp_path, stuck, begun, lambda: export(job, tmp_path, full=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def _half(aside: Path) -> Any:
    (aside / "variables").mkdir()
    return Layout(KernelShape((1, 1), "relu", True, "tower"), 16), {}


def test_a_picture_is_on_disk_before_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(monkeypatch)
    plot([], tmp_path / "sweep.png", "nothing")
    recorder.check(tmp_path)
    assert asides(tmp_path) == set()
