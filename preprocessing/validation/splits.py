"""Says which rows are in which split."""

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
