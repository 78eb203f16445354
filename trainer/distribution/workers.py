"""What a training step asks of the workers that take it together."""

from collections.abc import Sequence
from typing import NamedTuple

from configs.tensorflow_import import tf


class Rows(NamedTuple):
    """A change of some rows of a table: distinct numbers of rows, ``[R]``, and the values of each,
    ``[R, D]``.
    """

    numbers: tf.Tensor
    values: tf.Tensor


class Workers:
    """A process that learns alone: every sum over the workers is what it holds itself, and costs
    nothing. ``trainer.distribution.collectives.Collectives`` are several.

    All workers make the same calls in the same order; a ``call`` is a number that tells those of
    one step apart.

    Attributes:
      rank: of this process, from 0; rank 0 alone writes.
      size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def sum(self, tensors: Sequence[tf.Tensor], call: int = 0) -> list[tf.Tensor]:
        """The sum over all workers of each of some tensors, of one type and of shapes that are
        known and the same on all; the same bits on all.
        """
        return list(tensors)

    def sum_rows(self, changes: Sequence[Rows], call: int = 0) -> list[Rows]:
        """The sum over all workers of changes of tables, each worker's of rows of its own; the same
        bits on all.
        """
        return list(changes)


ALONE = Workers()
"""The one worker of a process that learns alone."""
