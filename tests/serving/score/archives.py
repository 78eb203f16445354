"""Archives of rows that the tiny model of ``tests.serving.conftest`` scores, in every format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.score.score_job import ScoreJob
from serving.score.score_result import ScoreResult

Row = dict[str, Any]

IN_PROCESS = ("--runner=FnApiRunner",)
DOMAINS = ["all", "scene=home", "moon", None]


def make_rows(count: int = 60, seed: int = 0) -> list[Row]:
    """Rows with a label that no model reads, known and unknown users, and missing values."""
    random = np.random.default_rng(seed)
    return [
        {
            "id": seed * 1_000 + index,
            "request": f"q{index // 4}",
            "user": [None, "u1", "u2", "nobody"][random.integers(4)],
            "clicks": [f"u{random.integers(6)}" for _ in range(random.integers(0, 5))],
            "price": float(np.float32(random.normal())) if index % 5 else None,
            "time": int(random.integers(1_700_000_000, 1_710_000_000)),
            "asked": DOMAINS[random.integers(len(DOMAINS))],
            "label": int(random.integers(2)),
        }
        for index in range(count)
    ]


def write_parquet(path: Path, rows: list[Row], row_group_size: int = 1_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return path


def write_json(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0])]
    for row in rows:
        values = {**row, "clicks": "|".join(row["clicks"])}
        lines.append(",".join("" if value is None else str(value) for value in values.values()))
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


WRITERS = {"parquet": write_parquet, "jsonl": write_json, "csv": write_csv}


def score(models: Path, archive: Path, output: Path, **settings: Any) -> ScoreResult:
    """Runs the job in this process."""
    given: dict[str, Any] = {
        "version": None,
        "domain": None,
        "domain_column": None,
        "keep": ("id",),
        "batch_rows": 4096,
        "max_rejected": None,
        "beam_flags": IN_PROCESS,
        **settings,
    }
    return ScoreJob(str(models), str(archive), str(output), **given).run()


def read_scores(output: Path, result: ScoreResult) -> pa.Table:
    """All scores, in the order of the archive."""
    return pa.concat_tables([pq.read_table(output / file.path) for file in result.files])


def read_rejected(output: Path, result: ScoreResult) -> list[dict[str, Any]]:
    """All rejected rows, likewise."""
    files = [output / file.path for file in result.rejected_files]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
