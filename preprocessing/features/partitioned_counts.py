"""Counts of values, cut by a hash of the value and put together again, so that nobody has to hold
all of them.

A value is in one partition, with all of its rows. So the most frequent values of all are among the
most frequent of each partition, and whatever the number of partitions the same ones come out.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.features.value_counts import in_order
from preprocessing.hashing import fingerprint64

BLOCK = 1 << 14
"""Values of a sorted run that are in memory at a time."""


def cut_by_hash(counts: pa.Table, partitions: int) -> list[pa.Table]:
    """Counts as ``ValueCounts.table`` gives them -> those of each partition."""
    if partitions == 1:
        return [counts]
    place = fingerprint64(counts["value"]).view(np.uint64) % np.uint64(partitions)
    sorted_counts = counts.take(pa.array(np.argsort(place, kind="stable")))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(place.astype(np.intp), None, partitions))])
    sizes = np.diff(bounds)
    return [
        sorted_counts.slice(start, size)
        for start, size in zip(bounds[:-1].tolist(), sizes.tolist(), strict=True)
    ]


def merge_runs(runs: Iterable[Iterable[pa.Table]], most: int) -> Iterator[pa.Table]:
    """Puts sorted counts together, most frequent first, ties by value.

    Args:
      runs: of each partition its counts in that order, in blocks.
      most: how many values are wanted.
    """
    blocks = [iter(run) for run in runs]
    waiting = [next(run, None) for run in blocks]
    while most > 0 and any(waiting):
        there = [block for block in waiting if block]
        # No run has any more that would come before this one.
        rows, value = min(
            (-block["rows"][-1].as_py(), block["value"][-1].as_py()) for block in there
        )
        ready = []
        for place, block in enumerate(waiting):
            if not block:
                continue
            before = _count_until(block, -rows, value)
            ready.append(block.slice(0, before))
            rest = block.slice(before)
            waiting[place] = rest if len(rest) else next(blocks[place], None)
        merged = in_order(pa.concat_tables(ready), most)
        most -= len(merged)
        yield merged


def _count_until(block: pa.Table, rows: int, value: str) -> int:
    """How many of sorted counts come no later than a value."""
    same = pc.and_(pc.equal(block["rows"], rows), pc.less_equal(block["value"], value))
    return int(pc.sum(pc.or_(pc.greater(block["rows"], rows), same)).as_py())
