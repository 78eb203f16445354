"""A teacher scores rows as it serves them, and refuses those it cannot read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from configs import Experiment, InputError
from configs.domains import Domain
from configs.training import Routing
from tests.trainer.conftest import one_line, variant
from tests.trainer.distillation.conftest import student
from trainer.backbone.frozen_pass import run_frozen
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.distillation import teacher as module
from trainer.distillation.teacher import Teacher
from trainer.evaluation.kernel_rows import KernelRows
from trainer.job import Job
from trainer.kernels.scoring import route, score_rows
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.text_table import describe_teacher


def as_evaluated(experiment: Experiment, data: Path, job: Job, split: str) -> np.ndarray:
    """Logits of a split as ``evaluate`` routes them: every kernel scores all rows of its domain."""
    teacher = Teacher.open(job)
    kernels = list(teacher.kernels.values())
    rows = KernelRows.open(experiment, data, job, kernels).of_split(split, "rows")
    topics = experiment.topics
    domains = [Domain.parse(name, topics) for name in teacher.kernels]
    scores = {
        domain.name: score_rows(kernel.shape, kernel.weights, rows, rows.domain_rows(domain))
        for domain in domains
        for kernel in [teacher.kernels[domain.name]]
    }
    compose = job.experiment().routing.compose
    return route(domains, topics, rows, scores, rows.logits, compose)


def scored(teacher: Teacher, experiment: Experiment, data: Path, split: str) -> np.ndarray:
    return np.concatenate([logits for _, logits in teacher.scores(experiment, data, split)])


@pytest.mark.parametrize("split", ["pretrain", "finetune"])
@pytest.mark.parametrize("remembers", [False, True])
def test_rows_are_scored_as_they_are_served(
    split: str,
    remembers: bool,
    experiment: Experiment,
    memory_experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    memory_job: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a student that has neither its topics nor its memory, in batches that end anywhere."""
    monkeypatch.setattr(module, "_BATCH", 1_500)
    job, theirs = (memory_job, memory_experiment) if remembers else (job_dir, experiment)
    teacher = Teacher.open(Job(job))
    assert teacher.kernels
    other = student(0.5, "topics={}", "cross_topics=[]")
    logits = scored(teacher, other, dataset_dir, split)
    expected = as_evaluated(theirs, dataset_dir, Job(job), split)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    rows = run_frozen(
        load_frozen(Job(job), theirs), Dataset.open(dataset_dir, theirs), split, None, "rows"
    )
    assert np.abs(logits - rows.logits).max() > 0.01  # the kernels did answer


def test_kernels_that_answer_together_teach_together(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    job = Job(job_copy)
    alone, before = Teacher.open(job).record, as_evaluated(experiment, dataset_dir, job, "finetune")
    job.choose_routing(Routing(compose=0.5))
    teacher = Teacher.open(job)
    logits = scored(teacher, student(0.5, "topics={}", "cross_topics=[]"), dataset_dir, "finetune")
    expected = as_evaluated(experiment, dataset_dir, job, "finetune")
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(logits - before).max() > 0.01
    assert teacher.record == alone | {"compose": 0.5}
    assert describe_teacher(teacher.record).endswith(", together (compose 0.5)")


def test_blocks_are_those_of_the_dataset(
    experiment: Experiment, dataset: Dataset, dataset_dir: Path, job_dir: Path
) -> None:
    blocks = Teacher.open(Job(job_dir)).scores(experiment, dataset_dir, "pretrain")
    received = [(number, len(logits)) for number, logits in blocks]
    expected = [(number, len(rows["row/weight"])) for number, rows in dataset.blocks("pretrain")]
    assert received == expected
    assert len({number for number, _ in received}) > 1


def test_a_teacher_without_kernels_is_its_backbone(
    experiment: Experiment, dataset: Dataset, dataset_dir: Path, job_copy: Path
) -> None:
    job = Job(job_copy)
    shutil.rmtree(job.kernels)
    teacher = Teacher.open(job)
    expected = run_frozen(load_frozen(job, experiment), dataset, "finetune", None, "rows").logits
    logits = scored(teacher, student(0.5), dataset_dir, "finetune")
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert describe_teacher(teacher.record).endswith("without kernels")


def test_a_record_names_what_is_served(job_copy: Path) -> None:
    job = Job(job_copy)
    before = Teacher.open(job).record
    active = KernelStore(job).active()
    assert {name: found["version"] for name, found in before["kernels"].items()} == active
    assert before["backbone"] == job.fingerprint()["fingerprint"]
    first = next(iter(active))
    assert f"{first} {active[first]}" in describe_teacher(before)
    KernelStore(job).deactivate(first)
    assert Teacher.open(job).record["kernels"].keys() == active.keys() - {first}


def test_a_dataset_of_another_transform_is_refused_in_one_line(
    other_dataset_dir: Path, job_dir: Path
) -> None:
    teacher, experiment = Teacher.open(Job(job_dir)), student(0.5)
    with pytest.raises(
        InputError, match=r"other: its transform is not the one that the teacher .* --transform"
    ) as error:
        teacher.check_reads(experiment, Dataset.open(other_dataset_dir, experiment))
    one_line(error)


def test_a_teacher_of_other_labels_is_refused_in_one_line(
    dataset: Dataset, job_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher.open(Job(job_dir))
    other = variant("tasks.cvr.label=order")
    said = r"answers ctr \(click\), cvr \(conversion .* are ctr \(click\), cvr \(order "
    with pytest.raises(InputError, match=said) as error:
        teacher.check_reads(other, dataset)
    one_line(error)


def test_a_teacher_that_knows_the_judging_rows_is_named(
    dataset: Dataset, job_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, experiment = Teacher.open(Job(job_dir)), student(0.5)
    teacher.check_reads(experiment, dataset)
    assert not capsys.readouterr().err
    splits = {**experiment.splits, "test": experiment.splits["finetune"]}
    teacher.check_reads(experiment.model_copy(update={"splits": splits}), dataset)
    assert "warning: the teacher has learned from rows of split 'test'" in capsys.readouterr().err
