"""The hierarchy: in which order domains train, and from which kernel each starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment
from tests.trainer.conftest import SHAPE, domains_of, random_kernel, random_rows, variant
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training import domain_training, kernel_training
from trainer.training.finetune import finetune
from trainer.training.joint_kernel_trainer import JointTrainer
from trainer.training.kernel_training import TrainedKernel, train_kernels
from trainer.training.warm_start import initial_kernels, levels

NAMES = ("region=r1,scene=home", "scene=home", "region=r1", "region=r2,scene=home")


def names(made: list[list[Any]]) -> list[list[str]]:
    return [[domain.name for domain in level] for level in made]


def test_levels_go_from_the_general_to_the_specific_and_keep_the_order_inside(
    experiment: Experiment,
) -> None:
    domains = domains_of(experiment, *NAMES)
    assert names(levels("parent", domains)) == [
        ["scene=home", "region=r1"],
        ["region=r1,scene=home", "region=r2,scene=home"],
    ]
    for warm_start in ("all", "none"):
        assert names(levels(warm_start, domains)) == [list(NAMES)]
    assert levels("parent", []) == []


def test_a_domain_starts_from_its_first_single_topic_that_has_a_kernel(
    experiment: Experiment,
) -> None:
    domains = domains_of(experiment, *NAMES)
    known = {
        name: random_kernel(SHAPE, seed)
        for seed, name in enumerate(("all", "scene=home", "region=r1"))
    }
    found = initial_kernels("parent", domains, known)
    assert isinstance(found, list)
    for kernel, name in zip(found, ("region=r1", "all", "all", "scene=home"), strict=True):
        assert kernel is known[name]
    assert initial_kernels("all", domains, known) is known["all"]
    assert initial_kernels("none", domains, known) is None


def test_each_domain_can_be_given_a_start_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that only fall keep every domain at its start."""
    rows, given = random_rows(300), [random_kernel(SHAPE, seed) for seed in (1, 2)]
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: 0.5)
    experiment = variant("finetune.epochs=1")
    trained = train_kernels(
        experiment, SHAPE, rows, rows, domains_of(experiment, "all", "scene=home"), given
    )
    for kernel, start in zip(trained, given, strict=True):
        assert kernel.weights is start
        assert not kernel.moved


@pytest.mark.parametrize(
    ("prior", "warm", "expected"),
    [("standard", True, False), ("parent", True, True), ("parent", False, False)],
)
def test_the_parent_is_the_prior_where_it_is_asked_for_and_there_is_one(
    prior: str, warm: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[Any] = []

    class Remembering(JointTrainer):
        def __init__(self, *arguments: Any) -> None:
            received.append(arguments[4])
            super().__init__(*arguments)

    monkeypatch.setattr(kernel_training, "JointTrainer", Remembering)
    experiment, rows, start = (
        variant("finetune.epochs=1", f"finetune.prior={prior}"),
        random_rows(100),
        random_kernel(SHAPE, 1),
    )
    train_kernels(
        experiment, SHAPE, rows, rows, domains_of(experiment, "all"), start if warm else None
    )
    ((kept,),) = received if expected else ([None],)
    if expected:  # on the inputs that it trains on
        assert kept.keys() == start.keys()
        np.testing.assert_array_equal(kept["weight_1"], start["weight_1"])
        assert (kept["weight_0"] != start["weight_0"]).any()
    else:
        assert received == [None]


def test_fine_tuning_trains_level_by_level_and_knows_stored_parents(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], Any]] = []

    def remember(*arguments: Any) -> list[Any]:
        calls.append(([domain.name for domain in arguments[4]], arguments[5]))
        return [
            TrainedKernel(random_kernel(arguments[1], seed=1 + index), moved=True)
            for index in range(len(arguments[4]))
        ]

    monkeypatch.setattr(domain_training, "train_kernels", remember)
    settings = experiment.finetune.model_copy(update={"warm_start": "parent"})
    store = KernelStore(Job(job_copy))
    before = {name: store.load(name, 1).weights for name in ("all", "scene=home")}
    hierarchy = experiment.model_copy(update={"finetune": settings})
    finetune(
        hierarchy,
        dataset_dir,
        Job(job_copy),
        ["region=r1,scene=home", "region=r1", "region=r2,scene=home"],
    )
    assert [names_ for names_, _ in calls] == [
        ["region=r1"],
        ["region=r1,scene=home", "region=r2,scene=home"],
    ]
    np.testing.assert_equal(calls[0][1], [before["all"]])
    trained = random_kernel(store.load("all", 1).shape, seed=1)
    np.testing.assert_equal(calls[1][1], [trained, before["scene=home"]])
