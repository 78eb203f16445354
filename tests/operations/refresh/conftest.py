"""The small job as it is refreshed on its sixth day: its config counts windows from ``as_of``."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from configs import Experiment, load_experiment
from operations.refresh.run import Refresh
from preprocessing.task import parse_arguments
from tests.conftest import QUICKSTART, SMALL
from trainer.job import Job

DAILY = (
    *SMALL,
    "splits={pretrain: {start: 2025-03-03T03:00:00Z, end: 2025-03-06T03:00:00Z},"
    " finetune: {start: as_of - 2d, end: as_of - 1d}, validation: {start: as_of - 1d, end: as_of},"
    " test: {start: as_of, end: as_of + 1d}}",
    "data.time_zone=UTC-03:00",
)
AS_OF = "as_of=2025-03-09T03:00:00Z"
"""When its last day is over; the fixture's kernels are a day older."""


def daily(*more: str) -> Experiment:
    return load_experiment(QUICKSTART, [*DAILY, AS_OF, *more])


@pytest.fixture(scope="session")
def refreshed(
    job_dir: Path, models_dir: Path, logs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Refresh:
    """A refresh that has been run once; copy its folders to change them."""
    folder = tmp_path_factory.mktemp("refresh")
    job, models = folder / "job", folder / "small"
    shutil.copytree(job_dir, job)
    shutil.copytree(models_dir, models)
    flags = parse_arguments(["--config", "-", "--output", "-"])[1]
    made = Refresh(
        daily(), str(logs / "*.parquet"), Job(job), folder / "work", models, tuple(flags)
    )
    made.run()
    return made


@pytest.fixture
def refresh(refreshed: Refresh, tmp_path: Path) -> Refresh:
    """A copy of it."""
    folder = refreshed.work.parent
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return replace(
        refreshed,
        job=Job(tmp_path / "job"),
        work=tmp_path / "work",
        models=tmp_path / "small",
        notes=[],
    )
