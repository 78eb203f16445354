"""A taught backbone: nearer to its teacher, the same however often it is interrupted, under one
teacher alone.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment, InputError
from configs.files import read_json
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.task import parse_arguments
from tests.conftest import QUICKSTART, ROOT, SMALL
from tests.trainer.conftest import one_line
from tests.trainer.distillation.conftest import STUDENT, student
from tests.trainer.training.test_pretrain import (
    KILLED,
    assert_equal_backbones,
    cut_short,
)
from trainer.backbone.frozen_pass import run_frozen
from trainer.backbone.saving import load_frozen
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Dataset
from trainer.distillation import stored_scores
from trainer.distillation.objective import TEACHER_LOGITS
from trainer.distillation.stored_scores import scores_folder
from trainer.distillation.teacher import Teacher
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training import progressive_validation
from trainer.training.pretrain import pretrain

LONGER = ("pretrain.epochs=16", "pretrain.validations_per_epoch=1", "pretrain.patience=16")
"""So that a student has learned most of what it can."""


@pytest.fixture(scope="module")
def untaught(dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(tmp_path_factory.mktemp("untaught") / "job")
    pretrain(student(), dataset_dir, job)
    return job


@pytest.fixture(scope="module")
def taught(dataset_dir: Path, job_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """By the teacher alone: the labels count for nothing."""
    job = Job(tmp_path_factory.mktemp("taught") / "job")
    pretrain(student(1.0), dataset_dir, job, Job(job_dir))
    return job


def logits_of(job: Job, experiment: Experiment, data: Path, split: str) -> np.ndarray:
    dataset = Dataset.open(data, experiment)
    return run_frozen(load_frozen(job, experiment), dataset, split, None, "rows").logits


def test_a_taught_student_is_nearer_to_its_teacher(
    dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """On rows that neither has learned from: correlation of their logits."""
    blocks = Teacher.open(Job(job_dir)).scores(student(), dataset_dir, "test")
    theirs = np.concatenate([logits for _, logits in blocks])
    found = {}
    for weight in (None, 1.0):
        experiment, job = student(weight, *LONGER), Job(tmp_path / str(weight))
        pretrain(experiment, dataset_dir, job, Job(job_dir) if weight else None)
        logits = logits_of(job, experiment, dataset_dir, "test")
        found[weight] = [np.corrcoef(logits[:, task], theirs[:, task])[0, 1] for task in (0, 1)]
    assert min(found[1.0]) > 0.8
    for taught, untaught in zip(found[1.0], found[None], strict=True):
        assert taught > untaught + 0.03


def test_who_taught_is_written_down_and_scores_are_gone_in_the_end(
    taught: Job, untaught: Job, job_dir: Path
) -> None:
    assert taught.teacher() == Teacher.open(Job(job_dir)).record
    assert untaught.teacher() is None
    assert not scores_folder(taught).exists()
    assert taught.experiment().pretrain.teacher == student(1.0).pretrain.teacher


def test_a_damaged_record_is_found(taught: Job, tmp_path: Path) -> None:
    job = Job(shutil.copytree(taught.folder, tmp_path / "job"))
    path = job.backbone / "teacher.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(InputError, match=r"teacher\.json: damaged") as error:
        job.teacher()
    one_line(error)


def test_weight_0_is_ordinary_training_bit_by_bit(
    untaught: Job,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Job(tmp_path / "job")
    pretrain(student(0.0), dataset_dir, job, Job(job_dir))
    assert "weight is 0: the teacher teaches nothing" in capsys.readouterr().err
    assert job.fingerprint() == untaught.fingerprint()
    assert read_json(job.backbone / "history.json") == read_json(untaught.backbone / "history.json")
    assert job.teacher() is None


def test_without_the_section_the_default_is_written_down(
    dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    cut_short(student(), dataset_dir, job, "_Run", 0, Job(job_dir))
    assert job.experiment() == student(0.5)


def test_interrupted_and_resumed_equals_undisturbed_and_scores_once(
    taught: Job,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, teacher = Job(tmp_path / "job"), Job(job_dir)
    cut_short(student(1.0), dataset_dir, job, "run_frozen", 2, teacher)
    assert len(list(scores_folder(job).glob("*.tfrecord"))) > 1

    def scores(*_: Any) -> None:
        raise AssertionError("scored again")

    monkeypatch.setattr(Teacher, "scores", scores)
    pretrain(student(1.0), dataset_dir, job, teacher)
    assert_equal_backbones(job.folder, taught.folder)


def test_interrupted_while_the_teacher_scores(
    taught: Job, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_scores, "write_sealed", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            pretrain(student(1.0), dataset_dir, job, Job(job_dir))
    assert not scores_folder(job).exists()
    pretrain(student(1.0), dataset_dir, job, Job(job_dir))
    assert_equal_backbones(job.folder, taught.folder)


def test_killed_and_resumed_equals_undisturbed(
    taught: Job, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    code = KILLED.replace("Job(Path(job)))", f"Job(Path(job)), Job(Path({str(job_dir)!r})))")
    settings = [*SMALL, *STUDENT, "pretrain.teacher.weight=1.0"]
    command = [sys.executable, "-c", code, str(QUICKSTART), str(dataset_dir), str(job.folder)]
    killed = subprocess.run(
        [*command, *settings], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(job.checkpoints.rglob("*.index"))
    pretrain(student(1.0), dataset_dir, job, Job(job_dir))
    assert_equal_backbones(job.folder, taught.folder)


def test_damaged_scores_are_named(dataset_dir: Path, job_dir: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "job")
    cut_short(student(1.0), dataset_dir, job, "run_frozen", 0, Job(job_dir))
    path = sorted(scores_folder(job).glob("*.tfrecord"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"damaged: .*; remove .*/backbone/teacher: ") as error:
        pretrain(student(1.0), dataset_dir, job, Job(job_dir))
    one_line(error)
    shutil.rmtree(scores_folder(job))  # what the message says
    cut_short(student(1.0), dataset_dir, job, "run_frozen", 0, Job(job_dir))
    assert path.exists()


@pytest.mark.parametrize("finished", [False, True])
def test_another_teacher_is_refused(
    finished: bool, taught: Job, dataset_dir: Path, job_copy: Path, job_dir: Path, tmp_path: Path
) -> None:
    job, teacher = Job(tmp_path / "student"), Job(job_copy)
    if finished:
        shutil.copytree(taught.folder, job.folder)
    else:
        cut_short(student(1.0), dataset_dir, job, "_Run", 0, Job(job_dir))
    first = next(iter(KernelStore(teacher).active()))
    KernelStore(teacher).deactivate(first)
    with pytest.raises(InputError, match=r"holds a backbone taught by .*; received .*") as error:
        pretrain(student(1.0), dataset_dir, job, teacher)
    one_line(error)
    KernelStore(teacher).activate(first, 1)  # the same one, wherever it stands
    if finished:
        pretrain(student(1.0), dataset_dir, job, teacher)
    else:
        cut_short(student(1.0), dataset_dir, job, "_Run", 0, teacher)


def test_an_untaught_job_is_not_taught_later(
    dataset_dir: Path, job_dir: Path, untaught: Job
) -> None:
    with pytest.raises(InputError, match=r"that nobody teaches; received a run taught") as error:
        pretrain(student(0.5), dataset_dir, untaught, Job(job_dir))
    one_line(error)


def test_a_taught_job_is_not_gone_on_with_alone(dataset_dir: Path, taught: Job) -> None:
    with pytest.raises(InputError, match=r"taught by .*; received no --teacher; go on") as error:
        pretrain(student(), dataset_dir, taught)
    one_line(error)


def test_settings_without_a_teacher_are_refused(dataset_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pretrain\.teacher: .* --teacher") as error:
        pretrain(student(0.5), dataset_dir, Job(tmp_path / "job"))
    one_line(error)
    assert not (tmp_path / "job").exists()


def test_a_job_is_not_its_own_teacher(dataset_dir: Path, job_dir: Path) -> None:
    with pytest.raises(InputError, match="expected another, finished one") as error:
        pretrain(student(0.5), dataset_dir, Job(job_dir), Job(job_dir))
    one_line(error)


def test_a_teacher_of_another_dataset_leaves_no_job(
    other_dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="the teacher cannot read its rows") as error:
        pretrain(student(0.5), other_dataset_dir, Job(tmp_path / "job"), Job(job_dir))
    one_line(error)
    assert not (tmp_path / "job").exists()


def test_a_progressive_student_is_taught_in_the_window_too(
    logs: Path, job_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a dataset of its own under the teacher's transform, as one needs whose windows differ."""
    experiment = student(1.0, "pretrain.progressive=true", "pretrain.progressive_parts=2")
    folder = tmp_path / "data"
    _, flags = parse_arguments(["--config", str(QUICKSTART), "--output", str(folder)])
    source = str(logs / "*.parquet")
    DatasetJob(experiment, source, str(folder), tuple(flags), transform=str(job_dir)).run()
    learned: list[dict[str, np.ndarray]] = []
    learn = progressive_validation._learn

    def learn_and_remember(learner: Any, columns: Any, *others: Any) -> None:
        learned.append(columns)
        learn(learner, columns, *others)

    monkeypatch.setattr(progressive_validation, "_learn", learn_and_remember)
    job = Job(tmp_path / "job")
    pretrain(experiment, folder, job, Job(job_dir))
    dataset = Dataset.open(folder, experiment)
    assert sum(len(part[TEACHER_LOGITS]) for part in learned) == dataset.rows("finetune")
    blocks = Teacher.open(Job(job_dir)).scores(experiment, folder, "finetune")
    rows = split_columns(dataset, "finetune", lambda name: name == "row/truth")["row/truth"]
    expected = dict(zip(rows, np.concatenate([logits for _, logits in blocks]), strict=True))
    for part in learned:
        found = np.stack([expected[key] for key in part["row/truth"]])
        np.testing.assert_array_equal(part[TEACHER_LOGITS], found)
