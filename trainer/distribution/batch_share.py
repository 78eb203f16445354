"""What a worker knows while it learns its rows of a batch: where in the batch they stand, and the
sums over all of it.

Losses and layers ask for it where they are called; outside a step of several workers it is the
whole batch of a process that learns alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

from configs.tensorflow_import import tf
from trainer.distribution.workers import ALONE, Rows, Workers


class BatchShare:
    """A worker's part of a batch.

    Args:
      workers: that share it.
      first: number of the part's first row in the batch.

    Attributes:
      first: the same.
    """

    def __init__(self, workers: Workers = ALONE, first: tf.Tensor | int = 0) -> None:
        self.first = first
        self._workers, self._calls = workers, count(1)

    def total(self, *tensors: tf.Tensor) -> list[tf.Tensor]:
        """The sum of each tensor over all parts of the batch. A gradient goes back to every part:
        what a worker's loss gains by the sum, its own part's tensor and all others' bring about.
        """
        if self._workers.size == 1:
            return list(tensors)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def summed(*parts: tf.Tensor) -> Any:
            return self.add(parts), lambda *upstream: self.add(upstream)

        return list(summed(*tensors))

    def add(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """As ``total``, through which no gradient goes."""
        return self._workers.sum(tensors, next(self._calls))

    def add_rows(self, changes: Sequence[Rows]) -> list[Rows]:
        """The sum over all parts of changes of tables."""
        return self._workers.sum_rows(changes, next(self._calls))


_WHOLE = BatchShare()
_current: ContextVar[BatchShare] = ContextVar("batch_share", default=_WHOLE)


def batch_share() -> BatchShare:
    """The part of the batch that is learned here and now."""
    return _current.get()


@contextmanager
def sharing(workers: Workers, first: tf.Tensor | int) -> Iterator[BatchShare]:
    """Has losses and layers that are called within know whose part of a batch they see. Arguments
    are those of ``BatchShare``.
    """
    share = BatchShare(workers, first)
    token = _current.set(share)
    try:
        yield share
    finally:
        _current.reset(token)
