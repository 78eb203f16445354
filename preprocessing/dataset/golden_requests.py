"""Draws the golden requests: a fixed sample of the fine-tuning split's rows, on which kernels,
exports and servers are scored again and again.
"""

import heapq
import json
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import Experiment
from preprocessing.dataset.manifest import GOLDEN_FILE as GOLDEN_FILE
from preprocessing.hashing import draws
from preprocessing.logs.schema import raw_columns

GOLDEN_ROWS = 64

Drawn = tuple[int, str]
"""A random number and a row as a line of JSON. The rows of the smallest numbers are a uniform
sample of however many batches.
"""


def draw_requests(
    rows: pa.RecordBatch, inside: npt.NDArray[np.bool_], experiment: Experiment, seed: str
) -> list[Drawn]:
    """What a batch gives to the sample: at most ``GOLDEN_ROWS``, the same whatever the format of
    the logs.

    A drawn row holds the columns that features and topics read, as a client sends them: moments are
    seconds since 1970.

    Args:
      rows: validated, ``[N]``.
      inside: which of them are of the split, ``[N]``.
      experiment: names the columns.
      seed: of the batch.
    """
    of_split = np.flatnonzero(inside)
    numbers = draws(len(of_split), f"golden/{seed}")
    chosen = numbers.argsort(kind="stable")[:GOLDEN_ROWS]
    drawn = rows.select(
        [column.name for column in raw_columns(experiment).values() if column.served]
    ).take(pa.array(of_split[chosen]))
    lines = [json.dumps(row, allow_nan=False) for row in drawn.to_pylist()]
    return list(zip(numbers[chosen].tolist(), lines, strict=True))


def smallest(drawn: Iterable[Drawn]) -> list[Drawn]:
    """The sample of several batches from theirs."""
    return heapq.nsmallest(GOLDEN_ROWS, drawn)
