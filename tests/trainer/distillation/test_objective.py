"""What a student learns from its teacher, worked out by hand."""

import numpy as np
import tensorflow as tf

from tests.trainer.distillation.conftest import student
from trainer.distillation.objective import TEACHER_LOGITS, distilled

STUDENT = np.array([[0.5, -1.0], [2.0, 0.0], [-1.5, 1.0]], np.float32)
TEACHER = np.array([[0.0, -0.5], [1.0, 1.0], [-3.0, 2.0]], np.float32)
WEIGHTS = np.array([1.0, 2.0, 0.5], np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def columns() -> dict[str, tf.Tensor]:
    return {"row/weight": tf.constant(WEIGHTS), TEACHER_LOGITS: tf.constant(TEACHER)}


def by_hand(*weights: float) -> float:
    """The weighted mean cross entropy of CTR, CVR and CTCVR, times these."""
    p, q = sigmoid(STUDENT), sigmoid(TEACHER)
    outputs = [(p[:, 0], q[:, 0]), (p[:, 1], q[:, 1]), (p[:, 0] * p[:, 1], q[:, 0] * q[:, 1])]
    total = 0.0
    for weight, (ours, theirs) in zip(weights, outputs, strict=True):
        rows = -(theirs * np.log(ours) + (1 - theirs) * np.log(1 - ours))
        total += weight * float((rows * WEIGHTS).sum() / WEIGHTS.sum())
    return total


def test_every_output_counts_by_its_loss_weight_and_the_labels_have_the_rest() -> None:
    experiment = student(0.25, "tasks.ctr.loss_weight=2.0", "tasks.cvr.loss_weight=0.5")
    loss = distilled(experiment, tf.constant(3.0), tf.constant(STUDENT), columns())
    np.testing.assert_allclose(loss, 0.75 * 3.0 + 0.25 * by_hand(2.0, 0.5, 1.0), rtol=1e-6)
    alone = distilled(student(1.0), tf.constant(3.0), tf.constant(STUDENT), columns())
    np.testing.assert_allclose(alone, by_hand(1.0, 0.0, 1.0), rtol=1e-6)


def test_nothing_is_left_to_learn_where_the_student_agrees() -> None:
    logits = tf.Variable(TEACHER)
    with tf.GradientTape() as tape:
        loss = distilled(student(1.0), tf.constant(0.0), logits, columns())
    np.testing.assert_allclose(tape.gradient(loss, logits), 0.0, atol=1e-6)
    away = tf.Variable(STUDENT)
    with tf.GradientTape() as tape:
        loss = distilled(student(1.0), tf.constant(0.0), away, columns())
    gradient = tape.gradient(loss, away).numpy()
    assert (np.sign(gradient[:, 0]) == np.sign(STUDENT - TEACHER)[:, 0]).all()


def test_far_logits_give_a_finite_loss() -> None:
    far = {**columns(), TEACHER_LOGITS: tf.constant([[90.0, 90.0], [-90.0, 90.0], [90.0, -90.0]])}
    loss = distilled(student(1.0), tf.constant(0.0), tf.constant(-50.0 * STUDENT), far)
    assert np.isfinite(loss)
