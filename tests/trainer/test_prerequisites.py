"""A forgotten step or a wrong name: one line that says what to do next."""

from pathlib import Path

import pytest

from configs import InputError
from configs.files import write_json
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, one_line, random_kernel, variant
from trainer.job import Job
from trainer.prerequisites import (
    check_dataset,
    check_evaluated,
    check_kernels,
    check_split,
)
from trainer.registry.kernel_registry import KernelStore


def test_the_missing_step_is_named_one_after_the_other(tmp_path: Path) -> None:
    def step() -> str:
        with pytest.raises(InputError) as error:
            check_evaluated(Job(tmp_path / "job"))
        return one_line(error).partition("; ")[2]

    assert step() == "run python -m trainer.task pretrain first"
    (tmp_path / "job").mkdir()
    assert step() == "run python -m trainer.task pretrain first"
    job = bare_job(tmp_path)
    assert step() == "run python -m trainer.task finetune first"
    with pytest.raises(InputError, match="no kernel yet"):
        check_kernels(job)
    KernelStore(job).add("all", random_kernel(SHAPE, 1), MANIFEST)
    check_kernels(job)
    assert step() == "run python -m trainer.task evaluate first"
    write_json(job.reports / "metrics.json", {})
    check_evaluated(job)


def test_a_job_that_is_not_there_is_told_from_an_unfinished_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such job"):
        Job(tmp_path / "none").check_finished()
    with pytest.raises(InputError, match="holds no finished backbone"):
        Job(tmp_path).check_finished()
    bare_job(tmp_path).check_finished()


def test_splits_are_the_config_s() -> None:
    check_split(variant(), None)
    check_split(variant(), "test")
    with pytest.raises(InputError, match=r"--split: 'tset' .* did you mean 'test'\?"):
        check_split(variant(), "tset")


def test_a_dataset_must_be_finished(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: not found"):
        check_dataset(tmp_path)
