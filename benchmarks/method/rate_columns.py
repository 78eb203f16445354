"""Past rates as columns of logs, so that a model of any kind may read as features what kernels read
as memory.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from configs import Experiment
from configs.features.settings import ReadAs
from configs.memory import Memory
from preprocessing.features.batch_columns import encode, of_distinct_values
from preprocessing.features.key_hashes import PREFIX, hash_keys, hash_text
from preprocessing.logs.files import find_sources
from preprocessing.validation.coercion import coerce
from trainer.memory.counts import LabelledRows, rates_when_read

Int64s = npt.NDArray[np.int64]


def write_rates(experiment: Experiment, memory: Memory, logs: str, folder: Path) -> None:
    """Writes Parquet logs with a column more for each number that a row remembers.

    The columns are ``rate_KEY_TASK`` (log-odds less those of all traffic, ``trainer.memory.rates``)
    and ``rate_KEY_rows``, as they were at the last refresh before a row's request.

    Args:
      experiment: names tasks, timestamp and request.
      memory: keys, refreshes, half-life, prior.
      logs: glob of Parquet files, all of which are held in memory.
      folder: where they go.
    """
    files = [pq.read_table(source.path) for source in find_sources(logs)]
    table = pa.concat_tables(files).combine_chunks()
    tasks = experiment.tasks.towers
    read = rates_when_read(
        memory, None, _labelled(experiment, memory, table), np.ones(len(table), bool)
    )
    names = [f"rate_{key}_{what}" for key in memory.keys for what in (*tasks, "rows")]
    for name, values in zip(names, read.T, strict=True):
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, folder / "rows.parquet")


def _labelled(experiment: Experiment, memory: Memory, table: pa.Table) -> LabelledRows:
    def read(column: str, kind: ReadAs) -> pa.Array:
        return coerce(table.column(column).combine_chunks(), kind).values

    def numbers(column: str) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = read(column, "number").fill_null(0.0).to_numpy()
        return found.astype(np.float64)

    def hashed(column: str) -> Int64s:
        found: Int64s = of_distinct_values(encode(read(column, "string")), hash_text)  # type: ignore[assignment]
        return found

    keys = hash_keys(memory, {column: hashed(column) for column in memory.columns})
    inside, positive = [], []
    for task in experiment.tasks.towers:
        target = experiment.tasks.targets[task]
        space = np.ones(len(table)) if target.given is None else numbers(target.given)
        inside.append(space)
        positive.append(space * (numbers(target.label) > target.threshold))
    return LabelledRows(
        read(experiment.data.timestamp, "timestamp").fill_null(0).to_numpy(),
        hashed(experiment.data.request),
        {name: keys[f"{PREFIX}{name}"] for name in memory.keys},
        np.stack([*inside, *positive], axis=1),
    )
