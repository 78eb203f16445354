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
    Damage,
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
    damage = Damage()
    assert [record.content for record in read_records(theirs, damage)] == records
    assert not list(read_records(theirs, damage, 0))
    assert damage == Damage()
    assert is_record_file(theirs)


@given(st.data())
def test_damage_is_named_and_costs_its_own_records(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A bit that is flipped, bytes that are lost or zero, or new ones between: what lies before and
    behind is read, and what is read and what is left out are all bytes of the file.
    """
    path = tmp_path_factory.mktemp("damaged") / "file"
    records = data.draw(st.lists(st.binary(max_size=40), min_size=2, max_size=8))
    frames = [framed(record) for record in records]
    content = bytearray(b"".join(frames))
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start + 1, len(content)))
    kind = data.draw(st.sampled_from(["flip", "lost", "zero", "new"]))
    if kind == "flip":
        content[start] ^= 1 << data.draw(st.integers(0, 7))
        end = start + 1
    elif kind == "new":
        content[start:start] = data.draw(st.binary(min_size=1, max_size=30))
        end = start
    else:
        content[start:end] = bytes(end - start) if kind == "zero" else b""
    path.write_bytes(content)
    borders = [sum(map(len, frames[:number])) for number in range(len(frames) + 1)]
    before = [
        record for record, border in zip(records, borders[1:], strict=True) if border <= start
    ]
    behind = [record for record, border in zip(records, borders[:-1], strict=True) if border >= end]
    damage = Damage()
    found = [record.content for record in read_records(path, damage)]
    assert found[: len(before)] == before
    assert not behind or found[-len(behind) :] == behind
    assert sum(len(framed(record)) for record in found) + damage.byte_count == len(content)
    assert bool(damage.places) == (bool(damage.byte_count))
    if damage.places:
        assert damage.first.startswith(f"record {len(before) + 1}: ")


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
