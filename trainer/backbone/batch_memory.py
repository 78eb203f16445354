"""Memory that batches are gathered into, one after the other, and read from without a copy.

A batch of kernels' inputs is tens of megabytes. Asked for anew every step, they would be cleared by
the system, filled, and copied twice on their way into TensorFlow: longer than the gathering takes.
"""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf

_ALIGNED = 64
"""Bytes: TensorFlow's operations read memory that begins at a multiple of it."""


class BatchMemory:
    """Two places in turn: while a batch is computed, the one after it is gathered."""

    def __init__(self) -> None:
        self._places = [np.empty(0, np.float32) for _ in range(2)]

    def array(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """A float32 array of a shape, of any content; it is overwritten after the next one has been
        asked for. It grows to the largest that was asked for, and a quarter more.
        """
        size, place = prod(shape), self._places.pop(0)
        if len(place) < size:
            place = _aligned(size + size // 4)
        self._places.append(place)
        return place[:size].reshape(shape)


def tensor_on(array: npt.NDArray[np.float32]) -> Any:
    """A tensor on an array of ``BatchMemory``, not a copy: it is as long as the array is."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _aligned(size: int) -> npt.NDArray[np.float32]:
    entries = _ALIGNED // 4
    memory = np.empty(size + entries, np.float32)
    first = -(memory.ctypes.data // 4) % entries
    return memory[first : first + size]
