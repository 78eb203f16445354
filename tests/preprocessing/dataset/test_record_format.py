"""The record format: what is written is what is read, through TensorFlow's own reader too."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from preprocessing.dataset.manifest import ColumnFormat
from preprocessing.dataset.record_format import (
    BLOCK_ROWS,
    Columns,
    column_formats,
    decode_block,
    encode_blocks,
)
from preprocessing.dataset.tfrecord_writer import split_file

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64")


@st.composite
def some_columns(draw: st.DrawFn) -> Columns:
    """Columns of every dtype, with and without a length, of equal first dimension."""
    rows = draw(st.integers(1, 12))
    columns: Columns = {}
    for index, dtype in enumerate(draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=5))):
        length = draw(st.none() | st.integers(1, 4))
        shape = (rows,) if length is None else (rows, length)
        columns[f"feature/{index}"] = draw(arrays.arrays(np.dtype(dtype), shape))
    return columns


def decoded(records: list[bytes], columns: Columns) -> Columns:
    formats = column_formats(columns)
    blocks = [decode_block(tf.constant(record), formats) for record in records]
    return {name: np.concatenate([block[name].numpy() for block in blocks]) for name in columns}


def assert_same_bits(received: Columns, expected: Columns) -> None:
    assert received.keys() == expected.keys()
    for name, array in expected.items():
        assert (received[name].dtype, received[name].shape) == (array.dtype, array.shape), name
        assert received[name].tobytes() == array.tobytes(), name


@settings(max_examples=60, deadline=None)
@given(columns=some_columns(), block_rows=st.integers(1, 15))
def test_a_round_trip_keeps_every_bit(columns: Columns, block_rows: int) -> None:
    records = list(encode_blocks(columns, block_rows))
    rows = len(next(iter(columns.values())))
    assert len(records) == -(-rows // block_rows)
    assert_same_bits(decoded(records, columns), columns)


def test_special_numbers_keep_their_bits() -> None:
    numbers = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    numbers = np.concatenate([numbers, np.array([0x7FC00123], np.uint32).view(np.float32)])
    assert_same_bits(decoded(list(encode_blocks({"a": numbers})), {"a": numbers}), {"a": numbers})


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=">i4"),
        np.arange(12, dtype=np.int64)[::-1],
        np.arange(24, dtype=np.float32).reshape(12, 2)[:, ::-1],
        np.asfortranarray(np.arange(24, dtype=np.float32).reshape(12, 2)),
    ],
    ids=["big endian", "backwards", "columns backwards", "Fortran order"],
)
def test_any_memory_layout_is_written_as_rows_of_little_endian(array: np.ndarray) -> None:
    received = decoded(list(encode_blocks({"a": array}, 5)), {"a": array})["a"]
    np.testing.assert_array_equal(received, array)


def test_formats_name_dtype_and_length() -> None:
    columns: Columns = {
        "a": np.zeros(3, np.int32),
        "b": np.zeros((3, 2), np.float32),
        "c": np.zeros((3, 1), np.int64),
    }
    assert column_formats(columns) == {
        "a": ColumnFormat(dtype="int32"),
        "b": ColumnFormat(dtype="float32", length=2),
        "c": ColumnFormat(dtype="int64", length=1),
    }


@pytest.mark.parametrize("rows", [0, 1, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_blocks_are_full_but_for_the_last(rows: int) -> None:
    columns: Columns = {"a": np.arange(rows), "b": np.zeros((rows, 2), np.float32)}
    records = list(encode_blocks(columns))
    sizes = [
        len(decode_block(tf.constant(record), column_formats(columns))["a"]) for record in records
    ]
    assert sizes == [BLOCK_ROWS] * (rows // BLOCK_ROWS) + [rows % BLOCK_ROWS] * (
        rows % BLOCK_ROWS > 0
    )


def test_the_same_rows_are_the_same_bytes() -> None:
    columns: Columns = {name: np.arange(5) for name in "edcba"}
    assert list(encode_blocks(columns)) == list(encode_blocks(dict(sorted(columns.items()))))


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, Columns]:
    """A file as the Beam job writes it, and what is in it."""
    columns: Columns = {
        "a": np.arange(2_500),
        "b": np.arange(5_000, dtype=np.float32).reshape(2_500, 2),
    }
    path = tmp_path / "file.tfrecord"
    path.write_bytes(split_file(columns, np.arange(2_500), seed="file"))
    return path, columns


def test_files_open_in_the_plain_reader_and_decode_inside_tf_data(
    file: tuple[Path, Columns],
) -> None:
    path, columns = file
    formats = column_formats(columns)
    batches = (
        tf.data.TFRecordDataset(str(path))
        .map(lambda record: decode_block(record, formats))
        .rebatch(700)
    )
    assert batches.element_spec["b"].shape.as_list() == [None, 2]
    read = {
        name: np.concatenate([batch[name] for batch in batches.as_numpy_iterator()])
        for name in columns
    }
    order = np.argsort(read["a"])
    assert_same_bits({name: array[order] for name, array in read.items()}, columns)


def test_any_reader_of_examples_finds_one_bytes_value_a_column(file: tuple[Path, Columns]) -> None:
    path, columns = file
    examples = [
        tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))
    ]
    assert len(examples) == 3
    for example in examples:
        assert {
            name: len(feature.bytes_list.value)
            for name, feature in example.features.feature.items()
        } == dict.fromkeys(columns, 1)
    first = np.frombuffer(examples[0].features.feature["a"].bytes_list.value[0], "<i8")
    assert len(first) == BLOCK_ROWS


def test_a_flipped_bit_does_not_pass_the_checksum(file: tuple[Path, Columns]) -> None:
    path, _ = file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path)))
