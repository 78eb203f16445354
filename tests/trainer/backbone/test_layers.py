"""The backbone's layers: values worked out by hand, behaviour in training, save and reload."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.backbone.layers.embedding import IdDropout, RowEmbedding
from trainer.backbone.layers.experts import Experts
from trainer.backbone.layers.sequence_pooling import MeanPooling, TargetAttention

OOV = 2
PADDING, KNOWN = 0, OOV + 1


def dropped(rate: float = 0.3, seed: int = 5, ids: Any = None) -> Any:
    ids = tf.range(20_000) % 1_000 + KNOWN if ids is None else ids
    return IdDropout(rate, OOV, seed)(ids, training=True).numpy()


def test_id_dropout_replaces_about_its_rate_of_known_ids_by_every_oov_bucket() -> None:
    ids = np.arange(20_000) % 1_000 + KNOWN
    out = dropped()
    replaced = out != ids
    assert abs(replaced.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(ids))
    buckets = np.bincount(out[replaced])
    assert set(np.flatnonzero(buckets)) == {1, 2}
    assert abs(buckets[1] / replaced.sum() - 0.5) < 4 * np.sqrt(0.25 / replaced.sum())


def test_id_dropout_leaves_padding_and_oov_ids_alone() -> None:
    ids = tf.constant([[PADDING, 1, 2]] * 5_000)
    np.testing.assert_array_equal(dropped(0.9, ids=ids), ids)


def test_id_dropout_does_nothing_outside_training() -> None:
    ids = tf.range(1_000)
    np.testing.assert_array_equal(IdDropout(0.9, OOV, 5)(ids, training=False), ids)
    np.testing.assert_array_equal(IdDropout(0.9, OOV, 5)(ids), ids)


def test_id_dropout_is_a_function_of_its_seed_and_draws_anew_each_time() -> None:
    np.testing.assert_array_equal(dropped(seed=5), dropped(seed=5))
    assert (dropped(seed=5) != dropped(seed=6)).any()
    layer = IdDropout(0.3, OOV, 5)
    ids = tf.range(KNOWN, 1_000)
    assert (layer(ids, training=True).numpy() != layer(ids, training=True).numpy()).any()


def test_row_embedding_gathers_rows_and_its_gradient_touches_no_other() -> None:
    layer = RowEmbedding(10, 3, seed=7)
    ids = tf.constant([[1, 4], [4, 0]])
    with tf.GradientTape() as tape:
        out = layer(ids)
        loss = tf.reduce_sum(out)
    table = layer.table.numpy()
    np.testing.assert_array_equal(out, table[[[1, 4], [4, 0]]])
    gradient = tape.gradient(loss, layer.table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    assert sorted(gradient.indices.numpy()) == [0, 1, 4, 4]
    assert np.abs(table).max() <= 0.05
    assert table.std() > 0.02


def attention_by_hand(
    ids: list[list[int]], last_key: float = 5.0
) -> tuple[tf.Tensor, TargetAttention]:
    """One row, D = 1: query 2, keys 1, 3 and ``last_key``; a scoring network without hidden
    layers.
    """
    layer = TargetAttention((), seed=1)
    query, keys = tf.constant([[2.0]]), tf.constant([[[1.0], [3.0], [last_key]]])
    layer(query, keys, tf.constant(ids))
    layer.set_weights(
        [np.array([[0.5], [-0.25], [0.1], [0.2]], np.float32), np.array([0.3], np.float32)]
    )
    return layer(query, keys, tf.constant(ids)), layer


def test_target_attention_by_hand() -> None:
    # [query, key, query - key, query * key] . [0.5, -0.25, 0.1, 0.2] + 0.3
    # key 1: [2, 1,  1, 2] -> 1 - 0.25 + 0.1 + 0.4 + 0.3 = 1.55
    # key 3: [2, 3, -1, 6] -> 1 - 0.75 - 0.1 + 1.2 + 0.3 = 1.65; the third is padding
    # softmax: 1 / (1 + e^0.1) = 0.4750208, 0.5249792;   0.4750208 * 1 + 0.5249792 * 3 = 2.0499584
    out, _ = attention_by_hand([[7, 9, 0]])
    np.testing.assert_allclose(out, [[2.0499584]], rtol=1e-6)


def test_target_attention_ignores_what_stands_in_padding() -> None:
    np.testing.assert_array_equal(
        attention_by_hand([[7, 9, 0]])[0], attention_by_hand([[7, 9, 0]], last_key=-800.0)[0]
    )


def test_target_attention_of_an_empty_history_is_zero_with_finite_gradients() -> None:
    out, layer = attention_by_hand([[0, 0, 0]])
    np.testing.assert_array_equal(out, [[0.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(
            layer(tf.constant([[2.0]]), tf.ones([1, 3, 1]), tf.zeros([1, 3], tf.int32))
        )
    for gradient in tape.gradient(loss, [weight.value for weight in layer.weights]):
        assert np.isfinite(gradient).all()


def plain_attention(
    query: tf.Tensor, keys: tf.Tensor, entries: tf.Tensor, weights: list[tf.Tensor]
) -> tf.Tensor:
    """The definition, with [query, key, query - key, query * key] written out."""
    repeated = tf.broadcast_to(query[:, tf.newaxis], tf.shape(keys))
    scores = tf.concat([repeated, keys, repeated - keys, repeated * keys], axis=-1)
    *hidden, last = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in hidden:
        scores = tf.nn.relu(tf.tensordot(scores, kernel, 1) + bias)
    scores = tf.tensordot(scores, last[0], 1) + last[1]
    present = tf.cast(entries > 0, tf.float32)[:, :, tf.newaxis]
    return tf.reduce_sum(
        tf.nn.softmax(scores - 1e9 * (1 - present), axis=1) * present * keys, axis=1
    )


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
def test_target_attention_and_its_gradients_equal_the_definition(hidden: tuple[int, ...]) -> None:
    generator = np.random.default_rng(3)
    query, keys = (
        tf.constant(generator.standard_normal(shape, np.float32)) for shape in ((8, 3), (8, 4, 3))
    )
    entries = tf.constant(generator.integers(0, 3, (8, 4)), tf.int32)
    layer = TargetAttention(hidden, seed=1)
    layer(query, keys, entries)
    layer.set_weights(
        [generator.standard_normal(weight.shape, np.float32) for weight in layer.weights]
    )
    weights = [weight.value for weight in layer.weights]
    assert weights[0].shape == (12, *(hidden or (1,))[:1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([query, keys])
        out, plain = layer(query, keys, entries), plain_attention(query, keys, entries, weights)
    np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-6)
    sources = [query, keys, *weights]
    for ours, theirs in zip(
        tape.gradient(out, sources), tape.gradient(plain, sources), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_mean_pooling_counts_entries_that_are_not_padding() -> None:
    entries = tf.constant([[[1.0, 10.0], [3.0, 20.0], [900.0, 900.0]], [[1.0, 1.0]] * 3])
    ids = tf.constant([[4, 5, 0], [0, 0, 0]])
    np.testing.assert_array_equal(MeanPooling()(entries, ids), [[2.0, 15.0], [0.0, 0.0]])


def test_experts_equal_separate_networks() -> None:
    count, widths = 3, (5, 4)
    layer = Experts(count, widths, seed=2)
    x = np.random.default_rng(0).standard_normal((7, 6), np.float32)
    layer.build(x.shape)
    weights = {weight.name: weight.numpy() for weight in layer.weights}
    weights["bias_0"][:] = np.arange(15).reshape(3, 5) / 10
    weights["bias_1"][:] = np.arange(12).reshape(3, 4) / 10
    layer.set_weights([weights[weight.name] for weight in layer.weights])
    out = layer(x).numpy()
    for expert in range(count):
        first = np.split(weights["kernel_0"], count, axis=1)[expert]
        hidden = np.maximum(x @ first + weights["bias_0"][expert], 0)
        hidden = np.maximum(hidden @ weights["kernel_1"][expert] + weights["bias_1"][expert], 0)
        np.testing.assert_allclose(out[:, expert], hidden, rtol=1e-5, atol=1e-6)


def test_gradients_of_experts_equal_those_of_one_product_a_layer() -> None:
    layer = Experts(3, (5, 4), seed=2)
    x = tf.constant(np.random.default_rng(0).standard_normal((7, 6), np.float32))
    layer.build(x.shape)
    layer.set_weights(
        [
            np.random.default_rng(1).standard_normal(weight.shape, np.float32)
            for weight in layer.weights
        ]
    )
    by_name = {weight.name: weight.value for weight in layer.weights}
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        hidden = tf.nn.relu(tf.reshape(x @ by_name["kernel_0"], (-1, 3, 5)) + by_name["bias_0"])
        plain = tf.nn.relu(
            tf.einsum("bei,eio->beo", hidden, by_name["kernel_1"]) + by_name["bias_1"]
        )
        out = layer(x)
    np.testing.assert_allclose(out, plain, rtol=1e-5, atol=1e-6)
    sources = [x, *by_name.values()]
    for ours, theirs in zip(
        tape.gradient(out, sources), tape.gradient(plain, sources), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_experts_of_bfloat16_learn_in_it_and_infer_in_float32() -> None:
    plain, fast = Experts(3, (50, 40), seed=2), Experts(3, (50, 40), seed=2, precision="bfloat16")
    x = tf.constant(np.random.default_rng(0).standard_normal((64, 30), np.float32))
    np.testing.assert_array_equal(fast(x), plain(x))
    gradients = []
    for layer in (plain, fast):
        with tf.GradientTape() as tape:
            out = layer(x, training=True)
            loss = tf.reduce_mean(tf.square(out))
        assert out.dtype == tf.float32
        gradients.append(tape.gradient(loss, [weight.value for weight in layer.weights]))
    assert (fast(x, training=True).numpy() != plain(x).numpy()).any()
    np.testing.assert_allclose(
        fast(x, training=True), plain(x), atol=0.02, rtol=0.02
    )  # eight bits of mantissa
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.dtype == tf.float32
        assert (
            float(tf.norm(theirs - ours) / tf.norm(ours)) < 0.05
        )  # a unit near 0 may be on in one and off in the other


def test_experts_start_as_networks_of_their_own_and_differ() -> None:
    layer = Experts(3, (50, 40), seed=2)
    layer.build((None, 30))
    first, second = (
        np.asarray(weight) for weight in layer.weights if weight.name.startswith("kernel")
    )
    for kernel, fans in ((first, 30 + 50), (second, 50 + 40)):
        limit = np.sqrt(6 / fans)
        assert 0.98 * limit < np.abs(kernel).max() <= limit
    by_expert = np.split(first, 3, axis=1)
    assert all((by_expert[a] != by_expert[b]).any() for a, b in ((0, 1), (1, 2), (0, 2)))


def floats(*shape: int) -> keras.KerasTensor:
    return keras.Input(shape, dtype="float32")


def ids(*shape: int) -> keras.KerasTensor:
    return keras.Input(shape, dtype="int32")


LAYERS = {
    "id_dropout": lambda: (IdDropout(0.5, OOV, 1), [ids(3)]),
    "row_embedding": lambda: (RowEmbedding(5, 2, 1), [ids(3)]),
    "target_attention": lambda: (TargetAttention((4,), 1), [floats(2), floats(3, 2), ids(3)]),
    "mean_pooling": lambda: (MeanPooling(), [floats(3, 2), ids(3)]),
    "experts": lambda: (Experts(2, (4, 3), 1, "bfloat16"), [floats(6)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_save_and_reload(name: str, tmp_path: Path) -> None:
    layer, inputs = LAYERS[name]()
    model = keras.Model(inputs, layer(*inputs))
    generator = np.random.default_rng(0)
    values = [
        generator.integers(0, 5, (4, *tensor.shape[1:])).astype("int32")
        if tensor.dtype == "int32"
        else generator.standard_normal((4, *tensor.shape[1:]), np.float32)
        for tensor in inputs
    ]
    path = tmp_path / "layer.keras"
    model.save(path)
    reloaded = keras.saving.load_model(path, safe_mode=True)
    assert reloaded.layers[-1].get_config() == layer.get_config()
    np.testing.assert_array_equal(reloaded(values), model(values))
    assert model.output_shape == (None, *model(values).shape[1:])


def test_weight_names_do_not_depend_on_what_was_built_before() -> None:
    """A fingerprint goes by path, so a backbone that is built, trained and reloaded in one
    process must keep its paths.
    """

    def paths() -> list[str]:
        layer = TargetAttention((4,), seed=1, name="attention")
        layer.build((None, 2), (None, 3, 2), (None, 3))
        return [weight.path for weight in layer.weights]

    assert paths() == paths()
