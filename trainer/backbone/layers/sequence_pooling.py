"""Holds the layers that pool a behaviour sequence into one vector."""

from typing import Any

import keras
from keras import ops

from configs.tensorflow_import import tf


def pooled(scores: Any, keys: Any, ids: Any) -> Any:
    """Entries ``[..., L, D]`` under the masked softmax of their scores ``[..., L]``: ``[..., D]``;
    zeros where all ids ``[..., L]`` are padding.
    """
    present = tf.cast(ids > 0, scores.dtype)
    weights = tf.nn.softmax(scores - 1e9 * (1.0 - present)) * present
    return tf.reduce_sum(weights[..., tf.newaxis] * keys, axis=-2)


@keras.saving.register_keras_serializable(package="recommender")
class TargetAttention(keras.layers.Layer):
    """Pools a behaviour sequence by its relevance to the candidate (Zhou et al. 2018, Deep Interest
    Network, section 4.3).

    The weight of an entry is a small network over [query, key, query - key, query * key]; a masked
    softmax normalises it (our choice; the paper leaves weights unnormalised). A row without history
    gives zeros.

    Args:
      hidden: widths of the scoring network's hidden layers.
      seed: of the initial values.

    Inputs: query B x D, keys B x L x D, int32 ids B x L of which 0 is padding. Output: B x D.
    """

    def __init__(self, hidden: tuple[int, ...], seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden, self.seed = tuple(hidden), seed
        widths = [(width, "relu") for width in self.hidden] + [(1, None)]
        self._layers_in_order = [
            # Named, because automatic names count up within a process, and a weight's path is part
            # of the fingerprint.
            keras.layers.Dense(
                width,
                activation=activation,
                kernel_initializer=keras.initializers.GlorotUniform(seed + depth),
                name=f"score_{depth}",
            )
            for depth, (width, activation) in enumerate(widths)
        ]

    def build(self, query_shape: Any, keys_shape: Any, ids_shape: Any) -> None:
        """Creates the scoring network."""
        shape = (*keys_shape[:2], 4 * keys_shape[2])
        for layer in self._layers_in_order:
            layer.build(shape)
            shape = (*shape[:2], layer.units)
        self.built = True

    def call(self, query: Any, keys: Any, ids: Any) -> Any:
        """See the class."""
        return pooled(self.scores(query, keys), keys, ids)

    def scores(self, query: Any, keys: Any) -> Any:
        """What the scoring network makes of every entry, padding included: B x L."""
        length, dimension = ops.shape(keys)[1:]
        first, *others = self._layers_in_order
        # W [q, k, q - k, q * k] = (Wq + Wd) q + (Wk - Wd) k + Wp (q * k): half the product, its
        # first part once a row instead of once an entry, and no B x L x 4D. Entries stand as rows
        # of one matrix, which the products want.
        of_query, of_key, of_difference, of_product = tf.split(first.kernel, 4)
        by_row = tf.nn.bias_add(tf.matmul(query, of_query + of_difference), first.bias)
        entries = tf.matmul(tf.reshape(keys, (-1, dimension)), of_key - of_difference)
        entries += tf.matmul(tf.reshape(query[:, tf.newaxis] * keys, (-1, dimension)), of_product)
        scores = first.activation(
            tf.reshape(entries, (-1, length, first.units)) + by_row[:, tf.newaxis]
        )
        scores = tf.reshape(scores, (-1, first.units))
        for layer in others:
            scores = layer(scores)
        return tf.reshape(scores, (-1, length))

    def compute_output_shape(self, query_shape: Any, keys_shape: Any, ids_shape: Any) -> Any:
        """B x D."""
        return query_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "hidden": self.hidden, "seed": self.seed}


@keras.saving.register_keras_serializable(package="recommender")
class MeanPooling(keras.layers.Layer):
    """Mean over the entries of a list that are not padding; zeros for an empty list.

    Inputs: embedded entries B x L x D, int32 ids B x L. Output: B x D.
    """

    def call(self, entries: Any, ids: Any) -> Any:
        """See the class."""
        present = ops.cast(ops.expand_dims(ids, -1) > 0, entries.dtype)
        return ops.sum(entries * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)


@keras.saving.register_keras_serializable(package="recommender")
class WeightedMean(keras.layers.Layer):
    """Mean over the entries of a list that are not padding, each by its weight; zeros where all
    weights are 0.

    Inputs: embedded entries B x L x D, int32 ids B x L, weights of at least 0, B x L. Output: B x
    D.
    """

    def call(self, entries: Any, ids: Any, weights: Any) -> Any:
        """See the class."""
        shares = weights * ops.cast(ids > 0, entries.dtype)
        total = ops.sum(shares, axis=1, keepdims=True)
        shares = shares / ops.where(total > 0, total, 1.0)
        return ops.sum(entries * ops.expand_dims(shares, -1), axis=1)

    def compute_output_shape(self, entries_shape: Any, ids_shape: Any, weights_shape: Any) -> Any:
        """B x D."""
        return (entries_shape[0], entries_shape[2])
