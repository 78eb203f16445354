"""New days of the small logs with users and shops that nobody knows, and the small backbone gone on
with them.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import Experiment
from preprocessing.beam.dataset_job import Job as DatasetJob
from tests.trainer.conftest import variant
from trainer.job import Job
from trainer.training.pretrain import pretrain

LATER = (
    "splits={pretrain: {start: 2025-03-06T03:00:00Z, end: 2025-03-07T03:00:00Z},"
    " finetune: {start: 2025-03-07T03:00:00Z, end: 2025-03-08T03:00:00Z},"
    " validation: {start: 2025-03-08T03:00:00Z, end: 2025-03-09T03:00:00Z}}"
)
IN_PROCESS = ("--runner=FnApiRunner",)


def later(*settings: str) -> Experiment:
    """The small experiment of the days after those that its backbone has learned from."""
    return variant(LATER, "evaluation.split=validation", *settings)


def grow(experiment: Experiment, logs: Path, output: Path, source: Path) -> Path:
    """The dataset of new days, its transform grown from a job's or a dataset's."""
    DatasetJob(experiment, str(logs / "*.parquet"), str(output), IN_PROCESS, grow=str(source)).run()
    return output


@pytest.fixture(scope="session")
def new_logs(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small logs, every seventh row of another user and another shop."""
    folder = tmp_path_factory.mktemp("onward") / "logs"
    folder.mkdir()
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        for column, name in (("user_id", "newcomer"), ("shop_id", "novelty")):
            values = table[column].to_pylist()
            values[::7] = [f"{name}{place % 5}" for place in range(len(values[::7]))]
            at = table.column_names.index(column)
            table = table.set_column(at, column, pa.array(values, table.schema.field(at).type))
        pq.write_table(table, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def grown_dir(new_logs: Path, job_dir: Path) -> Path:
    """The dataset of the new days."""
    return grow(later(), new_logs, new_logs.parent / "data", job_dir)


@pytest.fixture(scope="session")
def onward_job(grown_dir: Path, job_dir: Path) -> Job:
    """The small job's backbone, gone on."""
    job = Job(grown_dir.parent / "job")
    pretrain(later(), grown_dir, job, older=Job(job_dir))
    return job
