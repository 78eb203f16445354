"""Says which rows are in which split."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from configs import Experiment


def split_masks(rows: pa.RecordBatch, experiment: Experiment) -> dict[str, npt.NDArray[np.bool_]]:
    """Split -> mask of the rows in its window."""
    seconds = rows.column(experiment.data.timestamp).to_numpy(zero_copy_only=False)
    return {
        name: (
            (seconds >= np.ceil(split.start.timestamp()))
            & (seconds < np.ceil(split.end.timestamp()))
        )
        for name, split in experiment.splits.items()
    }


def rows_of_splits(
    rows: pa.RecordBatch, experiment: Experiment, splits: Iterable[str]
) -> pa.RecordBatch | None:
    """The rows that are in one of some splits; None where there are none."""
    masks = split_masks(rows, experiment)
    mask = np.logical_or.reduce([masks[split] for split in splits])
    if not mask.any():
        return None
    return rows if mask.all() else rows.filter(pa.array(mask))
