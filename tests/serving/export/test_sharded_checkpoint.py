"""A checkpoint whose kernels are written apart from the rest, and the index that joins them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving.export.sharded_checkpoint import (
    BACKBONE_DATA,
    BACKBONE_INDEX,
    INDEX,
    KERNEL_DATA,
    PREFIX,
    TwoShards,
    write_kernels,
    write_variables,
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
    module, shards = Served(tensors), TwoShards()
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=shards)
    tf.saved_model.save(module, str(path), options=options)
    write_variables(path, shards.backbone, module.kernels)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    stored = tf.train.load_checkpoint(str(path / PREFIX))
    return {
        name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): stored.get_tensor(name)
        for name in stored.get_variable_to_shape_map()
    }


def again(former: Path, path: Path, **variables: tf.Variable) -> Path:
    write_kernels(former, path, variables)
    return path


def test_what_tensorflow_has_saved_stays_byte_for_byte(tmp_path: Path) -> None:
    """So TensorFlow's own fingerprint of the version holds."""
    module, shards = Served(ROWS), TwoShards()
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=shards)
    tf.saved_model.save(module, str(tmp_path / "1"), options=options)
    names = (BACKBONE_DATA, KERNEL_DATA, INDEX)
    before = {name: (tmp_path / "1" / name).read_bytes() for name in names}
    write_variables(tmp_path / "1", shards.backbone, module.kernels)
    assert {name: (tmp_path / "1" / name).read_bytes() for name in names} == before


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
    for name in (BACKBONE_DATA, BACKBONE_INDEX):
        assert (second / name).samefile(first / name)
    assert sorted(path.name for path in (second / "variables").iterdir()) == sorted(
        Path(name).name for name in (BACKBONE_DATA, KERNEL_DATA, INDEX)
    )
    restored = tf.saved_model.load(str(shutil.copytree(first, tmp_path / "whole")))
    np.testing.assert_array_equal(restored.kernels["bank"], np.arange(6.0))
    shutil.copy(first / "saved_model.pb", second)
    restored = tf.saved_model.load(str(second))
    np.testing.assert_array_equal(restored.kernels["bank"], bank.numpy())
    np.testing.assert_array_equal(restored.backbone[-1], before[f"backbone/{tensors - 1}"])
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
    with pytest.raises(ValueError, match=r"expected the tensors .* kernels/slot_of/"):
        again(saved(tmp_path / "1"), tmp_path / "2", bank=tf.Variable(np.zeros(6, np.float32)))


def test_kernels_of_another_shape_are_refused(tmp_path: Path) -> None:
    bank, slots = tf.Variable(np.zeros(7, np.float32)), tf.Variable([5, 6])
    with pytest.raises(ValueError, match=r"others: kernels/bank/"):
        again(saved(tmp_path / "1"), tmp_path / "2", bank=bank, slot_of=slots)


@pytest.mark.parametrize("place", [0, 30, -60, -1])
def test_a_damaged_index_is_refused(tmp_path: Path, place: int) -> None:
    first = saved(tmp_path / "1")
    table = bytearray((first / BACKBONE_INDEX).read_bytes())
    table[place] ^= 1
    (first / BACKBONE_INDEX).write_bytes(table)
    bank, slots = tf.Variable(np.zeros(6, np.float32)), tf.Variable([5, 6])
    with pytest.raises(tf.errors.DataLossError):
        again(first, tmp_path / "2", bank=bank, slot_of=slots)
