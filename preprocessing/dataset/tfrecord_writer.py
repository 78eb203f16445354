"""Turns a validated batch into the bytes of TFRecord files."""

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.digests.tfrecords import framed
from preprocessing.dataset.record_format import Columns, encode_blocks
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.kept_columns import KeptColumns
from preprocessing.features.transform import Transform
from preprocessing.hashing import permutation
from preprocessing.validation.row_keys import fingerprint_of


def batch_columns(
    rows: BatchColumns, transform: Transform, kept: KeptColumns, experiment: Experiment
) -> Columns:
    """Every column of the record format (``record_format``) for validated rows ``[N]``."""
    columns: Columns = transform.apply_batch(rows) | kept.of_batch(rows)
    for label in experiment.label_columns:
        columns[f"label/{label}"] = rows.array(label).to_numpy(zero_copy_only=False)
    data = experiment.data
    columns["row/weight"] = (
        rows.array(data.weight).to_numpy(zero_copy_only=False)
        if data.weight
        else np.ones(len(rows), np.float32)
    )
    columns["row/timestamp"] = rows.array(data.timestamp).to_numpy(zero_copy_only=False)
    columns["row/request"] = fingerprint_of(rows.array(data.request))
    columns["row/user"] = fingerprint_of(rows.array(data.user))
    if experiment.evaluation.truth:
        columns["row/truth"] = fingerprint_of(rows.array(experiment.evaluation.truth.key))
    return columns


def split_file(columns: Columns, rows: npt.NDArray[np.intp], seed: str) -> bytes:
    """A TFRecord file of some rows of a batch.

    Their order is mixed by the seed first: neighbours in a log are one request or one user, and
    would share a block and so a step.
    """
    mixed = rows[permutation(len(rows), seed)]
    return b"".join(
        map(framed, encode_blocks({name: array[mixed] for name, array in columns.items()}))
    )
