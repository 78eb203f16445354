"""The forward pass of kernels: encoder and decoder, in TensorFlow."""

from collections.abc import Callable
from typing import Any, Protocol

from configs.tensorflow_import import tf

# isort: split
import keras

Weights = dict[str, Any]
"""``weight_j`` ``[..., T, fan_in, fan_out]`` and ``bias_j`` ``[..., T, fan_out]`` of every layer
j; leading axis: kernels.
"""


AddBias = Callable[[Any, Any], Any]
"""A product ``[..., R, e]`` and a bias ``[..., e]`` -> their sum."""


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


def plain_bias(product: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Adds a bias ``[..., e]`` to a product ``[..., R, e]``."""
    return product + bias[..., tf.newaxis, :]


def learned_bias(product: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The same, bit by bit, with a gradient that sums the R rows by a product: TensorFlow's own
    sum over them depends, in the last bit, on how many other kernels are in the tensor.
    """
    return _learned_bias(product, bias)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _learned_bias(product: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ones = tf.ones([1, tf.shape(upstream)[-2]])
        return upstream, tf.matmul(ones, upstream)[..., 0, :]

    return plain_bias(product, bias), gradient


def encoded(shape: Layers, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
    """The code z of the encoder, ``[M, T, R, d_e]``; arguments as of ``kernel_logits``."""
    return keras.activations.get(shape.activation)(_product(shape, weights, 0, taps))


def kernel_logits(
    shape: Layers,
    weights: Weights,
    taps: tf.Tensor,
    logits: tf.Tensor,
    residual: tf.Tensor | float,
    add_bias: AddBias = plain_bias,
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
      add_bias: ``plain_bias``, or ``learned_bias`` where kernels are trained.

    Returns:
      ``[M, T, R]``.
    """
    return residual * logits + decoded(shape, weights, taps, add_bias)[..., 0]


def decoded(
    shape: Layers, weights: Weights, taps: tf.Tensor, add_bias: AddBias = plain_bias
) -> tf.Tensor:
    """What the decoder gives, ``[M, T, R, shape.widths[-1]]``: of a kernel one number, the
    delta; arguments as of ``kernel_logits``.
    """
    activation = keras.activations.get(shape.activation)
    hidden = taps
    layers = len(shape.widths) - 1
    for layer in range(layers):
        hidden = _product(shape, weights, layer, hidden, add_bias)
        if layer < layers - 1:
            hidden = activation(hidden)
    return hidden


def _product(
    shape: Layers,
    weights: Weights,
    layer: int,
    hidden: tf.Tensor,
    add_bias: AddBias = plain_bias,
) -> tf.Tensor:
    product = tf.matmul(hidden, weights[f"weight_{layer}"]) * shape.widths[layer] ** -0.5
    return add_bias(product, weights[f"bias_{layer}"])
