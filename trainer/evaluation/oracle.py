"""The simulator's true probabilities of a dataset's rows."""

import sys
from glob import escape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.hashing import fingerprint64
from preprocessing.logs.files import logs_folder
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.data.dataset import Dataset


def true_probabilities(
    experiment: Experiment, dataset: Dataset, rows: BackboneOutputs
) -> dict[str, Floats] | None:
    """Target -> true probability of every row, joined by ``evaluation.truth.key``; None where the
    truth is not at hand.

    Raises:
      InputError: the files of the truth cannot be read, or lack some of the rows.
    """
    truth = experiment.evaluation.truth
    if truth is None:
        return None
    names = list(experiment.tasks.targets)
    pattern = _pattern(logs_folder(dataset.manifest.input), truth.path)
    try:
        paths = filesystem.find(pattern)
    except OSError as error:
        raise InputError(f"evaluation.truth: {error}") from None
    if not paths:
        print(
            f"{pattern}: no true probabilities found; the best reachable figures are unknown",
            file=sys.stderr,
        )
        return None
    folder = paths[0].rpartition("/")[0]
    try:
        table = pa.concat_tables(_read(path, [truth.key, *names]) for path in paths)
        scores = {task: table.column(task).to_numpy().astype(np.float32) for task in names}
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(
            f"{folder}: cannot read columns {truth.key}, {', '.join(names)}: {error}"
        ) from None
    keys = fingerprint64(table.column(truth.key).combine_chunks().cast("string"))
    order = np.argsort(keys)
    wanted = rows.columns["row/truth"]
    position = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    if not np.array_equal(keys[order][position], wanted):
        raise InputError(
            f"{folder}: no true probabilities for some rows; expected every '{truth.key}'"
            " of the logs"
        )
    return {task: values[order][position] for task, values in scores.items()}


def _pattern(logs: str, truth: str) -> str:
    """Where the truth is: beside the logs, unless its own path says it all."""
    if not filesystem.is_local(truth):
        return truth
    return filesystem.join(escape(logs) if filesystem.is_local(logs) else logs, truth)


def _read(path: str, columns: list[str]) -> pa.Table:
    with filesystem.open_raw(path) as file:
        return pq.read_table(file, columns=columns)
