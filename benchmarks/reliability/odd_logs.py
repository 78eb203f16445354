"""Logs that are odd in one way, given to ``preprocessing.task`` as CSV, JSON lines and Parquet.

What is odd is drawn from a seed: blanks before a header, signs of globs in names of files, copies
of a label among the features, labels of 0 and 2, labels that are null, splits of one class,
negative weights, texts for null, names of columns that collide or that are reserved. Bars: a
command ends in a dataset, or with exit code 2 and one line (``tracebacks``), as is right for what
is odd (``wrong_ends``), and what is read is the same in every format (``changed_rows``).
"""

import csv
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.reliability.odd_log_kinds import KINDS, Case, Row
from benchmarks.reliability.small_job import WITH_CONFIG, begin
from preprocessing.beam.progress import say

_ROWS = 200
"""Of each day of the small job's logs."""
_ENDS = {0: "read", 2: "refused"}


def measure(logs: Path, folder: Path, count: int, seed: int) -> Counter[str]:
    """Runs so many cases, the kinds in turns.

    Args:
      logs: of the small job.
      folder: for logs and datasets; emptied.
      count: how many.
      seed: of what is drawn.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draw = random.Random(seed)  # noqa: S311 - a seed, so that a failure can be repeated
    good = good_rows(logs)
    found: Counter[str] = Counter()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        case = Case([dict(row) for row in good])
        kind(draw, case)
        found += run_case(kind.__name__.strip("_"), case, folder / f"{number:04d}")
        found["odd_logs"] += 1
    return found


def run_case(kind: str, case: Case, folder: Path) -> Counter[str]:
    """What there is to count of a case; what went wrong is said."""
    found: Counter[str] = Counter()
    seen = {}
    for suffix in case.formats:
        log = write(folder / suffix, case, suffix)
        code, said = preprocess(log, folder / f"{suffix}-data", case.settings)
        end, last = _ENDS.get(code, f"exit code {code}"), (said.strip().splitlines() or [""])[-1]
        found[f"odd_logs_{end}"] += code in _ENDS
        if "Traceback" in said or code not in _ENDS:
            found["tracebacks"] += 1
        elif end != case.ends or case.says not in (last if code else ""):
            found["wrong_ends"] += 1
        elif end == "read":
            seen[suffix] = _manifest(folder / f"{suffix}-data")
            rejected = sum(seen[suffix]["rejected"].values())
            if case.rejected is None or rejected == case.rejected:
                continue
            found["wrong_ends"] += 1
            last = f"{rejected} rows rejected, expected {case.rejected}"
        else:
            continue
        say(f"{kind}, {suffix}: expected {case.ends} {case.says!r}, received {end}: {last[:300]}")
    if len({json.dumps(manifest, sort_keys=True) for manifest in seen.values()}) > 1:
        found["changed_rows"] += 1
        say(f"{kind}: another dataset in {', '.join(seen)}: {folder}")
    return found


def preprocess(log: str, output: Path, settings: Iterable[str]) -> tuple[int, str]:
    """Runs the command in a process of its own; its exit code and what it says."""
    import preprocessing.task as preprocessing_task
    from configs.cli import run

    words = [word for setting in settings for word in ("--set", setting)]
    words = [*WITH_CONFIG, *words, "--input", log, "--output", str(output)]
    words += ["--direct_running_mode=in_memory", "--direct_num_workers=1"]
    said = output.with_suffix(".txt")
    process = begin(lambda: run(lambda: preprocessing_task.main(words)), said)
    process.join()
    return process.exitcode or 0, said.read_text(encoding="utf-8", errors="replace")


def write(folder: Path, case: Case, suffix: str) -> str:
    """Writes a case's log; the argument that names it."""
    folder.mkdir(parents=True)
    path = folder / f"{case.name}.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(case.rows), path)
    elif suffix == "jsonl":
        lines = (json.dumps(row, default=_as_text) + "\n" for row in case.rows)
        path.write_text("".join(lines), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(case.before)
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(case.rows[0])
            writer.writerows([_in_csv(value) for value in row.values()] for row in case.rows)
    return str(path)


def _in_csv(value: Any) -> Any:
    if isinstance(value, list):
        return "|".join(value)
    return "" if value is None else _as_text(value)


def _as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def good_rows(logs: Path) -> list[Row]:
    """Rows of every split, with a weight."""
    found = []
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        found += table.slice(0, table.num_rows).to_pylist()[:: max(1, table.num_rows // _ROWS)]
    return [row | {"weight": 1.0} for row in found]


def _manifest(data: Path) -> Mapping[str, Any]:
    """What does not depend on the format: rejected rows by reason, and the bits of every split and
    of the transform.
    """
    from preprocessing.dataset.manifest import load_manifest

    manifest = load_manifest(data)
    return {
        "rejected": manifest.rejected,
        "splits": {name: manifest.rows_digest(name) for name in manifest.splits},
        "transform": [file.sha256 for file in manifest.transform_files],
    }
