"""Inputs of kernels are centred one by one and scaled together."""

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.conftest import SHAPE, random_kernel, random_rows
from trainer.backbone.input_scale import InputScale
from trainer.kernels.scoring import score_rows

GENERATOR = np.random.default_rng(0)


def rows(count: int = 500) -> np.ndarray:
    """``[N, 2, 3]``: deviations 0.1, 1 and 0 around far means; the second task's ten times that."""
    drawn = GENERATOR.standard_normal((count, 2, 3)) * [0.1, 1.0, 0.0] + [5.0, -3.0, 7.0]
    return (drawn * [[1.0], [10.0]]).astype(np.float32)


def test_means_become_zero_and_the_mean_variance_of_each_task_one() -> None:
    inputs = rows()
    scale = InputScale.of(inputs)
    found = scale.applied(np.moveaxis(inputs, 0, 1).copy())
    np.testing.assert_allclose(found.mean(axis=1), 0.0, atol=1e-4)
    np.testing.assert_allclose(found.var(axis=1).mean(axis=-1), 1.0, rtol=1e-4)
    # what varies little goes on to vary little: noise is not blown up
    deviations = found.std(axis=1)
    np.testing.assert_allclose(
        deviations[:, 0] / deviations[:, 1],
        inputs.std(axis=0)[:, 0] / inputs.std(axis=0)[:, 1],
        rtol=1e-3,
    )


def test_inputs_that_do_not_vary_become_zero() -> None:
    inputs = np.full((10, 1, 4), 3.0, np.float32)
    scale = InputScale.of(inputs)
    assert scale.deviation == pytest.approx([0.003])
    assert not scale.applied(np.moveaxis(inputs, 0, 1).copy()).any()
    nothing = InputScale.of(np.zeros((10, 1, 4), np.float32))
    assert nothing.deviation.tolist() == [1.0]
    assert not nothing.applied(np.zeros((1, 10, 4), np.float32)).any()


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_what_counts_as_varying_has_no_unit(factor: float) -> None:
    inputs = rows()
    scaled = InputScale.of((inputs * factor).astype(np.float32))
    np.testing.assert_allclose(scaled.deviation, InputScale.of(inputs).deviation * factor, 1e-4)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5, 1e6])
def test_a_kernel_reads_far_inputs_as_it_was_trained_on_them(offset: float) -> None:
    data = random_rows(200)
    data = replace(data, taps=(data.taps + offset).astype(np.float32))
    scale, kernel, every = InputScale.of(data.taps), random_kernel(SHAPE, seed=2), np.arange(200)
    expected = score_rows(SHAPE, kernel, replace(data, scale=scale), every)
    found = score_rows(SHAPE, SHAPE.raw(kernel, scale), data, every)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("tasks", [1, 2])
def test_tiles_are_scaled_as_rows_are(tasks: int) -> None:
    inputs = rows(12)[:, :tasks]
    scale = InputScale.of(inputs)
    flat = scale.applied(np.moveaxis(inputs, 0, 1).copy())
    tiles = scale.applied(np.moveaxis(inputs.reshape(3, 4, tasks, 3), 1, 2).copy())
    np.testing.assert_array_equal(np.moveaxis(tiles, 0, 1).reshape(tasks, 12, 3), flat)
