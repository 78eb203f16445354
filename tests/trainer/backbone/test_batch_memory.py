"""Memory of batches: two places in turn, aligned as TensorFlow wants it, read without a copy."""

import numpy as np
import pytest

from trainer.backbone.batch_memory import BatchMemory, tensor_on


@pytest.mark.parametrize("shape", [(3, 2, 5), (1,), (64, 2, 64, 7)])
def test_a_place_begins_where_tensorflow_can_read_it(shape: tuple[int, ...]) -> None:
    memory = BatchMemory()
    for _ in range(3):
        array = memory.array(shape)
        assert array.shape == shape
        assert array.dtype == np.float32
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous


def test_a_batch_stays_as_it_is_while_the_next_one_is_gathered() -> None:
    memory = BatchMemory()
    first, second = memory.array((4, 3)), memory.array((4, 3))
    first[:], second[:] = 1.0, 2.0
    assert (first == 1.0).all()
    third = memory.array((4, 3))
    assert third.ctypes.data == first.ctypes.data
    third[:] = 3.0
    assert (second == 2.0).all()


def test_a_place_grows_and_is_used_again_by_smaller_batches() -> None:
    memory = BatchMemory()
    large = [memory.array((1_000,)).ctypes.data for _ in range(2)]
    small = [memory.array((10, 2)).ctypes.data for _ in range(2)]
    larger = [memory.array((1_250,)).ctypes.data for _ in range(2)]
    assert small == larger == large
    assert len(memory.array((1_300,))) == 1_300


def test_a_tensor_on_a_place_is_no_copy() -> None:
    array = BatchMemory().array((5, 2))
    array[:] = np.arange(10).reshape(5, 2)
    tensor = tensor_on(array)
    np.testing.assert_array_equal(tensor, array)
    assert np.shares_memory(np.asarray(tensor), array)
