"""Holds the layers that turn a number into features of it that a network can read: linear in a
standardised number, a network needs many rows to learn a threshold, which a tree has at once.
"""

from math import pi
from typing import Any

import keras
from keras import ops

FREQUENCY_DEVIATION = 0.1
"""Of the frequencies of ``Periodic`` where they start, in turns for each standard deviation of the
number; Gorishniy et al. choose it between 0.01 and 100, this of ours was chosen on KuaiRand.
"""


@keras.saving.register_keras_serializable(package="recommender")
class PiecewiseLinear(keras.layers.Layer):
    """The piecewise linear encoding of a number among quantiles (Gorishniy et al. 2022, On
    Embeddings for Numerical Features in Tabular Deep Learning, section 3.2, equation 1): of every
    piece how much of it lies below the number, from 0 to 1; one more says that it is missing.

    The first and the last piece do not go beyond 0 and 1, as the paper's do (our choice: a number
    beyond all others stays an outlier).

    Args:
      pieces: T.

    Input: float32 B, the number's position among the pieces' edges, -1 where missing
    (``preprocessing.features.kinds.numeric``). Output: B x (T + 1).
    """

    def __init__(self, pieces: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pieces = pieces

    def call(self, position: Any) -> Any:
        """See the class."""
        position = ops.expand_dims(position, -1)
        filled = ops.clip(position - ops.arange(self.pieces, dtype=position.dtype), 0.0, 1.0)
        return ops.concatenate([filled, ops.cast(position < 0, position.dtype)], axis=-1)

    def compute_output_shape(self, position_shape: Any) -> Any:
        """B x (T + 1)."""
        return (*position_shape, self.pieces + 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable(package="recommender")
class Periodic(keras.layers.Layer):
    """Sines and cosines of a number at learned frequencies (Gorishniy et al. 2022, section 3.3,
    equation 2), and the number itself (our choice).

    Args:
      frequencies: F.
      seed: of the initial frequencies, normal with deviation ``FREQUENCY_DEVIATION``.

    Input: float32 B, standardised. Output: B x (2 F + 1).
    """

    def __init__(self, frequencies: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frequencies, self.seed = frequencies, seed

    def build(self, number_shape: Any) -> None:
        """Creates the frequencies."""
        self._frequencies = self.add_weight(
            shape=(self.frequencies,),
            initializer=keras.initializers.RandomNormal(0.0, FREQUENCY_DEVIATION, self.seed),
            name="frequencies",
        )
        self.built = True

    def call(self, number: Any) -> Any:
        """See the class."""
        number = ops.expand_dims(number, -1)
        angles = 2 * pi * number * self._frequencies
        return ops.concatenate([ops.sin(angles), ops.cos(angles), number], axis=-1)

    def compute_output_shape(self, number_shape: Any) -> Any:
        """B x (2 F + 1)."""
        return (*number_shape, 2 * self.frequencies + 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "frequencies": self.frequencies, "seed": self.seed}


@keras.saving.register_keras_serializable(package="recommender")
class SoftBuckets(keras.layers.Layer):
    """Learned soft buckets of a number (Guo et al. 2021, An Embedding Learning Framework for
    Numerical Features in CTR Prediction, AutoDis, section 3.2): of every bucket a share, all of
    which add up to 1.

    h = leaky_relu(number w + b); softmax(W h + h). The bias, which lets buckets stand at other
    places than 0, is ours; so is that the temperature is 1.

    Args:
      buckets: H.
      seed: of the initial values.

    Input: float32 B, standardised. Output: B x H.
    """

    def __init__(self, buckets: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.buckets, self.seed = buckets, seed

    def build(self, number_shape: Any) -> None:
        """Creates w, b and W."""
        glorot, normal = keras.initializers.GlorotUniform, keras.initializers.RandomNormal
        width = self.buckets
        self._slope = self.add_weight((1, width), initializer=glorot(self.seed), name="slope")
        self._shift = self.add_weight(
            (width,), initializer=normal(0.0, 1.0, self.seed + 1), name="shift"
        )
        self._mix = self.add_weight((width, width), initializer=glorot(self.seed + 2), name="mix")
        self.built = True

    def call(self, number: Any) -> Any:
        """See the class."""
        hidden = ops.leaky_relu(ops.expand_dims(number, -1) * self._slope + self._shift)
        return ops.softmax(ops.matmul(hidden, self._mix) + hidden)

    def compute_output_shape(self, number_shape: Any) -> Any:
        """B x H."""
        return (*number_shape, self.buckets)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "buckets": self.buckets, "seed": self.seed}
