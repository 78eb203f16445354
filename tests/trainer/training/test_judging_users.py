"""Which users judge: half of them, drawn anew for every run, and never those who stop a kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Experiment
from tests.trainer.conftest import domains_of, variant
from tests.trainer.tapped_rows import tapped_rows
from trainer.data.dataset import Dataset
from trainer.training.judging_users import (
    judges,
    judging_rows,
    run_key,
    stopping_rows,
    with_judges,
)

ROWS = tapped_rows(4_000, 1_000)
EVERY = np.arange(4_000)
KEYS = st.text("0123456789abcdef", min_size=64, max_size=64)


def judging_users(key: str) -> set[int]:
    return set(ROWS.columns["row/user"][judges(with_judges(ROWS, key), EVERY)])


@given(KEYS)
def test_no_user_both_stops_and_judges(key: str) -> None:
    drawn = with_judges(ROWS, key)
    for domain in domains_of(variant(), "all", "scene=home"):
        stopping, judging = stopping_rows(drawn, domain), judging_rows(drawn, domain)
        assert sorted([*stopping, *judging]) == list(drawn.domain_rows(domain))
        users = drawn.columns["row/user"]
        assert not set(users[stopping]) & set(users[judging])


@given(KEYS)
def test_half_of_the_users_judge(key: str) -> None:
    """Of 1,000 users 500, within five standard deviations."""
    assert 420 <= len(judging_users(key)) <= 580
    assert judging_users(key) == judging_users(key)


@given(KEYS, KEYS)
def test_another_run_has_other_judges(one: str, other: str) -> None:
    """Of one run's judges about half judge in another, too."""
    if one[:16] == other[:16]:
        return
    both = judging_users(one) & judging_users(other)
    assert 0.3 < len(both) / len(judging_users(one)) < 0.7


def test_without_a_draw_the_parity_of_the_user_counts() -> None:
    np.testing.assert_array_equal(judges(ROWS, EVERY), ROWS.columns["row/user"] % 2 == 1)


@pytest.mark.parametrize(
    "setting",
    [
        "seed=18",
        "kernel.width=7",
        "finetune.epochs=3",
        "finetune.activation.level=0.1",
        "finetune.warm_start=none",
    ],
)
def test_settings_that_kernels_depend_on_make_another_run(setting: str, dataset: Dataset) -> None:
    assert run_key(variant(setting), dataset) != run_key(variant(), dataset)


@pytest.mark.parametrize("setting", ["name=other", "evaluation.bootstrap=60", "pretrain.epochs=7"])
def test_settings_that_they_do_not_depend_on_make_the_same_run(
    setting: str, dataset: Dataset
) -> None:
    assert run_key(variant(setting), dataset) == run_key(variant(), dataset)


def test_other_rows_make_another_run(
    experiment: Experiment, dataset: Dataset, dataset_dir: Path, tmp_path: Path
) -> None:
    def changed(split: str) -> Any:
        splits = dict(dataset.manifest.splits)
        files = [file.model_copy(update={"sha256": "0" * 64}) for file in splits[split].files]
        splits[split] = splits[split].model_copy(update={"files": files})
        other = Dataset.open(dataset_dir, experiment)
        object.__setattr__(
            other, "manifest", dataset.manifest.model_copy(update={"splits": splits})
        )
        return run_key(experiment, other)

    key = run_key(experiment, dataset)
    assert changed("finetune") != key
    assert changed("validation") != key
    assert changed("pretrain") == changed("test") == key
