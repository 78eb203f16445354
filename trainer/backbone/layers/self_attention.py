"""Holds the layer in which the entries of a list look at each other."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="recommender")
class SelfAttention(keras.layers.Layer):
    """A transformer block over the entries of a list (Chen et al. 2019, Behavior Sequence
    Transformer, section 2.2; Vaswani et al. 2017).

    x = norm(x + attention(x)); norm(x + feed-forward(x)), of width 2 D within. Entries get learned
    positions, counted from the first (our choice; the paper has times). The candidate is no entry:
    it comes in when the entries are pooled (our choice).

    Args:
      heads: H; D must be a multiple of it.
      positions: L, whose learned vectors are added to the entries; 0 adds none.
      seed: of the initial values.

    Inputs: entries B x L x D, int32 ids B x L of which 0 is padding, at which nothing looks.
    Output: B x L x D.
    """

    def __init__(self, heads: int, positions: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.positions, self.seed = heads, positions, seed

    def build(self, entries_shape: Any, ids_shape: Any) -> None:
        """Creates the weights."""
        width = entries_shape[-1]
        if self.positions:
            self._positions = self.add_weight(
                (self.positions, width),
                initializer=keras.initializers.RandomUniform(-0.05, 0.05, self.seed),
                name="positions",
            )
        # Named, because automatic names count up within a process, and a weight's path is part of
        # the fingerprint.
        parts = {"query": width, "key": width, "value": width, "out": width}
        parts |= {"inner": 2 * width, "outer": width}
        self._dense = {
            name: keras.layers.Dense(
                units,
                "relu" if name == "inner" else None,
                kernel_initializer=keras.initializers.GlorotUniform(self.seed + place),
                name=name,
            )
            for place, (name, units) in enumerate(parts.items(), 1)
        }
        self._norms = [keras.layers.LayerNormalization(name=f"norm_{place}") for place in (0, 1)]
        for name, layer in self._dense.items():
            layer.build((None, 2 * width if name == "outer" else width))
        for norm in self._norms:
            norm.build(entries_shape)
        self.built = True

    def call(self, entries: Any, ids: Any) -> Any:
        """See the class."""
        length, width = entries.shape[1:]
        if self.positions:
            entries = entries + self._positions[:length]
        split = (-1, length, self.heads, width // self.heads)
        query, key, value = (
            ops.reshape(self._dense[name](entries), split) for name in ("query", "key", "value")
        )
        seen = ops.reshape(ids > 0, (-1, 1, 1, length))
        found = ops.dot_product_attention(query, key, value, mask=seen, flash_attention=False)
        entries = self._norms[0](
            entries + self._dense["out"](ops.reshape(found, (-1, length, width)))
        )
        return self._norms[1](entries + self._dense["outer"](self._dense["inner"](entries)))

    def compute_output_shape(self, entries_shape: Any, ids_shape: Any) -> Any:
        """B x L x D."""
        return entries_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"heads": self.heads, "positions": self.positions, "seed": self.seed}
        return {**super().get_config(), **own}
