"""A constant for each task, between what a backbone learns and what is served."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="recommender")
class Intercepts(keras.layers.Layer):
    """Lays the tasks' logits side by side and adds a number to each; 0 until it is set, and no
    gradient reaches it.

    Inputs: a list of T logits B x 1. Output: B x T.
    """

    def build(self, input_shape: Any) -> None:
        """Creates one number a task."""
        self.bias = self.add_weight(
            name="bias", shape=(len(input_shape),), initializer="zeros", trainable=False
        )

    def call(self, logits: Any) -> Any:
        """See the class."""
        return ops.concatenate(logits, axis=-1) + self.bias
