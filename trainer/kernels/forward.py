"""The forward pass of kernels: encoder and decoder, in TensorFlow."""

from typing import Any, Protocol

from configs.tensorflow_import import tf

# isort: split
import keras

Weights = dict[str, Any]
"""``weight_j`` ``[..., T, fan_in, fan_out]`` and ``bias_j`` ``[..., T, fan_out]`` of every layer
j; leading axis: kernels.
"""


class Layers(Protocol):
    """What a forward pass reads of a ``KernelShape``."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the layers, the tap's first."""
        ...

    @property
    def activation(self) -> str:
        """After every layer but the last."""
        ...


def encoded(shape: Layers, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
    """The code z of the encoder, ``[M, T, R, d_e]``; arguments as of ``kernel_logits``."""
    return keras.activations.get(shape.activation)(_product(shape, weights, 0, taps))


def kernel_logits(
    shape: Layers,
    weights: Weights,
    taps: tf.Tensor,
    logits: tf.Tensor,
    residual: tf.Tensor | float,
) -> tf.Tensor:
    """Logits of kernels over groups of rows; every product is scaled by 1 / sqrt(fan_in), so that w
    ~ N(0, I) is sane (our choice).

    Args:
      shape: of the kernels.
      weights: of M kernels, each array with leading axis M.
      taps: ``[M, T, R, d_in]``, or ``[M, 1, R, d_in]`` where all tasks share them: R rows for each
        of the M kernels.
      logits: ``[M, T, R]``, the backbone's.
      residual: 1 adds the delta to the backbone's logit, 0 replaces it; broadcast to ``[M, T, R]``.

    Returns:
      ``[M, T, R]``.
    """
    return residual * logits + decoded(shape, weights, taps)[..., 0]


def decoded(shape: Layers, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
    """What the decoder gives, ``[M, T, R, shape.widths[-1]]``: of a kernel one number, the
    delta; arguments as of ``kernel_logits``.
    """
    activation = keras.activations.get(shape.activation)
    hidden = taps
    layers = len(shape.widths) - 1
    for layer in range(layers):
        hidden = _product(shape, weights, layer, hidden)
        if layer < layers - 1:
            hidden = activation(hidden)
    return hidden


def _product(shape: Layers, weights: Weights, layer: int, hidden: tf.Tensor) -> tf.Tensor:
    return (
        tf.matmul(hidden, weights[f"weight_{layer}"]) * shape.widths[layer] ** -0.5
        + weights[f"bias_{layer}"][..., tf.newaxis, :]
    )
