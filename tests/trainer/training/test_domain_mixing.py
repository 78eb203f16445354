"""Mixing: outside rows carry their share of the weight, and go where gradients agree."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.conftest import SHAPE, domains_of, random_kernel, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.training import domain_mixing
from trainer.training.batch_schedule import DomainData, schedule
from trainer.training.domain_mixing import agreements, learned_shares, mix, training_data
from trainer.training.joint_kernel_trainer import JointTrainer
from trainer.training.kernel_training import train_kernels

ROWS = random_rows(600)
OWN = np.arange(0, 600, 5)  # 120 rows


def share_of(data: DomainData, own: Any, rows: BackboneOutputs = ROWS) -> float:
    """What outside rows carry of the whole weight."""
    weight = rows.weights[data.rows] * (1.0 if data.factors is None else data.factors)
    return float(weight[~np.isin(data.rows, own)].sum() / weight.sum())


def test_without_mixing_a_domain_has_its_own_rows_alone() -> None:
    experiment = variant()
    domains = domains_of(experiment, "all", "scene=home")
    for data, domain in zip(
        training_data(experiment, SHAPE, ROWS, domains, []), domains, strict=False
    ):
        np.testing.assert_array_equal(data.rows, ROWS.domain_rows(domain))
        assert data.factors is None
        assert data.own_rows == len(data.rows)


def test_fixed_mixing_draws_the_share_from_the_rest_of_the_window() -> None:
    experiment = variant("finetune.mixing=fixed", "finetune.mixing_share=0.3")
    domains = domains_of(experiment, "all", "scene=home", "region=r1,scene=home")
    start = [random_kernel(SHAPE, 1)] * 3
    everyone, *mixed = training_data(experiment, SHAPE, ROWS, domains, start)
    np.testing.assert_array_equal(everyone.rows, np.arange(600))
    assert everyone.factors is None
    for data, domain in zip(mixed, domains[1:], strict=True):
        own = ROWS.domain_rows(domain)
        assert data.own_rows == len(own)
        assert set(own) < set(data.rows)
        assert (np.diff(data.rows) > 0).all()
        assert len(data.rows) - len(own) == round(len(own) * 0.3 / 0.7)
        assert data.factors is not None
        np.testing.assert_array_equal(data.factors[np.isin(data.rows, own)], 1.0)
        assert share_of(data, own) == pytest.approx(0.3, rel=1e-5)
    again = training_data(experiment, SHAPE, ROWS, domains[1:2], start[1:2])[0]
    np.testing.assert_array_equal(
        again.rows, mixed[0].rows
    )  # a function of seed and name, whoever else trains
    other = training_data(
        experiment.model_copy(update={"seed": 18}), SHAPE, ROWS, domains[1:2], start[1:2]
    )[0]
    assert (other.rows != mixed[0].rows).any()


def test_few_outside_rows_weigh_more_and_no_source_weighs_nothing() -> None:
    few, none = np.array([1, 2, 3]), np.empty(0, np.int64)
    data = mix(variant(), ROWS, "scene=home", OWN, [few, none], np.array([0.5, 0.2]))
    assert data.factors is not None
    factors = data.factors[np.isin(data.rows, few)]
    assert factors[0] == pytest.approx(ROWS.weights[OWN].sum() / ROWS.weights[few].sum(), rel=1e-5)
    assert share_of(data, OWN) == pytest.approx(0.5, rel=1e-5)
    assert mix(variant(), ROWS, "scene=home", OWN, [none], np.array([0.3])).factors is None
    assert mix(variant(), ROWS, "scene=home", none, [few], np.array([0.3])).factors is None


def test_a_row_of_two_sources_has_the_sum_and_every_source_its_share() -> None:
    first, second = np.arange(1, 600, 5), np.arange(1, 600, 10)  # the second lies inside the first
    data = mix(variant(), ROWS, "scene=home", OWN, [first, second], np.array([0.3, 0.2]))
    assert len(set(data.rows)) == len(data.rows)
    assert share_of(data, OWN) == pytest.approx(0.5, rel=1e-5)
    assert data.factors is not None
    both = np.isin(data.rows, second)
    outside = ~np.isin(data.rows, OWN)
    assert len(np.unique(data.factors[both & outside])) > 1


def test_learned_shares_by_hand() -> None:
    # positive: 0.6 and 0.2, mean 0.4: together 0.5 * 0.4 = 0.2, in the proportion 3 to 1
    np.testing.assert_allclose(
        learned_shares(np.array([0.6, -0.9, 0.2, 0.0]), 0.5), [0.15, 0.0, 0.05, 0.0]
    )
    np.testing.assert_array_equal(learned_shares(np.array([-0.1, 0.0]), 0.5), [0.0, 0.0])
    assert learned_shares(np.empty(0), 0.5).shape == (0,)


AGREEING = 9_000  # rows enough that like ones agree whatever kernel is drawn


def agreeing_rows() -> BackboneOutputs:
    """Scene 1 (home) and period 1 (lunch) want one thing of the kernel, scene 2 (search) the
    opposite; each row is of one domain.
    """
    made = random_rows(AGREEING)
    group = np.arange(AGREEING) % 3
    wanted = np.where(group == 2, -1.0, 1.0)
    click = (made.taps[:, 0, 0] * wanted > 0).astype(np.float32)
    columns = {
        **made.columns,
        "label/click": click,
        "label/conversion": click * (made.taps[:, 1, 0] * wanted > 0),
        "topic/scene": np.select([group == 0, group == 2], [1, 2]).astype(np.int32),
        "topic/period": np.where(group == 1, 1, 0).astype(np.int32),
        "topic/region": np.zeros(AGREEING, np.int32),
    }
    return replace(made, columns=columns)


def test_gradients_of_like_rows_agree_and_of_opposite_rows_do_not() -> None:
    rows, kernel = agreeing_rows(), SHAPE.initial(17, "all")
    own, like, opposite = (np.arange(index, AGREEING, 3) for index in range(3))
    found = agreements(variant(), SHAPE, kernel, rows, own, [own, like, opposite])
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert found[1] > 0.8
    assert found[2] < 0.5


def test_the_gradient_is_that_of_the_trainers_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, kernel = variant("finetune.regulariser=none"), random_kernel(SHAPE, 4)
    trainer = JointTrainer(experiment, SHAPE, [DomainData("scene=home", OWN)], [kernel])
    trainer.step = trainer._step
    caught: dict[str, Any] = {}
    monkeypatch.setattr(trainer, "_apply", lambda gradients, *_: caught.update(gradients))
    trainer.train_batch(ROWS, [OWN])
    expected = np.concatenate(
        [np.ravel(tf.convert_to_tensor(caught[name])) for name in sorted(caught)]
    )
    np.testing.assert_allclose(
        domain_mixing._gradient(experiment, SHAPE, kernel, ROWS, OWN),
        expected,
        rtol=1e-4,
        atol=1e-6,
    )


def test_learned_mixing_takes_rows_of_what_agrees() -> None:
    rows = agreeing_rows()
    experiment = variant("finetune.mixing=learned", "finetune.mixing_share=0.4")
    domains = domains_of(experiment, "scene=home")
    (data,) = training_data(experiment, SHAPE, rows, domains, [SHAPE.initial(17, "all")])
    own = rows.domain_rows(domains[0])
    outside = np.setdiff1d(data.rows, own)
    assert len(outside) > 50
    assert np.mean(rows.columns["topic/period"][outside] == 1) > 0.6
    assert 0.1 < share_of(data, own, rows) <= 0.4


def test_factors_weigh_rows_in_training_and_own_rows_divide_the_kl() -> None:
    """A factor of 2 on a row is the same as a sample weight twice as large."""
    experiment = variant("finetune.beta=3.0")
    factors = np.where(np.arange(120) % 2, 2.0, 1.0).astype(np.float32)
    weights = ROWS.weights.copy()
    weights[OWN] *= factors
    heavier = BackboneOutputs(ROWS.logits, ROWS.taps, {**ROWS.columns, "row/weight": weights})
    one = JointTrainer(
        experiment, SHAPE, [DomainData("scene=home", OWN, factors)], [random_kernel(SHAPE, 1)]
    )
    other = JointTrainer(
        experiment, SHAPE, [DomainData("scene=home", OWN)], [random_kernel(SHAPE, 1)]
    )
    for batch in schedule(one.domains, 50, 1, 0):
        np.testing.assert_array_equal(
            one.train_batch(ROWS, batch), other.train_batch(heavier, batch)
        )
    np.testing.assert_equal(one.kernel(0), other.kernel(0))
    fewer = JointTrainer(
        experiment,
        SHAPE,
        [DomainData("scene=home", OWN, factors, own=30)],
        [random_kernel(SHAPE, 1)],
    )
    assert fewer.rows_total.numpy() == [30.0]


@pytest.mark.parametrize("mixing_setting", ["fixed", "learned"])
def test_kernels_train_on_mixed_rows(mixing_setting: str) -> None:
    experiment = variant("finetune.epochs=2", f"finetune.mixing={mixing_setting}")
    domains = domains_of(experiment, "all", "scene=home", "region=r1,scene=home")
    start = [SHAPE.initial(17, "all")] * 3
    first = train_kernels(experiment, SHAPE, ROWS, ROWS, domains, start)
    again = train_kernels(experiment, SHAPE, ROWS, ROWS, domains, start)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_equal(one.weights, other.weights)
