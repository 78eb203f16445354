"""Sums over workers by TensorFlow's collective operations."""

import math
import zlib
from collections.abc import Sequence

from configs.tensorflow_import import tf
from trainer.distribution.workers import Rows, Workers

_GROUP = 0x72656373
"""Key of the group of all workers."""
_BITS = 30
"""Of a key."""


class Collectives(Workers):
    """The workers of a cluster that TensorFlow has connected
    (``trainer.distribution.joining.joined``).

    Tensors of one call travel as one: a step's some thirty small gradients would each wait for the
    network. The rows of a table are padded to a length that is the same on all and comes from few
    lengths, since TensorFlow keeps what it knows of every length.

    Args:
      rank: of this process.
      size: how many there are.

    Attributes:
      summed_bytes: that this worker has given to sums, int64. By rings each worker sends
        2 (size - 1) / size of it.
      gathered_bytes: that it has given to exchanges of rows. By rings each worker sends
        (size - 1) of it.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        with tf.device("CPU:0"):
            self.summed_bytes = tf.Variable(0, dtype=tf.int64, trainable=False)
            self.gathered_bytes = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def traffic(self) -> str:
        """What this worker has given to the others so far, in words."""
        summed, gathered = int(self.summed_bytes), int(self.gathered_bytes)
        sent = summed * 2 * (self.size - 1) // self.size + gathered * (self.size - 1)
        return (
            f"sent {sent:,} bytes ({summed:,} to be summed, {gathered:,} of rows of large tables)"
        )

    def sum(self, tensors: Sequence[tf.Tensor], call: int = 0) -> list[tf.Tensor]:
        """See ``Workers``."""
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)
        sizes = [tensor.shape.num_elements() for tensor in tensors]
        parts = tf.split(self._reduce(flat, "Add", call), sizes)
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def sum_rows(self, changes: Sequence[Rows], call: int = 0) -> list[Rows]:
        """See ``Workers``; a row's values are summed in the order of the ranks."""
        if not changes:
            return []
        lengths = tf.stack([tf.size(change.numbers) for change in changes])
        lengths = _rounded_up(self._reduce(lengths, "Max", call))
        return [
            self._sum_rows(change, lengths[place], f"{call}/{place}")
            for place, change in enumerate(changes)
        ]

    def _sum_rows(self, change: Rows, length: tf.Tensor, call: str) -> Rows:
        # Numbers of rows travel as the bits of one more value. Rows that fill up are row 0, with
        # zeros, which change nothing.
        numbers = tf.bitcast(tf.cast(change.numbers, tf.int32), tf.float32)
        held = tf.concat([change.values, numbers[:, tf.newaxis]], 1)
        held = tf.pad(held, [[0, length - tf.size(numbers)], [0, 0]])
        held = tf.ensure_shape(held, [None, change.values.shape[1] + 1])
        self.gathered_bytes.assign_add(4 * tf.size(held, tf.int64))
        found = tf.raw_ops.CollectiveGatherV2(
            input=held,
            group_size=self.size,
            group_key=_GROUP,
            instance_key=_key(f"rows {call} {held.shape[1]}") + length,
            ordering_token=[],
        )
        found = tf.ensure_shape(found, [None, held.shape[1]])
        numbers, places = tf.unique(tf.bitcast(found[:, -1], tf.int32))
        values = tf.math.unsorted_segment_sum(found[:, :-1], places, tf.size(numbers))
        return Rows(tf.cast(numbers, change.numbers.dtype), values)

    def _reduce(self, flat: tf.Tensor, by: str, call: int) -> tf.Tensor:
        self.summed_bytes.assign_add(flat.dtype.size * tf.size(flat, tf.int64))
        return tf.raw_ops.CollectiveReduceV2(
            input=flat,
            group_size=self.size,
            group_key=_GROUP,
            instance_key=_key(f"{by} {call} {flat.dtype.name} {flat.shape}"),
            ordering_token=[],
            merge_op=by,
            final_op="Id",
        )


def _rounded_up(lengths: tf.Tensor) -> tf.Tensor:
    """The next of few lengths, int32: eight between a power of two and the next."""
    at_least = tf.cast(tf.maximum(lengths, 8), tf.float64)
    step = 2.0 ** (tf.floor(tf.math.log(at_least) / math.log(2.0)) - 3.0)
    return tf.cast(tf.math.ceil(at_least / step) * step, tf.int32)


def _key(what: str) -> int:
    """The number by which all workers know one exchange: of what it is, not of when it was traced,
    since a worker may trace again when another does not.
    """
    return zlib.crc32(what.encode()) >> (32 - _BITS)
