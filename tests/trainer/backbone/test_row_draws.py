"""Draws for the rows of a batch are those of the whole batch, whoever has which rows."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.backbone.layers.embedding import IdDropout
from trainer.backbone.layers.row_draws import RowDropout, row_integers, row_uniform
from trainer.distribution.batch_share import sharing
from trainer.distribution.workers import Workers

SEED = (7, 3)


class Several(Workers):
    size = 2


@pytest.mark.parametrize("shape", [(53,), (53, 7), (53, 3, 5)])
@pytest.mark.parametrize("draw", [row_uniform, lambda seed, like: row_integers(seed, like, 9)])
def test_parts_draw_what_the_whole_draws(draw: Any, shape: tuple[int, ...]) -> None:
    whole = draw(SEED, tf.zeros(shape)).numpy()
    for first, end in ((0, 20), (20, 37), (37, 53), (5, 5)):
        with sharing(Several(), tf.constant(first)):
            part = draw(SEED, tf.zeros((end - first, *shape[1:])))
        np.testing.assert_array_equal(part, whole[first:end])


def test_a_whole_batch_draws_what_tensorflow_and_keras_draw() -> None:
    """What was trained before there were workers is trained so still."""
    np.testing.assert_array_equal(
        row_uniform(SEED, tf.zeros((5, 3))), tf.random.stateless_uniform((5, 3), SEED)
    )
    np.testing.assert_array_equal(
        row_integers(SEED, tf.zeros(50), 9), tf.random.stateless_uniform([50], SEED, 0, 9, tf.int32)
    )
    ours, keras_own = RowDropout(0.3, seed=5), keras.layers.Dropout(0.3, seed=5)
    x = tf.random.stateless_normal((40, 6), SEED)
    for _ in range(2):
        np.testing.assert_array_equal(ours(x, training=True), keras_own(x, training=True))
    np.testing.assert_array_equal(ours(x, training=False), x)


@pytest.mark.parametrize("layer", [lambda: IdDropout(0.4, 3, 5), lambda: RowDropout(0.4, seed=5)])
def test_dropout_of_parts_is_that_of_the_whole_at_every_step(layer: Any) -> None:
    alone, parts = layer(), [layer(), layer()]
    rows = np.arange(60).reshape(20, 3)
    x = tf.constant(rows, tf.int32 if isinstance(alone, IdDropout) else tf.float32)
    for _ in range(3):
        whole = alone(x, training=True).numpy()
        found = []
        for part, (first, end) in zip(parts, ((0, 9), (9, 20)), strict=True):
            with sharing(Several(), tf.constant(first)):
                found.append(part(x[first:end], training=True).numpy())
        np.testing.assert_array_equal(np.concatenate(found), whole)
        assert (whole != x.numpy()).any()
