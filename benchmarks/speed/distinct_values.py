"""Vocabularies of any size: what the largest process of ``preprocessing.task`` holds while it
counts 20 million distinct items, and a user that has 90% of the rows.

Every row has an item of its own, so nothing is counted together. Memory is the most that any one
process held at once, of anonymous pages, those that it shares divided by the processes that share
them; separately for the pass that counts and for the one that writes, whose processes hold the
vocabularies that were kept (``max_size``, a million by default).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import run_process, watched_memory
from preprocessing.dataset.manifest import load_manifest

_ROWS, _QUICK_ROWS = 20_000_000, 60_000
_ROWS_OF_A_FILE = 1_000_000
_PROCESSES = 2
_OFTEN = 0.9  # of the rows, the share of one user
_DAY, _DAYS = 86_400, 100  # all but the last three are learned from
_EXPERIMENT = """
name: distinct-values
data: {timestamp: moment, request: request, user: user}
tasks: {click: {label: click}}
splits:
  pretrain: {start: 2025-01-01T00:00:00Z, end: 2025-04-08T00:00:00Z}
  finetune: {start: 2025-04-08T00:00:00Z, end: 2025-04-09T00:00:00Z}
  validation: {start: 2025-04-09T00:00:00Z, end: 2025-04-10T00:00:00Z}
  test: {start: 2025-04-10T00:00:00Z, end: 2025-04-11T00:00:00Z}
features:
  user: {kind: categorical, side: user, vocabulary: {}}
  item: {kind: categorical, side: item, vocabulary: {}}
topics: {scene: {column: scene, values: [home]}}
"""
_START = 1_735_689_600  # 2025-01-01T00:00:00Z


def measure(options: Options) -> Figures:
    """See the module."""
    rows = _QUICK_ROWS if options.quick else _ROWS
    config, data = options.folder / "config.yaml", options.folder / "data"
    config.write_text(_EXPERIMENT, encoding="utf-8")
    logs = _logs(options.folder / "logs", rows)
    words = ["preprocessing.task", "--config", str(config), "--input", str(logs)]
    words += ["--output", str(data), "--runner=FnApiRunner"]
    words += ["--direct_running_mode=multi_processing", f"--direct_num_workers={_PROCESSES}"]
    counted = data / ".partial" / "analysis.json"
    peaks = {"count": 0.0, "write": 0.0}

    def take(largest: float) -> None:
        """Before the first pass left its file, and after it."""
        name = "write" if counted.exists() else "count"
        peaks[name] = max(peaks[name], largest)

    with watched_memory(lambda held: max(held, default=0.0), take):
        finished = run_process(words, options.folder / "preprocessing.log")
    sizes = load_manifest(data).vocabulary_sizes
    return {
        "rows": rows,
        "distinct_items": rows,
        "processes": _PROCESSES,
        "kept_items": sizes["item"],
        "kept_users": sizes["user"],
        "rows_per_s": rows / finished.seconds,
        "counting_largest_process_mib": peaks["count"],
        "writing_largest_process_mib": peaks["write"],
    }


def _logs(folder: Path, rows: int) -> Path:
    """Parquet files of so many rows in order of time; made where there are none."""
    if folder.exists():
        return folder
    folder.mkdir()
    generator = np.random.default_rng(0)
    for start in range(0, rows, _ROWS_OF_A_FILE):
        row = np.arange(start, min(start + _ROWS_OF_A_FILE, rows), dtype=np.int64)
        other = np.where(generator.random(len(row)) < _OFTEN, 0, row)
        columns = {
            "moment": _START + row * _DAY * _DAYS // rows,
            "request": row,
            "user": pa.array(np.char.add("user ", other.astype(str))),
            "item": pa.array(np.char.add("item ", row.astype(str))),
            "scene": pa.array(["home"] * len(row)),
            "click": (generator.random(len(row)) < 0.3).astype(np.int64),
        }
        path = folder / f"part-{start // _ROWS_OF_A_FILE:03}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=_ROWS_OF_A_FILE // 10)
    return folder
