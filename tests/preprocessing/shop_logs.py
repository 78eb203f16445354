"""A small shop's logs in every format, and a reader for datasets: what the tests of the Beam job
share.
"""

import csv
import gzip
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from configs import Experiment, parse_experiment
from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.manifest import Manifest, load_manifest
from preprocessing.dataset.record_format import decode_block
from tests.configs import TASKS_AND_SPLITS

CONFIG = (
    """
name: shop
data:
  {timestamp: time, request: request, user: user, weight: weight, row_key: [request, item],
   batch_rows: 100}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  user: {kind: categorical, side: user, vocabulary: {}}
  item: {kind: categorical, side: item, vocabulary: {min_count: 2}}
  history: {kind: list, side: user, shares: item, max_length: 3}
  price: {kind: numeric, side: item, log1p: true}
  stock: {kind: numeric, side: item, quantile_buckets: 4}
  moment: {kind: timestamp, side: context, column: time}
topics:
  scene: {column: scene, values: [home, search]}
  period: {column: time, hours: {early: 00-11, late: 12-23}}
  value: {column: price, ranges: {dear: [15, ~], cheap: [0, 15]}}
  seen: {column: history, contains: [i3_7, i0_1]}
cross_topics: [[scene, period]]
evaluation: {truth: {path: "truth/*.parquet", key: impression}}
"""
)
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
ROWS = 500

Row = dict[str, Any]

IN_PROCESS = ("--runner=FnApiRunner",)
SPLITS = ("pretrain", "finetune", "validation", "test")


def experiment(*overrides: str) -> Experiment:
    """The shop's experiment."""
    return parse_experiment(CONFIG, overrides)


def make_rows(count: int = ROWS, seed: int = 0) -> list[Row]:
    """Sound rows over five days, the last of which is in no split."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        click = int(random.random() < 0.4)
        rows.append(
            {
                "impression": f"{seed}-{index}",
                "request": seed * 100_000 + index // 4,
                "time": START + int(5 * 86_400 * index / count),
                "user": f"u{random.integers(40)}",
                "item": f"i{index % 4}_{random.integers(30)}",
                "history": [
                    f"i{random.integers(4)}_{random.integers(30)}"
                    for _ in range(random.integers(0, 6))
                ],
                "price": round(float(random.gamma(2.0, 10.0)), 2) if index % 7 else None,
                "stock": int(random.integers(100)),
                "scene": ["home", "search", "other"][random.integers(3)],
                "weight": [0.5, 1.0, 2.0][random.integers(3)],
                "click": click,
                "order": int(click and random.random() < 0.3),
            }
        )
    return rows


def write_parquet(path: Path, rows: list[Row], row_group_size: int = 100) -> Path:
    """Timestamps as Arrow timestamps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    times = pa.array([row["time"] for row in rows], pa.timestamp("s")).cast(
        pa.timestamp("us", "UTC")
    )
    pq.write_table(
        table.set_column(table.schema.get_field_index("time"), "time", times),
        path,
        row_group_size=row_group_size,
    )
    return path


def write_csv(path: Path, rows: list[Row]) -> Path:
    """Timestamps as ISO text, lists separated by ``|``; gzip where the name says so."""
    return write_text(path, "".join(csv_lines(rows)))


def csv_lines(rows: list[Row]) -> list[str]:
    """Header and lines."""
    lines: list[str] = []

    class Sink:
        def write(self, line: str) -> None:
            lines.append(line)

    writer = csv.writer(Sink(), lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        moment = (
            datetime.fromtimestamp(row["time"], UTC).isoformat()
            if isinstance(row["time"], int)
            else row["time"]
        )
        values = {**row, "time": moment, "history": "|".join(row["history"])}
        writer.writerow("" if value is None else value for value in values.values())
    return lines


def write_json(path: Path, rows: list[Row]) -> Path:
    """Timestamps as seconds; gzip where the name says so."""
    return write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_text(path: Path, text: str) -> Path:
    """Text or gzipped text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def digests(dataset: Path) -> dict[str, str]:
    """sha256 of every file of a folder, hidden ones included."""
    return {
        str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("*"))
        if path.is_file()
    }


def read_split(dataset: Path, split: str) -> dict[str, np.ndarray]:
    """All columns of a split, files in the manifest's order."""
    manifest = load_manifest(dataset)
    files = [str(dataset / file.path) for file in manifest.splits[split].files]
    blocks = [decode_block(record, manifest.columns) for record in tf.data.TFRecordDataset(files)]
    return {
        name: np.concatenate([block[name].numpy() for block in blocks]) for name in manifest.columns
    }


def read_rejected(dataset: Path) -> list[dict[str, Any]]:
    """All rejected rows, in the manifest's order of files."""
    files = [dataset / file.path for file in load_manifest(dataset).rejected_files]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def build(
    logs: Path, output: Path, *overrides: str, flags: tuple[str, ...] = IN_PROCESS
) -> Manifest:
    """Runs the Beam job."""
    return Job(experiment(*overrides), str(logs), str(output), flags).run()


def split_of(row: Row) -> str | None:
    """The split of a row; None on the last day."""
    day = (row["time"] - START) // 86_400
    return SPLITS[day] if day < 4 else None


def check_files(dataset: Path) -> Manifest:
    """Every file is in the manifest with its true sha256, and the other way round; returns the
    manifest.
    """
    manifest = load_manifest(dataset)
    found = digests(dataset)
    found.pop("manifest.json")
    assert {entry.path: entry.sha256 for entry in manifest.files()} == found
    return manifest
