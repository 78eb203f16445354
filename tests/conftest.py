"""A small experiment taken through the whole path once: logs, dataset, job directory,
SavedModel. Read them; copy what you change.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

# Before gRPC is loaded: by default it wakes its threads in processes that a test forks, which have
# none, and they crash.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# pytest-xdist says how wide its terminal is, and tables would fit themselves to it.
os.environ.pop("COLUMNS", None)

import hypothesis
import pytest

from configs import Experiment, load_experiment

# No test is timed: a busy machine would fail it. The same cases are tried every time, so that what
# fails failed through a change; `pytest --hypothesis-profile search` tries others.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"

SMALL = (
    "name=small",
    (
        "simulation={start: 2025-03-03T03:00:00Z, rows: 20_000, days: 6, time_zone: 'UTC-03:00',"
        " users: 250, shops: 80, cuisines: 6, regions: 2, history: 6, shift: 2.0, drift: 1.0,"
        " click_rate: 0.25, conversion_rate: 0.4}"
    ),
    (
        "splits={pretrain: {start: 2025-03-03T03:00:00Z, end: 2025-03-06T03:00:00Z}, "
        "finetune: {start: 2025-03-06T03:00:00Z, end: 2025-03-07T03:00:00Z}, "
        "validation: {start: 2025-03-07T03:00:00Z, end: 2025-03-08T03:00:00Z}, "
        "test: {start: 2025-03-08T03:00:00Z, end: 2025-03-09T03:00:00Z}}"
    ),
    "data.batch_rows=1_024",
    "features.history.max_length=6",
    # Some values are left out, so that some rows are of no domain; nothing happens in region r9, so
    # that some domains have no row.
    "topics.scene.values=[home, search]",
    "topics.period.hours={lunch: 11-13, dinner: 17-20}",
    "topics.region.values=[r1, r2, r9]",
    (
        "backbone={embedding_dimension: 4, experts: 2, expert_layers: [8, 6], tower_layers: [6],"
        " attention_layers: [4], debias: {feature: position, layers: [4]}}"
    ),
    (
        "pretrain={epochs: 2, batch_size: 1_024, learning_rate: 0.01, embedding_learning_rate: 0.1,"
        " validations_per_epoch: 2, checkpoint_steps: 3}"
    ),
    "kernel.width=6",
    # So that some kernels are served, some are not, and some are not worth storing.
    (
        "finetune={epochs: 2, child_epochs: 2, batch_size: 64, learning_rate: 0.01,"
        " child_learning_rate: 0.01, activation: {correction: none, level: 0.99}}"
    ),
    "evaluation.bootstrap=50",
)
"""What makes the quickstart small: about ten thousand rows and a backbone of a few thousand
weights.
"""

MEMORY = (
    "memory={keys: {user: [user_id], shop: [shop_id], shop_scene: [shop_id, scene]},"
    " refresh_hours: 2, refresh_offset_hours: 1, half_life_hours: 24}"
)
"""What its kernels may remember: the columns of the keys are of few values here, so its dataset
holds them.
"""


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    """The small experiment; ``experiment.model_copy`` or ``load_experiment(QUICKSTART, [*SMALL,
    ...])`` give variants.
    """
    return load_experiment(QUICKSTART, SMALL)


@pytest.fixture(scope="session")
def logs(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its simulated logs, with the true probabilities in ``truth/``."""
    from preprocessing.simulate import simulate

    folder = tmp_path_factory.mktemp("small") / "logs"
    simulate(experiment, folder)
    return folder


@pytest.fixture(scope="session")
def dataset_dir(experiment: Experiment, logs: Path) -> Path:
    """The dataset that the Beam job makes of them."""
    from preprocessing.beam.dataset_job import Job
    from preprocessing.task import parse_arguments

    folder = logs.parent / "data"
    _, beam_flags = parse_arguments(["--config", str(QUICKSTART), "--output", str(folder)])
    Job(experiment, str(logs / "*.parquet"), str(folder), tuple(beam_flags)).run()
    return folder


@pytest.fixture(scope="session")
def job_dir(experiment: Experiment, dataset_dir: Path) -> Path:
    """A job directory with backbone, kernels and ``active.json``, as the commands leave it."""
    import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
    import tensorflow as tf

    from trainer.job import Job
    from trainer.training.finetune import finetune
    from trainer.training.pretrain import pretrain

    tf.config.experimental.enable_op_determinism()
    job = Job(dataset_dir.parent / "job")
    pretrain(experiment, dataset_dir, job)
    finetune(experiment, dataset_dir, job, [])
    return job.folder


@pytest.fixture(scope="session")
def memory_experiment() -> Experiment:
    """The small experiment with memory."""
    return load_experiment(QUICKSTART, [*SMALL, MEMORY])


@pytest.fixture(scope="session")
def memory_job(memory_experiment: Experiment, dataset_dir: Path, job_dir: Path) -> Path:
    """The job directory with kernels that remember, tuned for a few domains."""
    import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
    from trainer.job import Job
    from trainer.training.finetune import finetune

    job = Job(dataset_dir.parent / "memory_job")
    shutil.copytree(Job(job_dir).backbone, job.backbone)
    finetune(memory_experiment, dataset_dir, job, ["scene=home", "scene=search", "region=r1"])
    return job.folder


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """A bucket of an S3 server on this machine; every test takes a folder of its own in it."""
    from tests.object_store import running_store

    with pytest.MonkeyPatch.context() as patch, running_store(patch) as bucket:
        yield bucket


@pytest.fixture
def job_copy(job_dir: Path, tmp_path: Path) -> Path:
    """A copy of the job directory, to change."""
    return shutil.copytree(job_dir, tmp_path / "job")


@pytest.fixture(scope="session")
def models_dir(job_dir: Path) -> Path:
    """Base path of the exported model; its one version is 1."""
    from serving.export.version_writer import export
    from trainer.job import Job

    folder = job_dir.parent / "models"
    export(Job(job_dir), folder)
    return folder
