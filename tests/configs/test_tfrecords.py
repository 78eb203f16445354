"""Records of TFRecord files: TensorFlow reads what is written here and the other way round, and
damage is named where it is.
"""

import sys
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs.digests.tfrecords import (
    DamagedRecordError,
    framed,
    is_record_file,
    read_records,
)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_tensorflow_and_this_read_each_other(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("records")
    theirs, ours = folder / "theirs", folder / "ours"
    with tf.io.TFRecordWriter(str(theirs)) as file:
        for record in records:
            file.write(record)
    ours.write_bytes(b"".join(map(framed, records)))
    assert ours.read_bytes() == theirs.read_bytes()
    assert list(read_records(theirs)) == records
    assert is_record_file(theirs)


@given(st.data())
def test_damage_is_named_and_what_is_before_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "file"
    records = [b"first", b"second" * 5, b""]
    content = bytearray(b"".join(map(framed, records)))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    starts = [0, len(framed(records[0])), len(framed(records[0])) + len(framed(records[1]))]
    before = sum(start <= place for start in starts) - 1
    found = []
    try:
        found.extend(read_records(path))
        assert place in starts  # cut between two records: the file is a whole one
    except DamagedRecordError as error:
        assert f"{path}: record {before + 1}: " in str(error)
    assert found == records[: len(found)] and len(found) <= before


def test_text_is_told_without_the_library_for_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    for name, content, expected in (
        ("rows.jsonl", b'{"user": "u1"}\n', False),
        ("short", b"{}", False),
        ("nothing", b"", True),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert is_record_file(path) is expected
