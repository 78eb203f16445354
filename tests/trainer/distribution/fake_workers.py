"""Workers that are threads of one process, and sum in its memory."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from trainer.distribution.workers import Rows, Workers


class FakeWorkers(Workers):
    """One of several threads; eager alone, since a graph cannot wait for another thread.

    Args:
      rank: of this one.
      size: how many there are.
      exchange: what they share (``together``).
    """

    def __init__(self, rank: int, size: int, exchange: "_Exchange") -> None:
        self.rank, self.size, self._exchange = rank, size, exchange

    def sum(self, tensors: Sequence[tf.Tensor], call: int = 0) -> list[tf.Tensor]:
        every = self._exchange.of_all(self.rank, (call, list(tensors)))
        return [tf.add_n(parts) for parts in zip(*every, strict=True)]

    def sum_rows(self, changes: Sequence[Rows], call: int = 0) -> list[Rows]:
        every = self._exchange.of_all(self.rank, (call, list(changes)))
        found = []
        for parts in zip(*every, strict=True):
            numbers, places = tf.unique(tf.concat([part.numbers for part in parts], 0))
            values = tf.concat([part.values for part in parts], 0)
            found.append(
                Rows(numbers, tf.math.unsorted_segment_sum(values, places, tf.size(numbers)))
            )
        return found


class _Exchange:
    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size)
        self._held: list[Any] = [None] * size

    def of_all(self, rank: int, call_and_held: tuple[int, list[Any]]) -> list[list[Any]]:
        self._held[rank] = call_and_held
        self.barrier.wait()
        every = list(self._held)
        self.barrier.wait()
        assert len({call for call, _ in every}) == 1  # all are at the same place of the step
        return [held for _, held in every]


def together(size: int, act: Callable[[FakeWorkers], Any]) -> list[Any]:
    """What ``act`` gives for each of ``size`` workers, which run at the same time."""
    exchange = _Exchange(size)
    found: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            found[rank] = act(FakeWorkers(rank, size, exchange))
        except BaseException as error:
            errors.append(error)
            exchange.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return found
