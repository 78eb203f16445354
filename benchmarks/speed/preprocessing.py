"""From Parquet to finished TFRecords: the command with one and with two processes, its memory, a
row-by-row pipeline, and the bound.

Seconds are those of the whole command: start, both passes, manifest. Memory is the most that the
command and all its processes held at
once: anonymous pages, those they share counted once (libraries are pages of files, which the system
takes back as it likes). Four times the input are copies whose requests have other ids: four times
the rows and keys, the same vocabularies. The bound reads every column that the experiment reads,
once, and writes the same bytes, on as many cores. Starting (Beam and TensorFlow, about three
seconds) is the same for any number of processes, so their ratio is that of the work alone only
where there is much work: see the one of more input.
"""

import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.speed.benches import logs_of
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import run_process, watched_memory
from configs import Experiment, load_experiment
from preprocessing.dataset.manifest import load_manifest
from preprocessing.logs.schema import raw_columns

_PROCESSES = 2
_TIMES = 4
_REPEATS = 2  # the fastest counts


def measure(options: Options) -> Figures:
    """See the module."""
    config, settings, logs = logs_of(options)
    experiment = load_experiment(config, settings)
    runs: dict[int, list[float]] = {1: [], _PROCESSES: []}
    for _ in range(1 if options.quick else _REPEATS):
        for processes, seconds in runs.items():
            seconds.append(_run(options, config, settings, logs, processes))
    peaks = [0.0]
    with watched_memory(sum, peaks.append):
        _run(options, config, settings, logs, _PROCESSES)
    data = options.folder / "data"
    manifest = load_manifest(data)
    rows = (
        sum(split.rows for split in manifest.splits.values())
        + manifest.outside_splits
        + sum(manifest.rejected.values())
    )
    written = [data / file.path for split in manifest.splits.values() for file in split.files]
    output_mib = sum(path.stat().st_size for path in written) / 2**20
    read_seconds, write_seconds = (
        _read_seconds(logs, experiment),
        _write_seconds(written, options.folder / "copy"),
    )
    bound = _PROCESSES * rows / (read_seconds + write_seconds)

    peer_rows = pq.read_metadata(logs[0]).num_rows
    (options.folder / "rows").mkdir(exist_ok=True)
    words = ["benchmarks.speed.row_by_row", str(logs[0]), str(options.folder / "rows" / "part")]
    peer = peer_rows / float(run_process(words, options.folder / "row_by_row.log").log.split()[-1])

    more = _multiplied(logs, experiment, options.folder / "times")
    more_peaks = [0.0]
    with watched_memory(sum, more_peaks.append):
        more_seconds = _run(options, config, settings, more, _PROCESSES)
    more_alone_seconds = _run(options, config, settings, more, 1)
    peak, more_peak = max(peaks), max(more_peaks)
    one, two = (rows / min(seconds) for seconds in runs.values())
    return {
        "rows": rows,
        "input_mib": sum(path.stat().st_size for path in logs) / 2**20,
        "output_mib": output_mib,
        "processes": _PROCESSES,
        "rows_per_s": two,
        "one_process_rows_per_s": one,
        "processes_over_one_ratio": two / one,
        "row_by_row_rows_per_s": peer,
        "over_row_by_row_ratio": two / peer,
        "bound_rows_per_s": bound,
        "to_bound_ratio": two / bound,
        "read_once_seconds": read_seconds,
        "write_seconds": write_seconds,
        "peak_mib": peak,
        "times_input": _TIMES,
        "more_input_rows_per_s": _TIMES * rows / more_seconds,
        "more_input_processes_over_one_ratio": more_alone_seconds / more_seconds,
        "more_input_peak_mib": more_peak,
        "more_input_peak_ratio": more_peak / peak,
    }


def _run(
    options: Options, config: Path, settings: list[str], logs: list[Path], processes: int
) -> float:
    """Seconds of the command on the folder of the logs."""
    data = options.folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    words = [
        "preprocessing.task",
        "--config",
        str(config),
        "--input",
        str(logs[0].parent / "*.parquet"),
        "--output",
        str(data),
    ]
    words += [
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={processes}",
        "--runner=FnApiRunner",
    ]
    words += [word for setting in settings for word in ("--set", setting)]
    return run_process(words, options.folder / "preprocessing.log").seconds


def _read_seconds(logs: list[Path], experiment: Experiment) -> float:
    names, start = list(raw_columns(experiment)), time.perf_counter()
    for path in logs:
        for _ in pq.ParquetFile(path).iter_batches(
            experiment.data.batch_rows, columns=names, use_threads=False
        ):
            pass
    return time.perf_counter() - start


def _write_seconds(files: list[Path], target: Path) -> float:
    seconds = 0.0
    for path in files:
        content = path.read_bytes()
        start = time.perf_counter()
        target.write_bytes(content)
        seconds += time.perf_counter() - start
    target.unlink()
    return seconds


def _multiplied(logs: list[Path], experiment: Experiment, folder: Path) -> list[Path]:
    """The logs and copies of them under other keys."""
    if not folder.exists():
        folder.mkdir()
        read = {experiment.column_of(name) for name in experiment.features}
        keys = {experiment.data.request, *experiment.data.row_key} - read
        for path in logs:
            for copy in range(_TIMES):
                table = pq.read_table(path)
                for name in keys & set(table.column_names):
                    table = table.set_column(
                        table.column_names.index(name), name, _renamed(table[name], copy)
                    )
                pq.write_table(
                    table,
                    folder / f"{path.stem}-{copy}.parquet",
                    row_group_size=experiment.data.batch_rows,
                )
    return sorted(folder.glob("*.parquet"))


def _renamed(column: pa.ChunkedArray, copy: int) -> pa.ChunkedArray:
    if pa.types.is_integer(column.type):
        return pc.add(column, pa.scalar(copy << 40, column.type))
    return pc.binary_join_element_wise(
        column, pa.scalar(f"-{copy}", column.type), pa.scalar("", column.type)
    )
