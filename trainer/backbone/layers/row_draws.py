"""Draws random numbers for the rows of a batch, by their places in it: how many workers share the
batch changes none.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from configs.tensorflow_import import tf
from trainer.distribution.batch_share import batch_share

_PHILOX = 1
_BLOCK = 4  # numbers that Philox draws at once, by one value of its counter


def row_uniform(seed: Any, like: Any) -> tf.Tensor:
    """Numbers uniform in [0, 1), a function of the seed and of each row's number in the batch.

    Args:
      seed: two integers, such as a seed and a step.
      like: whose shape they have, ``[N, ...]``; the first of its rows is the ``first`` of the
        ``batch_share``.

    Returns:
      float32, of that shape; in a whole batch those of ``tf.random.stateless_uniform``.
    """
    return _drawn(seed, like, tf.raw_ops.StatelessRandomUniformV2)


def row_integers(seed: Any, like: Any, below: int) -> tf.Tensor:
    """Integers from 0 to ``below - 1``, int32; otherwise as ``row_uniform``."""
    bounds = {"minval": tf.constant(0), "maxval": tf.constant(below)}
    return _drawn(seed, like, partial(tf.raw_ops.StatelessRandomUniformIntV2, **bounds))


def _drawn(seed: Any, like: Any, draw: Callable[..., tf.Tensor]) -> tf.Tensor:
    shape, first = tf.shape(like), batch_share().first
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=tf.cast(seed, tf.int32))
    if isinstance(first, int) and first == 0:
        return draw(shape=shape, key=key, counter=counter, alg=_PHILOX)
    before = tf.cast(first, tf.int64) * tf.reduce_prod(tf.cast(shape[1:], tf.int64))
    counter = tf.tensor_scatter_nd_add(counter, [[0]], [tf.cast(before // _BLOCK, tf.uint64)])
    over = tf.cast(before % _BLOCK, tf.int32)
    drawn = draw(shape=[over + tf.reduce_prod(shape)], key=key, counter=counter, alg=_PHILOX)
    return tf.reshape(drawn[over:], shape)


@keras.saving.register_keras_serializable(package="recommender")
class RowDropout(keras.layers.Dropout):
    """Keras's dropout (Srivastava et al. 2014), with draws by the rows' places in the batch.

    Input and output: float32 B x D.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Sets a share of the inputs to 0 in training, and scales the others up by as much."""
        if not training or not self.rate:
            return inputs
        kept = row_uniform(self.seed_generator.next(), inputs) >= self.rate
        return ops.where(kept, inputs * (1.0 / (1.0 - self.rate)), 0.0)
