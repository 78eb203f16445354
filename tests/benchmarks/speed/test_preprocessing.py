"""The section of preprocessing: every figure is there and they agree with each other; the peer
and the copies are what they say.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from benchmarks.method.study import ROOT
from benchmarks.speed import preprocessing, row_by_row
from benchmarks.speed.options import Options
from configs import InputError, load_experiment


def test_it_measures_the_command_the_peer_and_memory(tmp_path: Path) -> None:
    figures = preprocessing.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    numbers = {name: float(value) for name, value in figures.items()}
    assert all(value > 0 for value in numbers.values())
    assert numbers["rows"] == 60_000
    assert numbers["processes_over_one_ratio"] == pytest.approx(
        numbers["rows_per_s"] / numbers["one_process_rows_per_s"]
    )
    assert numbers["over_row_by_row_ratio"] == pytest.approx(
        numbers["rows_per_s"] / numbers["row_by_row_rows_per_s"]
    )
    assert numbers["more_input_peak_ratio"] == pytest.approx(
        numbers["more_input_peak_mib"] / numbers["peak_mib"]
    )
    assert numbers["peak_mib"] > 100  # a process that holds TensorFlow
    copies = list((tmp_path / "times").glob("*.parquet"))
    assert sum(pq.read_metadata(path).num_rows for path in copies) == preprocessing._TIMES * 60_000
    assert '"rejected":{}' in (tmp_path / "data" / "manifest.json").read_text().replace(
        " ", ""
    ).replace("\n", "")
    written = [str(path) for path in (tmp_path / "rows").glob("part*")]
    first = pq.read_table(sorted((tmp_path / "logs").glob("*.parquet"))[0]).to_pylist()
    parse = tf.train.Example.FromString
    records = [parse(record.numpy()) for record in tf.data.TFRecordDataset(written).take(2)]
    assert records == [parse(row_by_row.encode(row)) for row in first[:2]]


def test_the_peer_writes_an_example_a_row() -> None:
    example = tf.train.Example.FromString(
        row_by_row.encode({"age": 3, "name": "é", "history": ["a", "b"], "none": None})
    )
    features = example.features.feature
    assert features["age"].float_list.value == [3.0]
    assert features["name"].bytes_list.value == ["é".encode()]
    assert features["history"].bytes_list.value == [b"a", b"b"]
    assert not features["none"].bytes_list.value


def test_copies_have_other_keys_and_the_same_features(tmp_path: Path) -> None:
    globo = load_experiment(ROOT / "configs" / "globo.yaml")
    columns = {
        "request_id": pa.array([1, 2]),
        "item_id": pa.array(["a", "b"]),
        "user_id": pa.array(["u", "v"]),
    }
    pq.write_table(pa.table(columns), tmp_path / "day.parquet")
    copies = preprocessing._multiplied([tmp_path / "day.parquet"], globo, tmp_path / "times")
    tables = [pq.read_table(path) for path in copies]
    assert len(tables) == preprocessing._TIMES
    assert (
        len({request for table in tables for request in table["request_id"].to_pylist()})
        == 2 * preprocessing._TIMES
    )
    assert all(
        table.drop(["request_id"]).to_pydict() == {"item_id": ["a", "b"], "user_id": ["u", "v"]}
        for table in tables
    )


def test_missing_logs_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no globo/\*\.parquet"):
        preprocessing.measure(Options(tmp_path, tmp_path, quick=False))
