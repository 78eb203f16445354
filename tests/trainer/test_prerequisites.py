"""A forgotten step or a wrong name: one line that says what to do next."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from configs import InputError
from configs.files import write_json
from tests.trainer.conftest import (
    MANIFEST,
    SHAPE,
    bare_job,
    change_json,
    one_line,
    random_kernel,
    variant,
)
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


def test_splits_that_a_step_reads_must_have_rows(dataset_dir: Path, tmp_path: Path) -> None:
    """Logs of new days alone give a dataset whose other splits are empty."""
    check_dataset(dataset_dir, "finetune", "validation")
    shutil.copy(dataset_dir / "manifest.json", tmp_path)

    def empty(manifest: dict[str, Any]) -> None:
        for name in ("pretrain", "test"):
            manifest["splits"][name].update(rows=0, files=[])

    change_json(tmp_path / "manifest.json", empty)
    check_dataset(tmp_path, "finetune", "validation", "finetune")
    check_dataset(tmp_path, "a split of another config")  # said where the dataset is opened
    with pytest.raises(InputError) as error:
        check_dataset(tmp_path, "finetune", "test", "pretrain", "test")
    assert one_line(error) == (
        f"{tmp_path}: no rows in splits test, pretrain; rows are in finetune, validation; run"
        " preprocessing.task --transform on logs of those days, too"
    )
