"""Information of codes: the rate by hand, its place between bounds, and what it does in
training.
"""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.conftest import SHAPE, random_kernel, random_rows, variant
from trainer.kernels.kernel import KernelShape
from trainer.kernels.mutual_information import (
    code_information,
    codes_of,
    coding_rate,
    contrastive_information,
    information,
)
from trainer.training.batch_schedule import DomainData
from trainer.training.joint_kernel_trainer import TILE, JointTrainer

ROWS = random_rows(500)
DATA = [DomainData("all", np.arange(500)), DomainData("scene=home", np.arange(0, 500, 3))]


def rate_by_hand(codes: Any, weights: Any, noise: float) -> float:
    """Of one domain's codes ``[T, N, d]``, in float64."""
    total = 0.0
    for code in np.asarray(codes, np.float64):
        covariance = np.cov(code.T, aweights=np.asarray(weights, np.float64), ddof=0)
        total += 0.5 * np.linalg.slogdet(np.eye(code.shape[1]) + covariance / noise**2)[1]
    return total


def test_one_dimension_is_shannons_formula() -> None:
    """1/2 ln(1 + variance / noise^2): a variance of 0.75 at noise 0.5 is ln 2 nats."""
    spread = np.sqrt(0.75)
    codes = np.array([spread, -spread], np.float32).reshape(1, 1, 2, 1)
    (rate,) = coding_rate(tf.constant(codes), tf.ones([1, 2]), tf.constant([0]), 1, 0.5).numpy()
    assert rate == pytest.approx(np.log(2.0), rel=1e-6)


def test_rates_are_of_each_domains_weighted_rows_over_all_its_tiles() -> None:
    generator = np.random.default_rng(0)
    codes = generator.standard_normal((4, 2, 8, 3)).astype(np.float32) + 5.0
    weights = generator.uniform(0.5, 2.0, (4, 8)).astype(np.float32)
    weights[1, 5:] = 0.0  # padded
    codes[1, :, 5:] = 1e3
    rates = coding_rate(
        tf.constant(codes), tf.constant(weights), tf.constant([0, 0, 2, 2]), 3, 0.5
    ).numpy()
    assert rates[1] == 0.0
    for domain, tiles in ((0, [0, 1]), (2, [2, 3])):
        stacked = codes[tiles].transpose(1, 0, 2, 3).reshape(2, 16, 3)
        assert rates[domain] == pytest.approx(
            rate_by_hand(stacked, weights[tiles].ravel(), 0.5), rel=1e-4
        )


def test_codes_are_the_first_layer() -> None:
    kernel = random_kernel(SHAPE, 1)
    codes = codes_of(SHAPE, kernel, ROWS.taps)
    assert codes.shape == (2, 500, 4)
    for task in (0, 1):
        expected = np.maximum(
            ROWS.taps[:, task] @ kernel["weight_0"][task] / np.sqrt(5) + kernel["bias_0"][task], 0.0
        )
        np.testing.assert_allclose(codes[task], expected, rtol=1e-4, atol=1e-5)
    shared = codes_of(SHAPE, kernel, ROWS.taps[:, :1])
    np.testing.assert_allclose(shared[0], codes[0], rtol=1e-5, atol=1e-6)
    assert shared.shape == codes.shape


def test_the_estimate_is_that_of_the_kernels_codes() -> None:
    kernel = random_kernel(SHAPE, 1)
    expected = rate_by_hand(codes_of(SHAPE, kernel, ROWS.taps), np.ones(500), 0.5)
    assert code_information(SHAPE, kernel, ROWS.taps, 0.5) == pytest.approx(expected, rel=1e-4)
    assert code_information(SHAPE, kernel, ROWS.taps, 5.0) < expected


def linear(width: int) -> tuple[KernelShape, dict[str, np.ndarray]]:
    """A kernel whose codes are tap / 10 (tanh is linear there): Gaussian, of variance 0.01, for
    Gaussian taps.
    """
    shape = KernelShape((width, width, 1), "tanh", residual=True, tap="tower")
    eye = np.broadcast_to(np.eye(width, dtype=np.float32) * 0.1 * np.sqrt(width), (2, width, width))
    kernel = {name: np.zeros(size, np.float32) for name, size in shape.variables().items()}
    return shape, {**kernel, "weight_0": eye.astype(np.float32)}


