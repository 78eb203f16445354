"""Golden requests: sound rows of the fine-tuning split as a client sends them, the same whatever
the logs look like.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.golden_requests import GOLDEN_FILE, GOLDEN_ROWS, draw_requests, smallest
from preprocessing.dataset.manifest import load_manifest
from preprocessing.logs.schema import ARROW_TYPES, raw_columns, served_columns
from tests.preprocessing.shop_logs import (
    START,
    Row,
    experiment,
    make_rows,
    write_csv,
    write_json,
    write_parquet,
)

Write = Callable[[Path, list[Row]], Path]
SERVED = {"user", "item", "history", "price", "stock", "time", "scene"}


def golden(
    tmp_path: Path,
    rows: list[Row],
    write: Write = write_json,
    name: str = "a.jsonl",
    *overrides: str,
) -> bytes:
    """The golden requests of a dataset made of these rows."""
    write(tmp_path / "logs" / name, rows)
    Job(
        experiment(*overrides),
        str(tmp_path / "logs"),
        str(tmp_path / "data"),
        ("--runner=FnApiRunner",),
    ).run()
    return (tmp_path / "data" / GOLDEN_FILE).read_bytes()


def canonical(row: Row) -> Row:
    """The columns of a row that a request carries; numbers as float32 has them."""
    return {
        name: pa.scalar(float(row[name]), pa.float32()).as_py() if name == "stock" else row[name]
        for name in SERVED - {"price"}
    }


def test_they_are_rows_of_the_fine_tuning_split_as_they_were_logged(tmp_path: Path) -> None:
    rows = make_rows()
    lines = golden(tmp_path, rows).decode().splitlines()
    assert load_manifest(tmp_path / "data").golden_requests.rows == len(lines) == GOLDEN_ROWS
    logged = [canonical(row) for row in rows]
    found = [json.loads(line) for line in lines]
    for request in found:
        assert request.keys() == SERVED
        assert START + 86_400 <= request["time"] < START + 2 * 86_400
        assert {name: value for name, value in request.items() if name != "price"} in logged
    assert len({json.dumps(request) for request in found}) == GOLDEN_ROWS
    assert {request["price"] is None for request in found} == {True, False}
    times = [request["time"] for request in found]
    assert min(times) < START + 1.25 * 86_400 < START + 1.75 * 86_400 < max(times), (
        "drawn from all of the window"
    )


def test_every_format_gives_the_same_ones(tmp_path: Path) -> None:
    rows, writers = (
        make_rows(200),
        {"a.jsonl": write_json, "a.csv": write_csv, "a.parquet": write_parquet},
    )
    found = {name: golden(tmp_path / name, rows, write, name) for name, write in writers.items()}
    assert len(set(found.values())) == 1


def test_a_small_split_gives_what_it_has(tmp_path: Path) -> None:
    rows = make_rows(150)
    assert (
        golden(tmp_path, rows).count(b"\n")
        == sum(START + 86_400 <= row["time"] < START + 2 * 86_400 for row in rows)
        > 0
    )


def test_duplicates_are_not_drawn(tmp_path: Path) -> None:
    rows = make_rows(150)
    settings = ("data.batch_rows=7", "data.max_rejected=0.5")
    lines = golden(tmp_path, [*rows, *rows], write_json, "a.jsonl", *settings).splitlines()
    assert len(lines) == len(set(lines)) == load_manifest(tmp_path / "data").splits["finetune"].rows


def batch(count: int) -> pa.RecordBatch:
    """Validated rows that lack whatever may be missing."""
    values = {"strings": [], "timestamp": START}
    columns = raw_columns(experiment()).values()
    return pa.record_batch(
        {
            column.name: pa.array([values.get(column.kind)] * count, ARROW_TYPES[column.kind])
            for column in columns
        }
    )


def test_what_is_missing_is_null_or_an_empty_list() -> None:
    [(_, line)] = draw_requests(batch(1), np.array([True]), experiment(), "seed")
    assert json.loads(line) == {**dict.fromkeys(SERVED), "history": [], "time": START}


def test_the_sample_of_many_batches_is_that_of_all_their_rows_in_any_order() -> None:
    drawn = [
        draw_requests(batch(50), np.ones(50, bool), experiment(), f"{number}")
        for number in range(6)
    ]
    everything = [pair for part in drawn for pair in part]
    expected = sorted(everything)[:GOLDEN_ROWS]
    assert smallest(everything) == smallest(reversed(everything)) == expected
    assert smallest([*smallest(everything[:150]), *smallest(everything[150:])]) == expected
    assert sum(any(pair in expected for pair in part) for part in drawn) > 3, "not all of one batch"
    assert len(draw_requests(batch(3), np.zeros(3, bool), experiment(), "none")) == 0


def test_the_debias_feature_is_no_part_of_a_request() -> None:
    debias = "backbone.debias={feature: stock, layers: [2]}"
    debiased = experiment(debias, "features.stock={kind: categorical, side: item, hash_buckets: 9}")
    assert {column.name for column in served_columns(debiased)} == SERVED - {"stock"}
    assert {column.name for column in served_columns(experiment())} == SERVED
