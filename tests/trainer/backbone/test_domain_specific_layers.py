"""The multi-domain layers: values worked out by hand, no domain seen in another's figures, save
and reload.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.backbone.layers.domain_specific import (
    HyperAdapter,
    PartitionedNormalization,
    StarNetwork,
)

MIXED = np.array([0, 1, 1, 0, 1], np.int32)
"""Domains of five rows; of three domains the last has none."""


def normalization(**settings: Any) -> PartitionedNormalization:
    """Three domains of one column: gamma 2 times (1, 3, 1), beta 0.5 plus (0, -1, 0)."""
    layer = PartitionedNormalization(3, epsilon=0.0, **settings)
    layer.build((None, 1), (None,))
    layer.gamma.assign([2.0])
    layer.beta.assign([0.5])
    layer.domain_gamma.assign([[1.0], [3.0], [1.0]])
    layer.domain_beta.assign([[0.0], [-1.0], [0.0]])
    return layer


def moving(layer: PartitionedNormalization) -> list[Any]:
    return [
        layer.moving_mean.numpy().ravel().tolist(),
        layer.moving_variance.numpy().ravel().tolist(),
    ]


def test_partitioned_normalization_by_hand() -> None:
    # domain 0: 1, 3 -> mean 2, variance 1 -> -1, 1 -> 2 z + 0.5
    # domain 1: 10, 20, 30 -> mean 20, variance 200 / 3 -> -1.2247449, 0, 1.2247449 -> 6 z - 0.5
    layer = normalization()
    out = layer(tf.constant([[1.0], [10.0], [20.0], [3.0], [30.0]]), MIXED, training=True)
    np.testing.assert_allclose(out, [[-1.5], [-7.8484692], [-0.5], [2.5], [6.8484692]], rtol=1e-6)
    assert moving(layer) == [
        [2.0, 20.0, 0.0],
        [2.0, 100.0, 1.0],
    ]  # the first update sets them; variances are unbiased


def test_moving_moments_are_means_of_the_first_batches_then_exponential() -> None:
    layer = normalization(momentum=0.75)
    for shift in (0.0, 4.0):
        layer(tf.constant([[1.0], [3.0]]) + shift, np.zeros(2, np.int32), training=True)
    assert moving(layer) == [[4.0, 0.0, 0.0], [2.0, 1.0, 1.0]]  # (2 + 6) / 2
    layer.updates.assign([[100.0], [0.0], [0.0]])
    layer(tf.constant([[6.0], [10.0]]), np.zeros(2, np.int32), training=True)
    assert moving(layer) == [[5.0, 0.0, 0.0], [3.5, 1.0, 1.0]]  # 4 + (8 - 4) / 4, 2 + (8 - 2) / 4


def test_outside_training_a_row_is_normalised_by_its_domains_moving_moments() -> None:
    layer = normalization()
    layer.moving_mean.assign([[1.0], [2.0], [0.0]])
    layer.moving_variance.assign([[4.0], [16.0], [1.0]])
    rows, domain = tf.constant([[3.0], [6.0], [7.0]]), np.array([0, 1, 2], np.int32)
    expected = [[2.5], [5.5], [14.5]]  # 2 (3 - 1) / 2 + 0.5, 6 (6 - 2) / 4 - 0.5, 2 * 7 + 0.5
    before = moving(layer)
    np.testing.assert_allclose(layer(rows, domain), expected)
    layer.trainable = False
    np.testing.assert_allclose(
        layer(tf.tile(rows, [2, 1]), np.tile(domain, 2), training=True), expected * 2
    )
    assert moving(layer) == before


def test_a_domains_rows_change_nothing_of_another() -> None:
    generator = np.random.default_rng(0)
    domain = generator.integers(0, 3, 200).astype(np.int32)
    x = generator.standard_normal((200, 4), np.float32)
    changed = np.where(domain[:, None] == 1, 50.0 * x + 9.0, x).astype(np.float32)
    kept = domain != 1
    layers, outs = [], []
    for batch in (x, changed):
        layer = PartitionedNormalization(3)
        outs.append(layer(batch, domain, training=True).numpy())
        layers.append(layer)
    np.testing.assert_array_equal(outs[0][kept], outs[1][kept])
    for name in ("moving_mean", "moving_variance"):
        first, second = (getattr(layer, name).numpy() for layer in layers)
        np.testing.assert_array_equal(first[[0, 2]], second[[0, 2]])
        assert (first[1] != second[1]).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_a_domain_without_a_second_row_keeps_its_moving_moments_and_goes_by_them(rows: int) -> None:
    layer = normalization()
    layer.moving_mean.assign([[0.0], [2.0], [0.0]])
    layer.moving_variance.assign([[1.0], [16.0], [1.0]])
    domain = np.array([0, 0, 1][: 2 + rows], np.int32)
    out = layer(tf.constant([[1.0], [3.0], [6.0]][: 2 + rows]), domain, training=True)
    np.testing.assert_allclose(out[2:, 0], [5.5] * rows)
    assert moving(layer) == [[2.0, 2.0, 0.0], [2.0, 16.0, 1.0]]
    assert layer.updates.numpy().ravel().tolist() == [1.0, 0.0, 0.0]


def star_network(activation: str | None = "relu") -> tuple[StarNetwork, dict[str, Any]]:
    """Three domains, all of whose weights are random."""
    layer = StarNetwork(3, (5, 2), activation, seed=1)
    layer.build((None, 4), (None,))
    generator = np.random.default_rng(3)
    for weight in layer.weights:
        weight.assign(generator.standard_normal(weight.shape))
    return layer, {weight.name: weight.numpy() for weight in layer.weights}


def test_a_star_network_is_each_domains_own_network_on_its_rows() -> None:
    layer, weights = star_network()
    x = np.random.default_rng(0).standard_normal((5, 4), np.float32)
    out = layer(x, MIXED).numpy()
    assert out.shape == (5, 2)
    for row, domain in enumerate(MIXED):
        hidden = x[row]
        for depth in (0, 1):
            kernel = weights[f"kernel_{depth}"] * weights[f"domain_kernel_{depth}"][domain]
            hidden = np.maximum(
                hidden @ kernel
                + weights[f"bias_{depth}"]
                + weights[f"domain_bias_{depth}"][domain],
                0,
            )
        np.testing.assert_allclose(out[row], hidden, rtol=1e-5, atol=1e-6)


def test_rows_score_in_a_mixed_batch_as_among_their_own() -> None:
    layer, _ = star_network(None)
    generator = np.random.default_rng(0)
    x, domain = (
        generator.standard_normal((100, 4), np.float32),
        generator.integers(0, 3, 100).astype(np.int32),
    )
    mixed = layer(x, domain).numpy()
    for value in range(3):
        np.testing.assert_allclose(
            mixed[domain == value],
            layer(x[domain == value], domain[domain == value]),
            rtol=1e-5,
            atol=1e-6,
        )
    assert layer(x[:0], domain[:0]).shape == (0, 2)


def test_all_domains_start_as_one_network_with_glorot_weights() -> None:
    layer = StarNetwork(3, (40, 30), "relu", seed=1)
    x = np.random.default_rng(0).standard_normal((6, 50), np.float32)
    same = [layer(x, np.full(6, value, np.int32)).numpy() for value in range(3)]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])
    kernel = next(weight.numpy() for weight in layer.weights if weight.name == "kernel_0")
    assert 0.98 * np.sqrt(6 / 90) < np.abs(kernel).max() <= np.sqrt(6 / 90)


def test_gradients_reach_the_domains_of_the_batch_alone() -> None:
    layer, _ = star_network(None)
    normalised = normalization()
    with tf.GradientTape() as tape:
        columns = [
            normalised(tf.constant([[1.0], [9.0], [2.0], [4.0], [7.0]]), MIXED, training=True)
        ] * 4
        loss = tf.reduce_sum(tf.square(layer(tf.concat(columns, axis=1), MIXED)))
    weights = [*layer.trainable_weights, *normalised.trainable_weights]
    for weight, gradient in zip(
        weights, tape.gradient(loss, [weight.value for weight in weights]), strict=True
    ):
        size = np.abs(tf.convert_to_tensor(gradient).numpy())
        if not weight.name.startswith("domain_"):
            assert size.max() > 0, weight.path
            continue
        assert (size.reshape(3, -1).max(axis=1) > 0).tolist() == [True, True, False], weight.path


def test_a_hyper_adapter_has_the_weights_that_the_rows_core_gives() -> None:
    layer = HyperAdapter(width=3, seed=1)
    generator = np.random.default_rng(0)
    x, core = (
        generator.standard_normal((4, 5), np.float32),
        generator.standard_normal((4, 2, 2), np.float32),
    )
    layer.build(x.shape, core.shape)
    for weight in layer.weights:
        weight.assign(generator.standard_normal(weight.shape))
    weights = {weight.name: weight.numpy() for weight in layer.weights}
    out = layer(x, core).numpy()
    for row in range(4):
        down, up = (weights[f"u_{depth}"] @ core[row] @ weights[f"v_{depth}"] for depth in (0, 1))
        assert down.shape == (5, 3)
        assert up.shape == (3, 5)
        hidden = 1 / (1 + np.exp(-(x[row] @ down + weights["bias_0"])))
        np.testing.assert_allclose(out[row], hidden @ up + weights["bias_1"], rtol=1e-4, atol=1e-5)


def floats(*shape: int) -> keras.KerasTensor:
    return keras.Input(shape, dtype="float32")


def domains() -> keras.KerasTensor:
    return keras.Input((), dtype="int32")


LAYERS: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
    "normalization": lambda: (
        PartitionedNormalization(3, gamma=0.5, momentum=0.9, epsilon=0.1),
        [floats(4), domains()],
    ),
    "star": lambda: (StarNetwork(3, (5, 2), None, seed=1), [floats(4), domains()]),
    "adapter": lambda: (HyperAdapter(3, seed=1), [floats(4), floats(2, 2)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_save_and_reload(name: str, tmp_path: Path) -> None:
    layer, inputs = LAYERS[name]()
    model = keras.Model(inputs, layer(*inputs))
    generator = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(generator.uniform(0.5, 2.0, weight.shape))
    values = [
        MIXED
        if tensor.dtype == "int32"
        else generator.standard_normal((5, *tensor.shape[1:]), np.float32)
        for tensor in inputs
    ]
    model.save(tmp_path / "layer.keras")
    reloaded = keras.saving.load_model(tmp_path / "layer.keras", safe_mode=True)
    assert reloaded.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(reloaded(values), model(values))
    assert model.output_shape == (None, *model(values).shape[1:])
