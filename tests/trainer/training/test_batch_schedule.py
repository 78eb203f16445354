"""A domain's steps follow from all domains of its level, whichever of them a run trains."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.conftest import random_kernel, random_rows, variant
from trainer.kernels.kernel import KernelShape
from trainer.training.batch_schedule import DomainData, Timetable, schedule
from trainer.training.domain_mixing import expected_rows, mix
from trainer.training.joint_kernel_trainer import JointTrainer

SIZES = st.lists(st.integers(1, 3_000), min_size=1, max_size=6)


def level_of(sizes: list[int]) -> list[DomainData]:
    return [DomainData(f"region=r{index}", np.arange(size)) for index, size in enumerate(sizes)]


def table_of(level: list[DomainData], batch_size: int) -> Timetable:
    return Timetable.of({domain.name: len(domain.rows) for domain in level}, batch_size)


@settings(max_examples=40)
@given(SIZES, st.integers(64, 4_096), st.data())
def test_a_domains_batches_are_the_same_in_any_run(
    sizes: list[int], batch_size: int, data: st.DataObject
) -> None:
    level = level_of(sizes)
    every = schedule(level, batch_size, seed=1, epoch=0)
    chosen = sorted(data.draw(st.sets(st.sampled_from(range(len(level))), min_size=1)))
    table = table_of(level, batch_size)
    some = schedule([level[index] for index in chosen], batch_size, 1, 0, table)
    assert len(some) == len(every) == table.steps
    for batch, of_all in zip(some, every, strict=True):
        for place, index in enumerate(chosen):
            np.testing.assert_array_equal(batch[place], of_all[index])


@settings(max_examples=40)
@given(SIZES, st.integers(64, 4_096))
def test_the_timetable_counts_the_rows_of_its_steps(sizes: list[int], batch_size: int) -> None:
    level = level_of(sizes)
    table = table_of(level, batch_size)
    made = schedule(level, batch_size, seed=1, epoch=0)
    np.testing.assert_array_equal(table.rows, [sum(map(len, batch)) for batch in made])
    for index, domain in enumerate(level):
        taken = [step for step, batch in enumerate(made) if len(batch[index])]
        np.testing.assert_array_equal(table.places[domain.name], taken)


@pytest.mark.parametrize("settings_", [(), ("finetune.rate_power=1.0",)])
@pytest.mark.parametrize("regulariser", ["none", "moments", "variational"])
def test_a_kernel_is_the_same_bits_whatever_trains_beside_it(
    regulariser: str, settings_: tuple[str, ...]
) -> None:
    """Its width is no multiple of what a processor takes at a time."""
    experiment = variant(f"finetune.regulariser={regulariser}", "finetune.beta=3.0", *settings_)
    rows, shape = random_rows(900), KernelShape((5, 7, 1), "relu", residual=True, tap="tower")
    level = [
        DomainData("all", np.arange(900)),
        DomainData("scene=home", np.arange(0, 900, 3)),
        DomainData("period=lunch", np.arange(70)),
    ]
    table = table_of(level, 4_096)

    def trained(*chosen: int) -> list[dict[str, np.ndarray]]:
        data = [level[index] for index in chosen]
        start = [random_kernel(shape, seed=1 + index) for index in chosen]
        trainer = JointTrainer(experiment, shape, data, start, None, table)
        for epoch in range(2):
            batches = schedule(data, 4_096, 1, epoch, table)
            losses = list(trainer.train_epoch(rows, batches, epoch))
            assert len(losses) == table.steps
        return [trainer.kernel(place) for place in range(len(chosen))]

    every = trained(0, 1, 2)
    for chosen in ((0,), (2,), (0, 2)):
        for index, kernel in zip(chosen, trained(*chosen), strict=True):
            for name, values in kernel.items():
                np.testing.assert_array_equal(values, every[index][name], err_msg=name)


@pytest.mark.parametrize(("mixing", "share"), [("none", 0.3), ("fixed", 0.3), ("fixed", 0.9)])
def test_what_mixing_adds_is_known_before_it_is_drawn(mixing: str, share: float) -> None:
    experiment = variant(f"finetune.mixing={mixing}", f"finetune.mixing_share={share}")
    rows, own = random_rows(200), np.arange(60)
    sources = [np.arange(60, 200)] if mixing == "fixed" else []
    drawn = mix(experiment, rows, "scene=home", own, sources, np.array([share] * len(sources)))
    assert expected_rows(experiment.finetune, 60, 200) == len(drawn.rows)
