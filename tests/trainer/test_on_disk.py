"""What training leaves is on the disk before it appears; what a killed run leaves is swept."""

from pathlib import Path
from typing import Any

import pytest

from tests.disk import check_sweeping, forever, recorded
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, random_kernel, variant
from trainer.backbone import saving
from trainer.backbone.saving import save_backbone
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.html_report import write_report
from trainer.training.pretrain import pretrain


def test_a_backbone_is_on_disk_before_it_appears(
    dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path / "job")
    recorder = recorded(monkeypatch)
    pretrain(variant("pretrain.epochs=1"), dataset_dir, job)
    recorder.check(job.backbone, but=["checkpoints"])
    names = {path.relative_to(job.backbone).parts[0] for path in recorder.appeared}
    assert names >= {"model.keras", "transform", "experiment.json", "history.json"}
    assert recorder.appeared[-1] == job.backbone / "fingerprint.json"


class Stub:
    """A model whose files are given."""

    variables: tuple[Any, ...] = ()

    def save(self, path: Path, *, zipped: bool) -> None:
        if not zipped:
            path = path / "model.weights.h5"
        path.write_text("weights")


class Stuck(Stub):
    def save(self, path: Path, *, zipped: bool) -> None:
        super().save(path, zipped=zipped)
        forever()


@pytest.mark.parametrize(("largest", "name"), [(1, "model.keras"), (-1, "model")])
def test_of_a_killed_run_no_backbone_is_left(
    largest: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_LARGEST_ARCHIVE", largest)
    recorder = recorded(monkeypatch)

    def begun(aside: Path) -> bool:
        return any(path.is_file() and path.name != ".lock" for path in aside.rglob("*"))

    check_sweeping(
        tmp_path,
        lambda: save_backbone(Stuck(), tmp_path),  # type: ignore[arg-type]
        begun,
        lambda: save_backbone(Stub(), tmp_path),  # type: ignore[arg-type]
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    recorder.check(tmp_path)


def test_kernels_are_on_disk_before_they_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bare_job(tmp_path)
    store, recorder = KernelStore(job), recorded(monkeypatch)
    for seed in (1, 2):
        store.activate("all", store.add("all", random_kernel(SHAPE, seed), MANIFEST))
    store.rollback("all")
    recorder.check(job.kernels)
    active = job.kernels / "active.json"
    first, second = job.kernels / "all", job.kernels / "all" / "2"
    pinned = job.kernels / "pinned.json"
    sums = job.kernels / "sums.json"
    written = [first, active, second, active, pinned, active]
    assert [path for path in recorder.appeared if path != sums] == written
    around = [
        recorder.appeared[place - 1 : place + 2]
        for place, path in enumerate(recorder.appeared)
        if path in (active, pinned)
    ]
    assert all((before, after) == (sums, sums) for before, _, after in around)
    store.remove("all")
    recorder.check(job.kernels)
    left = sorted(path.name for path in job.kernels.iterdir() if path.name != ".lock")
    assert left == ["active.json", "pinned.json", "sums.json"]


def test_reports_are_on_disk_before_they_appear(
    experiment: Any, dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(job_copy)
    recorder = recorded(monkeypatch)
    evaluate(experiment, dataset_dir, job)
    write_report(job_copy)
    recorder.check(job.reports)
    names = ("profile.json", "metrics.json", "report.html")
    assert recorder.appeared == [job.reports / name for name in names]
