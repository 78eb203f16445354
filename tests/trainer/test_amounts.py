"""Tasks that predict amounts: what is learned, what comes out, and how it is judged."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs.prediction.tasks import Amount, Target
from tests.configs import accept, refusal
from trainer.losses import learned_scores, loss_by_group, predicted, row_loss
from trainer.metrics.paired_bootstrap import paired_comparison
from trainer.metrics.task_metrics import AMOUNT_METRICS, task_metrics

TASKS = (
    "tasks={view: {label: click}, stay: {label: seconds, kind: regression, after: view, typical: 8"
)

PAGE = "evaluation.page=~"


def target(form: str = "log", squared: bool = False, typical: float = 8.0) -> Target:
    amount = Amount(typical, form, squared)  # type: ignore[arg-type]
    return Target("stay", "seconds", None, (0,), 1.0, amount)


def best_score(kind: Target, amounts: list[float]) -> float:
    """The one score that costs least on rows of these amounts, by gradient descent."""
    score = tf.Variable(0.0)
    labels = tf.constant(amounts, tf.float32)
    for _ in range(400):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(row_loss(kind, labels, tf.fill([len(amounts)], score)))
        score.assign_sub(tape.gradient(loss, score))
    return float(predicted(kind, score))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (target("odds"), 10.0),  # the mean, exactly
        (target("raw", squared=True), 10.0),
        (target("log", squared=True), 8 * np.expm1(np.mean(np.log1p([0.0, 0.5, 0.75, 3.75])))),
    ],
)
def test_the_cheapest_prediction_is_the_mean(kind: Target, expected: float) -> None:
    assert best_score(kind, [0.0, 4.0, 6.0, 30.0]) == pytest.approx(expected, rel=1e-3)


def test_huber_is_half_the_square_up_to_a_typical_amount_and_a_line_beyond() -> None:
    labels = tf.zeros([4])
    losses = row_loss(target("raw"), labels, tf.constant([0.5, 1.0, 3.0, -3.0]))
    np.testing.assert_allclose(losses, [0.125, 0.5, 2.5, 2.5])


@given(st.sampled_from(["log", "raw", "odds"]), st.floats(0.01, 1e4), st.floats(0.01, 1e4))
def test_what_comes_out_is_in_the_labels_unit(form: str, amount: float, typical: float) -> None:
    """The score whose loss is smallest is that of the amount itself."""
    kind = target(form, typical=typical)
    share = amount / typical
    score = {"log": np.log1p(share), "raw": share, "odds": np.log(share)}[form]
    assert float(predicted(kind, tf.constant(score, tf.float32))) == pytest.approx(amount, rel=1e-3)


def test_no_amount_below_zero_is_served() -> None:
    for form in ("log", "raw"):
        assert float(predicted(target(form), tf.constant(-2.0))) == 0.0


def test_an_amount_is_learned_where_it_is_defined() -> None:
    tasks = accept(f"{TASKS}}}}}", PAGE).tasks
    columns = {
        "label/click": tf.constant([1.0, 0.0, 1.0]),
        "label/seconds": tf.constant([8.0, 80.0, 0.0]),
        "row/weight": tf.ones([3]),
    }
    logits = tf.Variable([[0.0, 0.3], [0.0, 0.3], [0.0, 0.3]])
    with tf.GradientTape() as tape:
        scores = learned_scores(tasks, logits)
        loss = loss_by_group(tasks, scores, columns, tf.zeros([3], tf.int32), 1)
    gradient = tape.gradient(loss, logits).numpy()
    assert gradient[1, 1] == 0.0
    assert gradient[0, 1] < 0.0 < gradient[2, 1]


def test_figures_of_an_amount() -> None:
    amounts = np.array([0.0, 4.0, 10.0, 20.0])
    scores = np.array([1.0, 3.0, 14.0, 12.0])
    found = task_metrics(amounts > 8, scores, None, [0, 0, 0, 1], amounts)
    assert tuple(found) == AMOUNT_METRICS
    assert found == pytest.approx(
        {"auc": 1.0, "gauc": 1.0, "mae": 3.5, "rmse": np.sqrt(82 / 4), "pcoc": 30 / 34}
    )
    nothing = task_metrics([], [], None, [], [])
    assert set(nothing.values()) == {None}


def test_the_interval_of_an_error_is_that_of_its_draws() -> None:
    """Every user has the same rows, so that no draw changes a mean: intervals of no width."""
    amounts = np.tile([0.0, 4.0, 10.0, 20.0], 6)
    first, second = amounts + np.tile([1.0, -1.0, 4.0, -8.0], 6), amounts + 1.0
    users = np.repeat(np.arange(6), 4)
    found = paired_comparison(
        amounts > 8, first, second, None, users, users, 20, 1, amounts=amounts
    )
    assert found["mae"].delta == pytest.approx(1.0 - 3.5)
    assert found["mae"].ci95 == pytest.approx((-2.5, -2.5))
    assert found["rmse"].ci95 == pytest.approx((1.0 - np.sqrt(20.5),) * 2)
    assert found["pcoc"].kernel == pytest.approx(38 / 34)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (", typical: 0", "typical"),
        (", entire: {name: both}", "stay.entire: only probabilities are multiplied"),
    ],
)
def test_what_an_amount_cannot_be(more: str, said: str) -> None:
    assert said in refusal(f"{TASKS}{more}}}}}")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("{a: {label: x, kind: regression}}", "a.typical: missing"),
        ("{a: {label: x, typical: 2}}", "a.typical: is of a regression"),
        ("{a: {label: x, transform: raw}}", "a.transform: is of a regression"),
        (
            "{a: {label: x, kind: regression, typical: 2}, b: {label: y, after: a}}",
            "b.after: 'a' predicts an amount",
        ),
        (
            "{a: {label: x}, b: {label: x, kind: regression, typical: 2}}",
            "a.label: 'x' is read in one way by one task and in another by another",
        ),
    ],
)
def test_a_regression_says_what_is_typical(tasks: str, said: str) -> None:
    assert said in refusal(f"tasks={tasks}")


@pytest.mark.parametrize("change", ["transform: raw", "loss: weighted_logistic"])
def test_a_tower_of_one_form_is_not_read_as_another(change: str) -> None:
    """They read one dataset, so that nothing else would tell them apart."""
    one, other = (accept(f"{TASKS}{more}}}}}", PAGE) for more in ("", f", {change}"))
    assert one.data_digest == other.data_digest
    assert not one.tasks.same_as(other.tasks)
    assert one.tasks.words != other.tasks.words
    squared = accept(f"{TASKS}, loss: squared}}}}", PAGE)
    assert one.tasks.same_as(squared.tasks)  # another loss of the same number


def test_a_datasets_digest_says_what_is_typical() -> None:
    one, other = accept(f"{TASKS}}}}}", PAGE), accept(f"{TASKS.replace('8', '9')}}}}}", PAGE)
    assert one.data_digest != other.data_digest
    assert accept(f"{TASKS}, loss: squared}}}}", PAGE).data_digest == one.data_digest
