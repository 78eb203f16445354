"""Splits kept in memory, for methods that pass over their rows many times."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.method.bench import Bench
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import with_progress

_BATCH = 65_536


def read_rows(dataset: Dataset, splits: Sequence[str]) -> BackboneOutputs:
    """The rows of splits, one split after the other, with every column of the dataset, features
    included.

    No model has seen them: ``logits`` is ``[N, 0]`` and ``taps`` ``[N, 1, 0]``.
    """
    rows = sum(dataset.rows(split) for split in splits)
    columns: Columns = {
        name: np.empty((rows,) if column.length is None else (rows, column.length), column.dtype)
        for name, column in dataset.columns.items()
    }
    start = 0
    for split in splits:
        for batch in with_progress(
            f"reading {split}", dataset.rows(split), dataset.batches(split, _BATCH)
        ):
            stop = start + len(batch["row/weight"])
            for name, values in batch.items():
                columns[name][start:stop] = values
            start = stop
    return BackboneOutputs(
        np.empty((rows, 0), np.float32), np.empty((rows, 1, 0), np.float32), columns
    )


def joined_rows(parts: Sequence[BackboneOutputs]) -> BackboneOutputs:
    """Rows of splits that a backbone has seen, one split after the other, without their taps."""
    logits = np.concatenate([part.logits for part in parts])
    names = set.intersection(*(set(part.columns) for part in parts))
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
    return BackboneOutputs(logits, np.empty((len(logits), 1, 0), np.float32), columns)


def read_scored_rows(bench: Bench, split: str) -> BackboneOutputs:
    """The rows of a split likewise, with the frozen backbone's logits ``[N, T]``."""
    return replace(read_rows(bench.dataset, [split]), logits=bench.any_rows(split).logits)
