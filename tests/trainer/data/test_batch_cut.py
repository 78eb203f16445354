"""Parts of a batch: every row is in one, in order, and the rows of a request stay together."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.batch_cut import PLACE, part_of
from trainer.distribution.workers import ALONE, Workers


def worker(rank: int, size: int) -> Workers:
    workers = Workers()
    workers.rank, workers.size = rank, size
    return workers


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=0, max_size=12),
    size=st.integers(2, 5),
    in_requests=st.booleans(),
)
def test_parts_are_the_batch(lengths: list[int], size: int, in_requests: bool) -> None:
    requests = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    rows = len(requests)
    batch = {
        "row/weight": tf.ones([rows]),
        "row/request": tf.constant(requests, tf.int64),
        "feature/list": tf.reshape(tf.range(rows * 2), [rows, 2]),
    }
    parts = [part_of(batch, worker(rank, size), in_requests) for rank in range(size)]
    for name, column in batch.items():
        together = tf.concat([part[name] for part in parts], 0)
        np.testing.assert_array_equal(together, column)
    firsts = np.cumsum([0, *(len(part["row/weight"]) for part in parts)])[:-1]
    assert [part[PLACE].numpy().tolist() for part in parts] == [[first, rows] for first in firsts]
    counts = [len(part["row/weight"]) for part in parts]
    longest = max(lengths, default=0) if in_requests else 1
    assert max(counts) - min(counts) <= 2 * longest
    if in_requests:
        held = [set(part["row/request"].numpy().tolist()) for part in parts]
        assert sum(map(len, held)) == len(lengths)


def test_who_is_alone_keeps_the_batch() -> None:
    batch = {"row/weight": tf.ones([3])}
    assert part_of(batch, ALONE, in_requests=True) is batch
