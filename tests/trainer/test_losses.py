"""The objectives in log space: extremes, sample spaces, weights, and who gets a gradient."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs import Experiment
from configs.prediction.tasks import Tasks
from tests.tasks import TARGETS, TASKS
from tests.trainer.conftest import variant
from trainer.losses import (
    Objectives,
    learned_scores,
    loss_by_group,
    row_cross_entropy,
)

EXTREMES = np.array(list(product([-40.0, -20.0, -3.0, -0.1, 0.0, 0.1, 3.0, 20.0, 40.0], repeat=2)))
CLAMP = -1e-30  # where float32 cannot tell p from 1, the loss of y = 0 stays finite

Doubles = npt.NDArray[np.float64]


def log_sigmoid(x: Doubles) -> Doubles:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def reference_log_p(logits: Doubles) -> dict[str, Doubles]:
    log_ctr, log_cvr = log_sigmoid(logits[:, 0]), log_sigmoid(logits[:, 1])
    return {"ctr": log_ctr, "cvr": log_cvr, "ctcvr": log_ctr + log_cvr}


def reference_loss(labels: Doubles, log_p: Doubles) -> Doubles:
    log_p = np.minimum(log_p, CLAMP)
    with np.errstate(divide="ignore"):  # where p rounds to 1; the next lines replace these
        log_q = np.log1p(-np.exp(log_p))
    near_one = log_p > -0.5
    log_q[near_one] = np.log(-np.expm1(log_p[near_one]))
    return -(labels * log_p + (1 - labels) * log_q)


def tensor(values: Any) -> tf.Tensor:
    return tf.constant(values, tf.float32)


def weighing(ctr: float = 0.0, cvr: float = 0.0, ctcvr: float = 0.0) -> Experiment:
    """The small experiment with the given loss weights, one by one: a config in which a tower
    learns nothing is refused.
    """
    first, second = TASKS.root.values()
    assert second.entire
    entire = second.entire.model_copy(update={"loss_weight": ctcvr})
    tasks = Tasks.model_construct(
        root={
            "ctr": first.model_copy(update={"loss_weight": ctr}),
            "cvr": second.model_copy(update={"loss_weight": cvr, "entire": entire}),
        }
    )
    return variant().model_copy(update={"tasks": tasks})


def weighted(ctr: float = 0.0, cvr: float = 0.0, ctcvr: float = 0.0) -> Objectives:
    """Objectives of the given loss weights."""
    return Objectives(weighing(ctr, cvr, ctcvr))


# Four impressions: no click, click, order, order; unequal weights.
LOGITS = np.array([[0.3, -1.0], [1.0, 0.5], [-0.2, 0.1], [0.7, -0.4]])
CLICK, ORDER, WEIGHT = (
    np.array([0.0, 1, 1, 1]),
    np.array([0.0, 0, 1, 1]),
    np.array([1.0, 2, 0.5, 4]),
)
LABELS = {"ctr": CLICK, "cvr": ORDER, "ctcvr": ORDER}


def columns(weight: Any = WEIGHT) -> dict[str, tf.Tensor]:
    return {
        "label/click": tensor(CLICK),
        "label/conversion": tensor(ORDER),
        "row/weight": tensor(weight),
    }


def loss_and_gradient(
    objectives: Objectives, logits: Any = LOGITS, weight: Any = WEIGHT
) -> tuple[float, npt.NDArray[np.float32]]:
    variable = tf.Variable(tensor(logits))
    with tf.GradientTape() as tape:
        loss = objectives.loss(learned_scores(TASKS, variable), columns(weight))
    return float(loss), tape.gradient(loss, variable).numpy()


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("task", TARGETS)
def test_log_space_equals_float64_at_extreme_logits(task: str, label: float) -> None:
    log_p, reference = (
        learned_scores(TASKS, tensor(EXTREMES))[task],
        reference_log_p(EXTREMES)[task],
    )
    labels = np.full(len(EXTREMES), label)
    np.testing.assert_allclose(log_p, reference, rtol=1e-5)
    np.testing.assert_allclose(
        row_cross_entropy(tensor(labels), log_p), reference_loss(labels, reference), rtol=2e-5
    )


@pytest.mark.parametrize("size", [40.0, 100.0, 1e4])
def test_gradients_are_finite_at_extremes(size: float) -> None:
    logits = tf.Variable(tensor(list(product([-size, 0.0, size], repeat=2))))
    for label in (0.0, 1.0):
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    row_cross_entropy(tf.fill([9], label), log_p)
                    for log_p in learned_scores(TASKS, logits).values()
                ]
            )
        assert np.isfinite(loss).all()
        assert np.isfinite(tape.gradient(loss, logits)).all()


def test_gradient_is_p_minus_y_for_a_logistic_task() -> None:
    x = np.linspace(-10, 10, 41)
    for label in (0.0, 1.0):
        logits = tf.Variable(tensor(np.stack([x, x], 1)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(
                row_cross_entropy(tf.fill([len(x)], label), learned_scores(TASKS, logits)["ctr"])
            )
        gradient = tape.gradient(loss, logits)[:, 0]
        np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-x)) - label, rtol=1e-3, atol=1e-6)


def test_loss_is_the_weighted_sum_of_weighted_means_over_each_sample_space() -> None:
    spaces = {"ctr": WEIGHT, "cvr": WEIGHT * CLICK, "ctcvr": WEIGHT}
    log_p = reference_log_p(LOGITS)
    expected = {
        task: np.average(reference_loss(LABELS[task], log_p[task]), weights=spaces[task])
        for task in TARGETS
    }
    for task in TARGETS:
        assert loss_and_gradient(weighted(**{task: 1.0}))[0] == pytest.approx(
            expected[task], rel=1e-5
        )
    total = 0.5 * expected["ctr"] + 2.0 * expected["cvr"] + 3.0 * expected["ctcvr"]
    assert loss_and_gradient(weighted(0.5, 2.0, 3.0))[0] == pytest.approx(total, rel=1e-5)


def test_a_row_without_click_is_nothing_to_cvr() -> None:
    changed = LOGITS + np.array([[5.0, 7.0], [0, 0], [0, 0], [0, 0]])
    loss, gradient = loss_and_gradient(weighted(cvr=1.0))
    assert loss_and_gradient(weighted(cvr=1.0), changed)[0] == loss
    assert not gradient[0].any()
    assert gradient[1:, 1].all()
    assert (
        loss_and_gradient(weighted(ctcvr=1.0), changed)[0]
        != loss_and_gradient(weighted(ctcvr=1.0))[0]
    )


def test_ctcvr_trains_both_towers_on_every_row() -> None:
    """The usual mistake in ESMM: the product is formed, but only the CTR tower learns from it."""
    _, gradient = loss_and_gradient(weighted(ctcvr=1.0))
    assert gradient.all()
    _, both = loss_and_gradient(weighted(ctr=1.0, ctcvr=1.0))
    assert both.all()


def test_a_row_of_weight_zero_counts_for_nothing() -> None:
    weight = np.array([1.0, 0.0, 0.5, 4.0])
    changed = LOGITS + np.array([[0, 0], [3.0, -3.0], [0, 0], [0, 0]])
    assert (
        loss_and_gradient(weighted(1, 1, 1), LOGITS, weight)[0]
        == loss_and_gradient(weighted(1, 1, 1), changed, weight)[0]
    )


def test_a_batch_without_weight_costs_nothing_and_is_no_nan() -> None:
    loss, gradient = loss_and_gradient(weighted(1, 1, 1), weight=np.zeros(4))
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, np.zeros((4, 2)))


def test_loss_by_group_is_each_groups_own_loss() -> None:
    """The function and the tensorflow-recommenders tasks give one number."""
    experiment = weighing(0.5, 2.0, 3.0)
    objectives, groups = Objectives(experiment), np.array([2, 0, 0, 2])
    by_group = loss_by_group(
        experiment.tasks, learned_scores(TASKS, tensor(LOGITS)), columns(), tf.constant(groups), 3
    ).numpy()
    assert by_group[1] == 0.0
    for group in (0, 2):
        rows = {name: values[groups == group] for name, values in columns().items()}
        alone = objectives.loss(learned_scores(TASKS, tensor(LOGITS[groups == group])), rows)
        assert by_group[group] == pytest.approx(float(alone), rel=1e-6)


@pytest.mark.parametrize("weights", [(0.5, 2.0, 3.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
def test_all_rows_as_one_group_cost_and_teach_what_the_tasks_do(
    weights: tuple[float, float, float],
) -> None:
    """Random rows, some without weight: the same loss and the same gradient by both ways."""
    generator = np.random.default_rng(1)
    click = generator.integers(0, 2, 500)
    rows = {
        "label/click": tensor(click),
        "label/conversion": tensor(click * generator.integers(0, 2, 500)),
        "row/weight": tensor(generator.choice([0.0, 0.5, 1.0, 2.0], 500)),
    }
    experiment, variable = weighing(*weights), tf.Variable(tensor(generator.normal(0, 4, (500, 2))))
    with tf.GradientTape(persistent=True) as tape:
        log_p = learned_scores(TASKS, variable)
        by_tasks = Objectives(experiment).loss(log_p, rows)
        by_group = loss_by_group(experiment.tasks, log_p, rows, tf.zeros([500], tf.int32), 1)
    assert by_group.shape == (1,)
    assert float(by_group[0]) == pytest.approx(float(by_tasks), rel=1e-5)
    np.testing.assert_allclose(
        tape.gradient(by_group, variable), tape.gradient(by_tasks, variable), rtol=1e-4, atol=1e-9
    )


def test_means_are_of_labels_and_probabilities_inside_each_space_and_start_again() -> None:
    objectives = weighted(1, 1, 1)
    objectives.loss(learned_scores(TASKS, tensor(LOGITS)), columns())
    means = objectives.means()
    assert means["ctr_label_mean"] == pytest.approx(6.5 / 7.5)
    assert means["cvr_label_mean"] == pytest.approx(4.5 / 6.5)
    assert means["ctcvr_label_mean"] == pytest.approx(4.5 / 7.5)
    for task, weight in (("ctr", WEIGHT), ("cvr", WEIGHT * CLICK), ("ctcvr", WEIGHT)):
        expected = np.average(np.exp(reference_log_p(LOGITS)[task]), weights=weight)
        assert means[f"{task}_prediction_mean"] == pytest.approx(expected, rel=1e-5)
    assert set(objectives.means().values()) == {0.0}
