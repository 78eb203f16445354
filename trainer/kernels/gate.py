"""Says how far a kernel is trusted for a user: the gated logit is backbone + alpha_b * delta, where
b is the bucket of the user's rows in the window.

METHOD names the case (pseudo cold start: a user whom the backbone knows but the kernel's window
never saw); the form is our choice. A gated kernel holds ``gate`` float32 ``[T, 4]`` (alpha by task
and bucket) and ``support`` uint8 ``[V]`` (bucket by user id).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf
from trainer.kernels.shape import BUCKETS as BUCKETS
from trainer.kernels.shape import FIRST_ROWS
from trainer.kernels.shape import GATE as GATE
from trainer.kernels.shape import SUPPORT as SUPPORT


def bucket_of(n_rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """Bucket of users by their numbers of rows, uint8: 0 for none, 1 for 1 to 4, 2 for 5 to 50,
    3 for more.
    """
    buckets: npt.NDArray[Any] = np.digitize(n_rows, FIRST_ROWS).astype(np.uint8)
    return buckets


def row_trust(gate: Any, support: Any, kernels: Any, users: Any) -> Any:
    """alpha of every row, ``[N, T]``.

    Args:
      gate: ``[M, T, 4]``, of M kernels.
      support: ``[M, V]``, of the same.
      kernels: each row's kernel, int32 ``[N]``.
      users: each row's user id, int32 ``[N]``.
    """
    buckets = tf.cast(tf.gather_nd(support, tf.stack([kernels, users], axis=1)), tf.int32)
    return tf.gather_nd(tf.transpose(gate, [0, 2, 1]), tf.stack([kernels, buckets], axis=1))


def every_trust(gate: Any, support: Any, users: Any) -> Any:
    """``row_trust`` of every row under each of the M kernels, ``[M, N, T]``."""
    buckets = tf.cast(tf.gather(support, users, axis=1), tf.int32)
    return tf.gather(tf.transpose(gate, [0, 2, 1]), buckets, axis=1, batch_dims=1)


def apply_gate(logits: Any, kernel_logits: Any, trust: Any) -> Any:
    """backbone + alpha * delta, elementwise; where alpha is 1 the kernel's logit is left as it
    is, bit by bit.
    """
    return tf.where(tf.equal(trust, 1.0), kernel_logits, logits + trust * (kernel_logits - logits))
