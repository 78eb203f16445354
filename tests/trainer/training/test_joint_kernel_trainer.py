"""Training several kernels at once: what the others do is nothing to a domain."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks import TASKS
from tests.trainer.conftest import NAMES, SHAPE, random_kernel, random_rows, variant
from trainer.kernels.kernel import Rows
from trainer.losses import learned_scores, row_cross_entropy
from trainer.training.batch_schedule import DomainData, schedule
from trainer.training.joint_kernel_trainer import TILE, JointTrainer, one_cycle

ROWS = random_rows(400)
DATA = [
    DomainData("all", np.arange(400)),
    DomainData("scene=home", np.arange(0, 400, 3)),
    DomainData("period=lunch", np.arange(70)),
]
REGULARISERS = pytest.mark.parametrize("regulariser", ["none", "moments", "variational"])


def trainer_of(indices: list[int], *settings: str) -> JointTrainer:
    domains = [DATA[index] for index in indices]
    experiment = variant("finetune.rate_power=0", *settings)
    return JointTrainer(
        experiment, SHAPE, domains, [random_kernel(SHAPE, seed=1 + index) for index in indices]
    )


def state_of(trainer: JointTrainer, index: int) -> dict[str, Any]:
    """All that training keeps of one domain."""
    state = {name: variable[index].numpy() for name, variable in trainer.trained.items()}
    for name, pair in trainer.moments.items():
        state |= {
            f"{name}/{order}": moment[index].numpy()
            for order, moment in zip(("first", "second"), pair, strict=True)
        }
    return state | {"updates": trainer.updates[index].numpy()}


def batches(seed: int) -> list[Rows]:
    """Some rows of every domain; not a multiple of a tile."""
    generator = np.random.default_rng(seed)
    return [
        generator.choice(domain.rows, size, replace=False)
        for domain, size in zip(DATA, (150, 70, 30), strict=True)
    ]


@REGULARISERS
def test_joint_training_equals_training_one_by_one(regulariser: str) -> None:
    settings = (f"finetune.regulariser={regulariser}", "finetune.beta=3.0")
    joint = trainer_of([0, 1, 2], *settings)
    alone = [trainer_of([index], *settings) for index in range(3)]
    for seed in range(4):
        rows = batches(seed)
        joint.train_batch(ROWS, rows)
        for index, trainer in enumerate(alone):
            trainer.train_batch(ROWS, [rows[index]])
    for index, trainer in enumerate(alone):
        expected = state_of(trainer, 0)
        for name, value in state_of(joint, index).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)
        assert (
            joint.kernel(index)["weight_0"] != random_kernel(SHAPE, seed=1 + index)["weight_0"]
        ).any()


@REGULARISERS
def test_a_domain_without_rows_is_untouched_bit_by_bit(regulariser: str) -> None:
    trainer = trainer_of([0, 1, 2], f"finetune.regulariser={regulariser}", "finetune.beta=3.0")
    trainer.train_batch(ROWS, batches(0))
    before = [state_of(trainer, index) for index in range(3)]
    first, _, third = batches(1)
    losses = trainer.train_batch(ROWS, [first, np.empty(0, np.int64), third])
    np.testing.assert_equal(state_of(trainer, 1), before[1])
    assert losses[1] == 0.0
    for index in (0, 2):
        assert state_of(trainer, index)["updates"] == before[index]["updates"] + 1
        assert (state_of(trainer, index)["weight_0"] != before[index]["weight_0"]).any()


def test_variational_draws_of_a_domain_do_not_depend_on_which_others_train() -> None:
    settings = ("finetune.regulariser=variational",)
    joint, alone = trainer_of([0, 1, 2], *settings), trainer_of([1], *settings)
    one = np.float32(1)
    for counts in ([1, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0]):
        drawn = joint._draw_noise(np.array(counts, np.float32))
        if counts[1]:
            expected, place = alone._draw_noise(np.array([one])), sum(counts[:1])
            for name, values in expected.items():
                assert len(drawn[name]) == sum(counts)
                np.testing.assert_array_equal(drawn[name][place], values[0])
                others = np.delete(drawn[name], place, axis=0)
                assert (np.array(others) != values[0].numpy()).all()


@pytest.mark.parametrize(
    ("power", "counts", "expected"),
    [
        # lr 0.01; B / K = 400 / 2 = 200: shares 1.5 and 0.5
        (1.0, [300, 100], [0.01, 0.005]),
        (0.5, [300, 100], [0.01, 0.0070710678]),
        (0.0, [300, 100], [0.01, 0.01]),
        (1.0, [3990, 10], [0.01, 0.001]),  # a share of 0.005 is clipped to 0.1
        (0.5, [3990, 10], [0.01, 0.001]),  # its root too: 0.0707
        (0.5, [0, 100], [0.0, 0.01]),
        (0.0, [0, 0], [0.0, 0.0]),
    ],
)
def test_batch_aware_rates_by_hand(power: float, counts: list[int], expected: list[float]) -> None:
    trainer = trainer_of([0, 1], f"finetune.rate_power={power}", "finetune.learning_rate=0.01")
    np.testing.assert_allclose(trainer._rates(np.array(counts, np.float32)), expected, rtol=1e-6)


def test_each_domain_has_keras_adam_with_its_own_rate_and_step_count() -> None:
    trainer = trainer_of([0, 1], "finetune.regulariser=none")
    references = [
        [tf.Variable(v) for v in random_kernel(SHAPE, seed=1 + index).values()]
        for index in range(2)
    ]
    adams = [keras.optimizers.Adam(rate, epsilon=1e-7) for rate in (0.01, 0.003)]
    generator = np.random.default_rng(0)
    for rates in ([0.01, 0.003], [0.01, 0.0], [0.01, 0.003]):
        active = np.flatnonzero(rates).astype(np.int32)
        shapes = {
            name: (len(active), *variable.shape[1:]) for name, variable in trainer.trained.items()
        }
        gradients = {
            name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()
        }
        trained = {name: tf.gather(variable, active) for name, variable in trainer.trained.items()}
        trainer._apply(
            gradients,
            trained,
            tf.constant(active),
            tf.constant(np.array(rates, np.float32)[active]),
        )
        for place, index in enumerate(active):
            adams[index].apply(
                [gradient[place] for gradient in gradients.values()], references[index]
            )
    for index, variables in enumerate(references):
        for name, reference in zip(SHAPE.variables(), variables, strict=True):
            np.testing.assert_allclose(trainer.kernel(index)[name], reference, rtol=1e-5, atol=1e-6)


def test_losses_are_of_each_domains_own_rows_whatever_pads_its_tiles() -> None:
    trainer = trainer_of([0, 1, 2])
    new = [SHAPE.initial(17, name) for name in NAMES]  # zero-shot: the loss is the backbone's
    trainer = JointTrainer(trainer.experiment, SHAPE, DATA, new)
    rows = [np.arange(TILE), np.arange(0, 3), np.arange(TILE + 1)]
    losses = trainer.train_batch(ROWS, rows)
    log_p = learned_scores(TASKS, ROWS.logits)
    for part, loss in zip(rows, losses, strict=True):
        expected = sum(
            np.average(
                tf.gather(row_cross_entropy(ROWS.labels(label), log_p[task]), part),
                weights=ROWS.weights[part],
            )
            for task, label in (("ctr", "click"), ("ctcvr", "conversion"))
        )
        assert loss == pytest.approx(expected, rel=1e-5)


def test_regulariser_sums_the_kl_of_weights_and_leaves_biases_free() -> None:
    trainer = trainer_of([0, 1], "finetune.regulariser=moments")
    for index, value in enumerate(trainer.regulariser().numpy()):
        kernel = random_kernel(SHAPE, seed=1 + index)
        expected = 0.0
        for task in (0, 1):
            for weight in (kernel["weight_0"][task], kernel["weight_1"][task]):
                mean, variance = (
                    weight.astype(np.float64).mean(),
                    weight.astype(np.float64).var() + 1e-3,
                )
                expected += weight.size * 0.5 * (mean**2 + variance - 1 - np.log(variance))
        assert value == pytest.approx(expected, rel=1e-5)


def test_variational_kernels_start_at_the_configs_sigma() -> None:
    trainer = trainer_of([0], "finetune.regulariser=variational", "finetune.initial_sigma=0.25")
    expected = 0.0
    for name, weight in random_kernel(SHAPE, seed=1).items():
        if name.startswith("weight"):
            expected += (0.5 * (weight.astype(np.float64) ** 2 + 0.0625 - 1 - np.log(0.0625))).sum()
    np.testing.assert_allclose(trainer.regulariser(), [expected], rtol=1e-5)


def test_beta_pulls_a_kernel_towards_its_prior() -> None:
    def after(beta: float) -> float:
        trainer = trainer_of([2], f"finetune.beta={beta}", "finetune.learning_rate=0.2")
        trainer.means["weight_0"].assign(trainer.means["weight_0"] * 4.0)
        for seed in range(20):
            trainer.train_batch(ROWS, [batches(seed)[2]])
        return float(trainer.regulariser()[0])

    assert after(50.0) < 0.5 * after(0.0)


@pytest.mark.parametrize("regulariser", ["moments", "variational", "none"])
def test_the_parent_prior_is_each_domains_own_parent(regulariser: str) -> None:
    """Kernels that start at their parent's weights, moved by 0.3 each: n * 0.09 / 2 / s^2, and
    the variances' own part.
    """
    experiment = variant(
        f"finetune.regulariser={regulariser}",
        "finetune.prior_sigma=0.5",
        "finetune.initial_sigma=0.25",
    )
    parents = [random_kernel(SHAPE, seed) for seed in (1, 2)]
    trainer = JointTrainer(experiment, SHAPE, DATA[:2], parents, parents)
    entries = sum(parents[0][name].size for name in SHAPE.informed)
    at_rest = (
        entries * (np.log(0.5 / 0.25) + 0.25**2 / (2 * 0.5**2) - 0.5)
        if regulariser == "variational"
        else 0.0
    )
    np.testing.assert_allclose(trainer.regulariser(), [at_rest, at_rest], rtol=1e-5)
    trainer.means["weight_0"].assign_add(
        tf.fill(trainer.means["weight_0"].shape, 0.3) * [[[[0.0]]], [[[1.0]]]]
    )
    moved = parents[0]["weight_0"].size * 0.09 / 2 / 0.25 if regulariser != "none" else 0.0
    np.testing.assert_allclose(trainer.regulariser(), [at_rest, at_rest + moved], rtol=1e-5)


def test_the_parent_prior_pulls_a_kernel_back_to_its_parent() -> None:
    def distance(beta: float) -> float:
        parent = random_kernel(SHAPE, 1)
        trainer = JointTrainer(
            variant(f"finetune.beta={beta}"), SHAPE, DATA[2:], [parent], [parent]
        )
        for seed in range(10):
            trainer.train_batch(ROWS, [batches(seed)[2]])
        return float(np.linalg.norm(trainer.kernel(0)["weight_0"] - parent["weight_0"]))

    assert distance(10.0) < 0.5 * distance(0.0)


def joined(batches_: list[list[Rows]], index: int) -> Rows:
    return np.concatenate([batch[index] for batch in batches_])


def test_an_epoch_holds_every_row_of_every_domain_once() -> None:
    made = schedule(DATA, batch_size=90, seed=1, epoch=0)
    for index, domain in enumerate(DATA):
        np.testing.assert_array_equal(np.sort(joined(made, index)), domain.rows)
    assert max(len(batch[0]) for batch in made) <= 90


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6), st.integers(64, 8_192))
def test_an_epoch_of_few_rows_has_enough_steps_and_no_tiny_batches(
    sizes: list[int], batch_size: int
) -> None:
    """64 batches, unless the largest domain's rows are too few for 64 in each; as many as
    ``batch_size`` asks for where that is more.
    """
    domains = [DomainData(str(index), np.arange(size)) for index, size in enumerate(sizes)]
    made, largest = schedule(domains, batch_size, seed=1, epoch=0), max(sizes)
    assert len(made) == max(1, -(-largest // batch_size), min(64, -(-largest // 64)))
    assert max(len(part) for batch in made for part in batch) <= max(batch_size, 64)
    for index, domain in enumerate(domains):
        np.testing.assert_array_equal(np.sort(joined(made, index)), domain.rows)
        parts = [len(batch[index]) for batch in made if len(batch[index])]
        assert min(parts, default=64) >= min(len(domain.rows), 32)


def test_the_order_is_a_function_of_seed_epoch_and_name_alone() -> None:
    home = joined(schedule(DATA, 90, seed=1, epoch=0), 1)
    np.testing.assert_array_equal(home, joined(schedule([DATA[1]], 50, seed=1, epoch=0), 0))
    renamed = DomainData("scene=search", DATA[1].rows)
    for other in (
        schedule([DATA[1]], 50, 2, 0),
        schedule([DATA[1]], 50, 1, 1),
        schedule([renamed], 50, 1, 0),
    ):
        assert (home != joined(other, 0)).any()
    assert (home != DATA[1].rows).any()


def test_a_domains_share_of_a_batch_is_its_share_of_all_rows_and_a_tiny_one_takes_part_in_few() -> (
    None
):
    large = [
        DomainData("all", np.arange(60_000)),
        DomainData("scene=home", np.arange(20_000)),
        DomainData("period=lunch", np.arange(65)),
    ]
    made = schedule(large, batch_size=400, seed=1, epoch=0)
    assert len(made) == 150
    for batch in made:
        assert abs(len(batch[0]) - 3 * len(batch[1])) <= 4
    assert sorted(len(batch[2]) for batch in made)[-3:] == [0, 32, 33]


def test_a_batch_of_many_domains_is_bounded() -> None:
    domains = [DomainData(str(index), np.arange(40_000)) for index in range(50)]
    made = schedule(domains, batch_size=40_000, seed=1, epoch=0)
    assert len(made) == 64
    assert max(sum(map(len, batch)) for batch in made) <= 65_536
    (few,) = schedule([DomainData("all", np.arange(64))], batch_size=64, seed=1, epoch=0)
    assert len(few[0]) == 64


@pytest.mark.parametrize(("domains", "rows"), [(300, 2_000), (4_000, 64), (100, 700)])
def test_small_domains_are_spread_over_the_batches(domains: int, rows: int) -> None:
    given = [DomainData(str(index), np.arange(rows)) for index in range(domains)]
    made = schedule(given, batch_size=4_096, seed=1, epoch=0)
    sizes = [sum(map(len, batch)) for batch in made]
    assert sum(sizes) == domains * rows
    assert max(sizes) <= 1.2 * domains * rows / len(made) + rows
    for batches_ in (joined(made, 0), joined(made, domains - 1)):
        np.testing.assert_array_equal(np.sort(batches_), np.arange(rows))


def test_no_step_is_without_rows_however_small_the_batch() -> None:
    made = schedule([DomainData("all", np.arange(3_000))], batch_size=1, seed=1, epoch=0)
    assert len(made) == 47
    assert min(len(batch[0]) for batch in made) >= 63


def test_rates_rise_for_a_tenth_and_then_fall_to_nothing() -> None:
    np.testing.assert_allclose(
        one_cycle(np.array([0.0, 0.05, 0.1, 0.55, 1.0])), [0.0, 0.5, 1.0, 0.5, 0.0], atol=1e-6
    )


def test_a_domain_goes_through_the_cycle_by_its_own_steps() -> None:
    """Whatever trains beside it, and however many steps that has."""
    domains = [
        DomainData("all", np.arange(6_000)),
        DomainData("period=lunch", np.arange(200)),
    ]

    def cycle(names: list[int], epoch: int) -> Any:
        given = [domains[index] for index in names]
        kernels = [random_kernel(SHAPE, seed=1 + index) for index in names]
        trainer = JointTrainer(variant("finetune.epochs=2"), SHAPE, given, kernels)
        made = schedule(given, batch_size=400, seed=1, epoch=epoch)
        present = np.array([len(batch[-1]) > 0 for batch in made])
        return trainer._cycle(made, epoch)[present, -1]

    for epoch in (0, 1):
        together, alone = cycle([0, 1], epoch), cycle([1], epoch)
        assert len(together) == 4
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_allclose(
            together, one_cycle((epoch + np.array([0.125, 0.375, 0.625, 0.875])) / 2)
        )


def test_rates_multiply_what_a_step_moves_and_constant_ones_are_one() -> None:
    constant = trainer_of([0, 1], "finetune.rates=constant")
    made = schedule(DATA[:2], 90, seed=1, epoch=0)
    np.testing.assert_array_equal(constant._cycle(made, 1), np.ones((len(made), 2)))
    still = trainer_of([0, 1, 2])
    before = [state_of(still, index)["weight_0"] for index in range(3)]
    still.train_batch(ROWS, batches(0), np.array([0.0, 1.0, 0.0], np.float32))
    for index in range(3):
        moved = (state_of(still, index)["weight_0"] != before[index]).any()
        assert moved == (index == 1)


def test_a_domain_without_rows_has_a_place_in_every_batch_and_nothing_in_it() -> None:
    made = schedule([DATA[0], DomainData("region=r9", np.empty(0, np.int64))], 100, seed=1, epoch=0)
    assert all(len(batch) == 2 and len(batch[1]) == 0 for batch in made)


@pytest.mark.parametrize("regulariser", ["moments", "variational", "coding_rate"])
def test_a_step_is_traced_once_whatever_domains_and_rows_it_has(
    regulariser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the number of tiles changes alone, then that of domains, then both."""
    trainer = trainer_of([0, 1, 2], f"finetune.regulariser={regulariser}")
    none = np.empty(0, np.int64)
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *_: pytest.fail("TensorFlow warned"))
    for rows in (
        [np.arange(3 * TILE), np.arange(3), np.arange(3)],
        [np.arange(2 * TILE), np.arange(3), np.arange(3)],
        [np.arange(3 * TILE), np.arange(3), none],
        [none, np.arange(3), none],
        [np.arange(TILE + 1), none, np.arange(70)],
        [none, none, np.arange(1)],
    ):
        losses = trainer.train_batch(ROWS, rows)
        assert [bool(loss) for loss in losses] == [bool(len(part)) for part in rows]
    assert trainer._traced.experimental_get_tracing_count() == 1