def test_lower_and_upper_estimate_meet_the_truth_of_gaussian_codes() -> None:
    """One dimension a task: I = 1/2 ln(1 + 0.01 / eps^2), of both tasks together twice that."""
    shape, kernel = linear(1)
    taps = np.random.default_rng(0).standard_normal((3_000, 2, 1)).astype(np.float32)
    truth = 2 * 0.5 * np.log(1 + 0.01 / 0.05**2)
    assert code_information(shape, kernel, taps, 0.05) == pytest.approx(truth, rel=0.05)
    assert contrastive_information(shape, kernel, taps, 0.05) == pytest.approx(truth, rel=0.05)


def test_the_lower_estimate_is_at_most_the_logarithm_of_the_rows_and_the_upper_is_above_it() -> (
    None
):
    kernel = random_kernel(SHAPE, 1)
    lower = contrastive_information(SHAPE, kernel, ROWS.taps, 0.01)
    assert 0.5 * np.log(500) < lower <= 2 * np.log(500)
    for noise in (0.2, 0.5):
        assert contrastive_information(SHAPE, kernel, ROWS.taps, noise) < code_information(
            SHAPE, kernel, ROWS.taps, noise
        )


def test_a_kernel_that_reads_nothing_carries_nothing() -> None:
    kernel = {name: np.zeros(size, np.float32) for name, size in SHAPE.variables().items()}
    found = information(SHAPE, kernel, ROWS.taps)
    assert found["gaussian"] == 0.0
    assert found["contrastive"] == pytest.approx(0.0, abs=1e-6)
    assert found["kl"] > 0.0


def test_the_penalty_is_in_the_loss_with_its_own_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient by the encoder grows by code_beta times that of the rate, domain by domain."""

    def gradients(*settings: str) -> dict[str, Any]:
        trainer = JointTrainer(
            variant(*settings), SHAPE, DATA, [random_kernel(SHAPE, 1), random_kernel(SHAPE, 2)]
        )
        trainer.step = trainer._step
        caught: dict[str, Any] = {}
        monkeypatch.setattr(trainer, "_apply", lambda found, *_: caught.update(found))
        trainer.train_batch(ROWS, [np.arange(150), np.arange(0, 90, 3)])
        return {name: tf.convert_to_tensor(gradient).numpy() for name, gradient in caught.items()}

    plain = gradients("finetune.regulariser=none")
    charged = gradients(
        "finetune.regulariser=coding_rate",
        "finetune.code_beta=0.25",
        "finetune.code_noise=0.7",
        "finetune.beta=9",
    )
    for index, rows in enumerate((np.arange(150), np.arange(0, 90, 3))):
        weights = {
            name: tf.constant(values[None])
            for name, values in random_kernel(SHAPE, 1 + index).items()
        }
        with tf.GradientTape() as tape:
            tape.watch(weights)
            codes = SHAPE.code(weights, tf.constant(ROWS.taps[rows].transpose(1, 0, 2)[None]))
            rate = coding_rate(
                codes, tf.constant(ROWS.weights[rows][None]), tf.constant([0]), 1, 0.7
            )
        expected = tape.gradient(rate, weights["weight_0"]).numpy()[0]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(
            charged["weight_0"][index] - plain["weight_0"][index],
            0.25 * expected,
            rtol=1e-3,
            atol=1e-5,
        )
        np.testing.assert_allclose(
            charged["weight_1"][index], plain["weight_1"][index], rtol=1e-5, atol=1e-7
        )


def test_training_under_the_penalty_forgets_information() -> None:
    def after(weight: float) -> float:
        experiment = variant("finetune.regulariser=coding_rate", f"finetune.code_beta={weight}")
        trainer = JointTrainer(experiment, SHAPE, DATA[:1], [random_kernel(SHAPE, 1)])
        for start in range(0, 448, TILE):
            trainer.train_batch(ROWS, [np.arange(start, start + TILE)])
        return code_information(SHAPE, trainer.kernel(0), ROWS.taps)

    assert after(1.0) < after(0.0) - 0.1


def test_only_kernels_have_codes() -> None:
    class Other:
        tap, informed = "tower", ()

    with pytest.raises(ValueError, match="expected a KernelShape"):
        JointTrainer(
            variant("finetune.regulariser=coding_rate"),
            Other(),
            DATA[:1],
            [random_kernel(SHAPE, 1)],
        )  # type: ignore[arg-type]
