"""What rank 0 alone knows, for all workers: a text, weights."""

from collections.abc import Iterable

import numpy as np

from configs.tensorflow_import import tf
from trainer.distribution.workers import Workers

_PIECE = 1 << 22
"""Numbers that travel at once."""
_OF_32_BITS = ("float32", "int32", "uint32")


def told(workers: Workers, text: str = "") -> str:
    """Rank 0's text, on all workers; what the others give is not read."""
    if workers.size == 1:
        return text
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    if workers.rank:
        codes = codes[:0]
    (length,) = workers.sum([tf.constant([len(codes)], tf.int32)])
    if not int(length[0]):
        return ""
    codes = codes if not workers.rank else np.zeros(int(length[0]), np.int32)
    (codes,) = workers.sum([tf.constant(codes)])
    return bytes(np.asarray(codes).astype(np.uint8)).decode()


def hand_out(workers: Workers, variables: Iterable[tf.Variable]) -> None:
    """Gives variables the values that they have on rank 0, bit by bit, a piece at a time."""
    if workers.size == 1:
        return
    for variable in variables:
        shape = variable.shape.as_list() or [1]
        step = max(1, _PIECE // max(1, int(np.prod(shape[1:]))))
        whole = shape[0] <= step
        for start in range(0, shape[0], step):
            rows = tf.range(start, min(start + step, shape[0]))
            values = variable.read_value() if whole else tf.gather(variable, rows)
            (received,) = workers.sum([_bits(values, zeros=workers.rank > 0)])
            if not workers.rank:
                continue
            values = _values(received, variable.dtype)
            if whole:
                variable.assign(values)
            else:
                variable.scatter_update(tf.IndexedSlices(values, rows))


def _bits(values: tf.Tensor, *, zeros: bool) -> tf.Tensor:
    """Numbers as integers, of which a sum with zeros is exact; zeros of the same shape instead."""
    bits = (
        tf.bitcast(values, tf.int32)
        if values.dtype.name in _OF_32_BITS
        else tf.cast(values, tf.int64)
    )
    return tf.zeros_like(bits) if zeros else bits


def _values(bits: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.bitcast(bits, dtype) if dtype.name in _OF_32_BITS else tf.cast(bits, dtype)
