"""Estimates the information between a kernel's tap h and its code z, in nats a row: as a penalty in
training, and as a figure beside KL(w || w0).

The code is a function of the tap, so their mutual information is infinite; as usual, a noisy code
z' = z + N(0, eps^2 I) takes its place (our choice of noise). The paper charges KL(w || w0) instead,
by its assumption 1; whether that is a fair proxy is measured here.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from configs.random_streams import Purpose, random_stream
from configs.tensorflow_import import tf
from trainer.kernels.kernel import KernelShape
from trainer.kernels.kl_regularizers import moments_kl

_CHUNK = 65_536


def coding_rate(
    codes: tf.Tensor, weights: tf.Tensor, groups: tf.Tensor, count: int, noise: float
) -> tf.Tensor:
    """R = 1/2 log det(I + Cov(z) / eps^2) (Ma et al. 2007; Yu et al. 2020), an upper bound of I(h;
    z') in nats a row.

    I(h; z') = H(z') - H(N(0, eps^2 I)), and no distribution of a given covariance has more entropy
    than the Gaussian. From n rows the covariance has rank below n, so R is too small where n is not
    far above the code's width.

    Args:
      codes: ``[G, T, R, d]``: G tiles of R rows for each of T tasks.
      weights: of the rows, ``[G, R]``; 0 where a tile is padded.
      groups: each tile's domain, int32 ``[G]``.
      count: K, the number of domains.
      noise: eps.

    Returns:
      ``[K]``, summed over the tasks; 0 where a domain has no weight.
    """
    row_weights = weights[:, tf.newaxis, :, tf.newaxis]
    totals = tf.math.unsorted_segment_sum(tf.reduce_sum(weights, axis=1), groups, count)[
        :, tf.newaxis, tf.newaxis
    ]
    sums = tf.math.unsorted_segment_sum(tf.reduce_sum(codes * row_weights, axis=2), groups, count)
    means = tf.math.divide_no_nan(sums, totals)
    centred = (
        codes - tf.gather(means, groups)[:, :, tf.newaxis, :]
    )  # first, for the sake of float32
    products = tf.matmul(centred, centred * row_weights, transpose_a=True)
    covariance = tf.math.divide_no_nan(
        tf.math.unsorted_segment_sum(products, groups, count), totals[..., tf.newaxis]
    )
    return 0.5 * tf.reduce_sum(
        tf.linalg.logdet(tf.eye(codes.shape[-1]) + covariance / noise**2), axis=1
    )


def code_information(
    shape: KernelShape,
    kernel: dict[str, npt.NDArray[Any]],
    taps: npt.NDArray[np.float32],
    noise: float = 0.5,
) -> float:
    """The Gaussian estimate of the information in a kernel's codes: ``coding_rate`` over rows of
    equal weight.

    Args:
      shape: of the kernel.
      kernel: its weights.
      taps: ``[N, 2, d_in]`` (``BackboneOutputs.taps``).
      noise: eps.

    Returns:
      Nats a row, summed over both tasks.
    """
    codes = codes_of(shape, kernel, taps)[np.newaxis]
    return float(
        coding_rate(tf.constant(codes), tf.ones([1, len(taps)]), tf.zeros([1], tf.int32), 1, noise)[
            0
        ]
    )


def contrastive_information(
    shape: KernelShape,
    kernel: dict[str, npt.NDArray[Any]],
    taps: npt.NDArray[np.float32],
    noise: float = 0.5,
    seed: int = 0,
) -> float:
    """InfoNCE (van den Oord et al. 2018) with the known p(z' | h) as critic (Poole et al. 2019,
    section 2.4), a lower bound of I(h; z').

    The mean over rows of  log p(z'_i | h_i) - log 1/N sum_j p(z'_i | h_j);  it cannot exceed log N
    for a task, so take a few thousand rows; memory grows with N^2.

    Args:
      shape: of the kernel.
      kernel: its weights.
      taps: ``[N, 2, d_in]``.
      noise: eps.
      seed: of the noise.

    Returns:
      Nats a row, summed over both tasks: a lower bound of what ``code_information`` bounds from
      above.
    """
    total = 0.0
    generator = random_stream(seed, Purpose.CODE_NOISE)
    for codes in codes_of(shape, kernel, taps):
        noisy = codes + noise * generator.standard_normal(codes.shape, np.float32)
        squares = (
            np.square(noisy).sum(axis=1)[:, np.newaxis]
            - 2.0 * noisy @ codes.T
            + np.square(codes).sum(axis=1)
        )
        log_p = -squares.astype(np.float64) / (2.0 * noise**2)
        highest = log_p.max(axis=1)
        log_mean = highest + np.log(np.exp(log_p - highest[:, np.newaxis]).mean(axis=1))
        total += float((np.diagonal(log_p) - log_mean).mean())
    return total


def information(
    shape: KernelShape,
    kernel: dict[str, npt.NDArray[Any]],
    taps: npt.NDArray[np.float32],
    noise: float = 0.5,
) -> dict[str, float]:
    """The proxy beside what it stands for.

    Args:
      shape: of the kernel.
      kernel: its weights.
      taps: ``[N, 2, d_in]``; some thousands of rows of the kernel's domain.
      noise: eps.

    Returns:
      ``kl``: KL(w || N(0, I)) in the reading ``moments``, nats for the whole kernel; ``gaussian``
      and ``contrastive``: upper and lower estimate of the information, nats a row.
    """
    kl = sum(float(moments_kl(tf.constant(kernel[name][np.newaxis]))[0]) for name in shape.informed)
    return {
        "kl": kl,
        "gaussian": code_information(shape, kernel, taps, noise),
        "contrastive": contrastive_information(shape, kernel, taps, noise),
    }


def codes_of(
    shape: KernelShape, kernel: dict[str, npt.NDArray[Any]], taps: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Codes ``[2, N, d_e]`` of taps ``[N, 2, d_in]`` (or ``[N, 1, d_in]``)."""
    weights = {name: tf.constant(kernel[name][np.newaxis]) for name in shape.variables()}
    parts = [
        taps[start : start + _CHUNK].transpose(1, 0, 2)[np.newaxis]
        for start in range(0, len(taps), _CHUNK)
    ]
    return np.concatenate(
        [shape.code(weights, tf.constant(part))[0].numpy() for part in parts], axis=1
    )
