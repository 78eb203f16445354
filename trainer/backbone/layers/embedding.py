"""The backbone's own layers; everything else in it is stock Keras."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from trainer.backbone.layers.chunked_tables import draw_uniform, load_table, save_table


@keras.saving.register_keras_serializable(package="recommender")
class IdDropout(keras.layers.Layer):
    """Replaces known ids by an out-of-vocabulary id in training, so that the out-of-vocabulary rows
    are trained (our choice).

    Without it the rows that unseen users and items will read at serving stay at their random start.

    Args:
      rate: share of known ids replaced, 0 <= rate < 1.
      oov_buckets: out-of-vocabulary ids are 1..oov_buckets; one of them is drawn at random.
      seed: of the draws.

    Input and output: int32 ids of any shape; padding (0) stays padding.
    """

    def __init__(self, rate: float, oov_buckets: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.oov_buckets, self.seed = rate, oov_buckets, seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, ids: Any, training: bool = False) -> Any:
        """See the class."""
        if not training or self.rate == 0.0:
            return ids
        drop = keras.random.uniform(ops.shape(ids), seed=self._generator) < self.rate
        bucket = keras.random.randint(
            ops.shape(ids), 1, self.oov_buckets + 1, dtype="int32", seed=self._generator
        )
        return ops.where(ops.logical_and(drop, ids > self.oov_buckets), bucket, ids)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "oov_buckets": self.oov_buckets,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="recommender")
class RowEmbedding(keras.layers.Layer):
    """An embedding table that is read row by row.

    A Keras ``Embedding`` reads the whole variable, and a later sparse write then copies it; this
    one gathers from the variable itself, so a step's cost does not grow with the table.

    Args:
      rows: number of ids, padding included.
      dimension: width D of a row.
      seed: of the initial values, uniform in +-0.05.

    Input: int32 ids of shape B or B x L. Output: float32 of shape B x D or B x L x D.
    """

    def __init__(self, rows: int, dimension: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows, self.dimension, self.seed = rows, dimension, seed

    def build(self, input_shape: Any) -> None:
        """Creates the table."""
        self.table = self.add_weight(
            shape=(self.rows, self.dimension), initializer="zeros", name="table"
        )
        draw_uniform(self.table.value, 0.05, self.seed)
        self.built = True

    def save_own_variables(self, store: Any) -> None:
        """Keras's storage, in pieces where the table is large."""
        save_table(self.table.value, store)

    def load_own_variables(self, store: Any) -> None:
        """Reads what ``save_own_variables`` wrote."""
        load_table(self.table.value, store)

    def call(self, ids: Any) -> Any:
        """See the class."""
        return tf.nn.embedding_lookup(self.table.value, ids)

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        """Shape of the output; given here because a symbolic call cannot look rows up."""
        if not self.built:
            self.build(ids.shape)
        return keras.KerasTensor((*ids.shape, self.dimension), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "rows": self.rows,
            "dimension": self.dimension,
            "seed": self.seed,
        }


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
        present = tf.cast(ids > 0, scores.dtype)
        weights = tf.nn.softmax(tf.reshape(scores, (-1, length)) - 1e9 * (1.0 - present)) * present
        return tf.reduce_sum(weights[:, :, tf.newaxis] * keys, axis=1)

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
class Experts(keras.layers.Layer):
    """E expert networks of equal widths over one input (MMoE; Ma et al. 2018, section 4).

    Args:
      experts: E.
      widths: of each expert's layers, ReLU after each.
      seed: of the initial values.
      precision: of the layers in training, ``float32`` or ``bfloat16`` (which processors that have
        its products compute at twice the rate). Weights, gradients as the optimiser gets them, and
        all of inference are float32 in either.

    Input: B x D. Output: B x E x widths[-1], float32.
    """

    def __init__(
        self,
        experts: int,
        widths: tuple[int, ...],
        seed: int,
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.experts, self.widths, self.seed, self.precision = (
            experts,
            tuple(widths),
            seed,
            precision,
        )

    def build(self, input_shape: Any) -> None:
        """Creates the experts; each is initialised as a network of its own would be (Glorot over
        one expert's fan).
        """
        self._kernels, self._biases = [], []
        fan_in = input_shape[-1]
        for depth, width in enumerate(self.widths):
            limit = (6.0 / (fan_in + width)) ** 0.5
            initializer = keras.initializers.RandomUniform(-limit, limit, seed=self.seed + depth)
            # The experts' first layers share their input; their weights stand side by side, D x (E
            # * width).
            shape = (fan_in, self.experts * width) if depth == 0 else (self.experts, fan_in, width)
            self._kernels.append(
                self.add_weight(shape=shape, initializer=initializer, name=f"kernel_{depth}")
            )
            self._biases.append(
                self.add_weight(
                    shape=(self.experts, width), initializer="zeros", name=f"bias_{depth}"
                )
            )
            fan_in = width
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """See the class."""
        precision = self.precision if training else "float32"
        entered = tf.cast(inputs, precision)
        first, *others = (tf.cast(kernel, precision) for kernel in self._kernels)
        # Expert by expert: products of these widths run as fast as one of all experts, bias and
        # ReLU are fused into each, and no B x E x width is transposed between two layers.
        kernels = [
            tf.split(first, self.experts, axis=1),
            *(tf.unstack(kernel) for kernel in others),
        ]
        biases = [tf.unstack(tf.cast(bias, precision)) for bias in self._biases]
        outputs = []
        for expert in range(self.experts):
            hidden = entered
            for kernel, bias in zip(kernels, biases, strict=True):
                hidden = tf.nn.relu(tf.nn.bias_add(tf.matmul(hidden, kernel[expert]), bias[expert]))
            outputs.append(tf.cast(hidden, tf.float32))
        return tf.stack(outputs, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """B x E x widths[-1]."""
        return (input_shape[0], self.experts, self.widths[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        settings = {
            "experts": self.experts,
            "widths": self.widths,
            "seed": self.seed,
            "precision": self.precision,
        }
        return {**super().get_config(), **settings}
