"""Holds the layers that look ids up: a table updated row by row, and id dropout."""

from typing import Any

import keras
from keras import ops

from configs.tensorflow_import import tf
from trainer.backbone.layers.chunked_tables import draw_uniform, load_table, save_table
from trainer.backbone.layers.row_draws import row_integers, row_uniform


@keras.saving.register_keras_serializable(package="recommender")
class IdDropout(keras.layers.Layer):
    """Replaces known ids by an out-of-vocabulary id in training, so that the out-of-vocabulary rows
    are trained (our choice).

    Without it the rows that unseen users and items will read at serving stay at their random start.

    Args:
      rate: share of known ids replaced, 0 <= rate < 1.
      oov_buckets: out-of-vocabulary ids are 1..oov_buckets; one of them is drawn at random.
      seed: of the draws, which are a function of it, of the step and of a row's place in the batch.

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
        drop = row_uniform(self._generator.next(), ids) < self.rate
        bucket = 1 + row_integers(self._generator.next(), ids, self.oov_buckets)
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
      frozen: whether training leaves it as it is (vectors of another model).

    Input: int32 ids of shape B or B x L. Output: float32 of shape B x D or B x L x D.
    """

    def __init__(
        self, rows: int, dimension: int, seed: int, frozen: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rows, self.dimension, self.seed, self.frozen = rows, dimension, seed, frozen

    def build(self, input_shape: Any) -> None:
        """Creates the table."""
        self.table = self.add_weight(
            shape=(self.rows, self.dimension),
            initializer="zeros",
            trainable=not self.frozen,
            name="table",
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
            **({"frozen": True} if self.frozen else {}),  # older fingerprints know no such thing
        }


def learned_tables(model: keras.Model) -> list[RowEmbedding]:
    """The tables of a backbone that training changes."""
    tables = (layer for layer in model.layers if isinstance(layer, RowEmbedding))
    return [table for table in tables if not table.frozen]
