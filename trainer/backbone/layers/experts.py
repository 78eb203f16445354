"""Holds a layer of expert networks over one input."""

from typing import Any

import keras

from configs.tensorflow_import import tf


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
