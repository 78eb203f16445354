"""Computes KL(w || w0), the information term of the kernels' objective, in both readings of
"approximated by a Gaussian".

w0 ~ N(0, I) is the paper's; w0 around the kernel that a domain starts from is our choice
(``finetune.prior``).
"""

from typing import Any

from configs.tensorflow_import import tf
from trainer.kernels.whole_vectors import in_whole_vectors

# our choice: the last layer starts at zero, where the logarithm of its variance would be minus
# infinity
VARIANCE_FLOOR = 1e-3


def kl_to_standard_normal(mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, variance) || N(0, 1)) = 1/2 (mean^2 + variance - 1 - ln variance), elementwise
    (Jiang et al. 2025).
    """
    logarithm = in_whole_vectors(tf.math.log, variance)
    return 0.5 * (tf.square(mean) + variance - 1.0 - logarithm)


def moments_kl(weight: tf.Tensor) -> tf.Tensor:
    """Reading ``moments``: mean and variance are those of the entries of a weight tensor, and its n
    entries count n times.

    Args:
      weight: ``[K, T, fan_in, fan_out]``; each ``[k, t]`` is a tensor of its own.

    Returns:
      ``[K]``, summed over T; never below 0. ``VARIANCE_FLOOR`` is added to the variance, so figures
      are a little below the formula's.
    """
    return _moments_kl(weight)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _moments_kl(weight: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """``moments_kl`` with its gradient in one expression: with many kernels in training, the passes
    of automatic differentiation over all their weights take as long as everything else.
    """
    axes, entries = [2, 3], tf.cast(tf.reduce_prod(tf.shape(weight)[2:]), weight.dtype)
    mean = tf.reduce_mean(weight, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(weight), axes, keepdims=True) - tf.square(mean)
    variance = tf.maximum(variance, 0.0) + VARIANCE_FLOOR

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        """n d/dw of  1/2 (mean^2 + variance - ln variance)  =  mean + (1 - 1 / variance) (w -
        mean).
        """
        inverse = in_whole_vectors(tf.math.reciprocal, variance)
        upstream, slope = upstream[:, tf.newaxis, tf.newaxis, tf.newaxis], 1.0 - inverse
        return upstream * slope * weight + upstream * (1.0 - slope) * mean

    return entries * tf.reduce_sum(kl_to_standard_normal(mean, variance), axis=[1, 2, 3]), gradient


def variational_kl(mean: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Reading ``variational``: every weight has its own mean and standard deviation.

    Args:
      mean: ``[K, T, fan_in, fan_out]``.
      sigma: same shape, above 0.

    Returns:
      ``[K]``, summed over everything else.
    """
    return tf.reduce_sum(kl_to_standard_normal(mean, tf.square(sigma)), axis=[1, 2, 3])


def parent_kl(weight: tf.Tensor, parent: tf.Tensor, sigma: float) -> tf.Tensor:
    """KL(N(w, s^2) || N(w_parent, s^2)) = 1/2 (w - w_parent)^2 / s^2: what a deterministic kernel
    pays to leave its parent (our choice).

    Args:
      weight: ``[K, T, fan_in, fan_out]``.
      parent: of the same shape.
      sigma: s, the same for both.

    Returns:
      ``[K]``, summed over everything else.
    """
    return tf.reduce_sum(tf.square(weight - parent), axis=[1, 2, 3]) / (2.0 * sigma**2)


def variational_parent_kl(
    mean: tf.Tensor, sigma: tf.Tensor, parent: tf.Tensor, parent_sigma: float
) -> tf.Tensor:
    """KL(N(mean, sigma^2) || N(parent, s^2)) = KL(N((mean - parent) / s, (sigma / s)^2) || N(0,
    1)), summed as in ``variational_kl``.
    """
    return variational_kl((mean - parent) / parent_sigma, sigma / parent_sigma)
