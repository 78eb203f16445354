"""A checkpoint whose kernels are written apart from the rest, and the index that joins them."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from serving.export.checkpoint_index import read_index, write_index
from serving.export.sharded_checkpoint import (
    BACKBONE_DATA,
    INDEX,
    KERNEL_DATA,
    PREFIX,
    TwoShards,
    write_kernels,
)

ROWS = 300


class Served(tf.Module):
    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.backbone = [
            tf.Variable(np.full((index + 1, 3), index, np.float32)) for index in range(tensors)
        ]
        self.kernels = {
            "bank": tf.Variable(np.arange(6.0, dtype=np.float32)),
            "slot_of": tf.Variable([1, 2]),
        }


def saved(path: Path, tensors: int = 3) -> Path:
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=TwoShards())
    tf.saved_model.save(Served(tensors), str(path), options=options)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    stored = tf.train.load_checkpoint(str(path / PREFIX))
    return {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): stored.get_tensor(name)
        for name in stored.get_variable_to_shape_map()
    }


def again(former: Path, path: Path, **variables: tf.Variable) -> Path:
    (path / "variables").mkdir(parents=True)
    (path / BACKBONE_DATA).write_bytes((former / BACKBONE_DATA).read_bytes())
    write_kernels(former, path, variables)
    return path


@pytest.mark.parametrize("tensors", [1, 3, ROWS])  # the last has an index of several blocks
def test_new_kernels_stand_beside_the_former_backbone(tmp_path: Path, tensors: int) -> None:
    first = saved(tmp_path / "1", tensors)
    bank, slots = tf.Variable(np.full(6, -7.0, np.float32)), tf.Variable([5, 6])
    second = again(first, tmp_path / "2", bank=bank, slot_of=slots)
    before, after = read(first), read(second)
    assert before.keys() == after.keys()
    assert len(after) == tensors + 3
    np.testing.assert_array_equal(after.pop("kernels/bank"), bank.numpy())
    np.testing.assert_array_equal(after.pop("kernels/slot_of"), slots.numpy())
    for name, tensor in after.items():
        np.testing.assert_array_equal(tensor, before[name])
    assert sorted(path.name for path in (second / "variables").iterdir()) == sorted(
        Path(name).name for name in (BACKBONE_DATA, KERNEL_DATA, INDEX)
    )
    third = again(second, tmp_path / "3", bank=bank, slot_of=slots)
    assert (third / INDEX).read_bytes() == (second / INDEX).read_bytes()
    assert (third / KERNEL_DATA).read_bytes() == (second / KERNEL_DATA).read_bytes()


def test_damaged_kernels_are_noticed_when_they_are_read(tmp_path: Path) -> None:
    version = saved(tmp_path / "1")
    data = bytearray((version / KERNEL_DATA).read_bytes())
    data[0] ^= 1
    (version / KERNEL_DATA).write_bytes(data)
    with pytest.raises(tf.errors.OpError, match="Checksum does not match"):
        read(version)


def test_kernels_of_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the kernels' tensors"):
        again(saved(tmp_path / "1"), tmp_path / "2", bank=tf.Variable([1.0]))


@pytest.mark.parametrize("place", [0, 30, -60, -1])
def test_a_damaged_index_is_refused(tmp_path: Path, place: int) -> None:
    table = bytearray((saved(tmp_path / "1") / INDEX).read_bytes())
    table[place] ^= 1
    with pytest.raises(ValueError, match="index"):
        read_index(bytes(table))


@given(st.dictionaries(st.binary(max_size=200), st.binary(max_size=300), min_size=1, max_size=50))
def test_an_index_is_read_back(entries: dict[bytes, bytes]) -> None:
    assert read_index(write_index(entries)) == entries
