"""Standardises what kernels read while they train, so that one learning rate fits every tap."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_LEAST = 1e-3
"""Deviation that inputs have at least, as a share of the size of their means: what varies less
would be multiplied by so much that float32, in which a stored kernel reads inputs as they are,
loses it.
"""


@dataclass(frozen=True)
class InputScale:
    """An offset for each input and one factor for all inputs of a task (our choice).

    A tap's entries have means far from zero and deviations far below one, so that weights from
    N(0, 1) hardly move it and a step moves their common offset most. A factor for each input would
    enlarge those that are mostly noise; measured, it is worse (``benchmarks/NOTES.md``).

    Attributes:
      mean: of each input, float32 ``[T, d]``.
      deviation: root of the mean variance of the inputs, float32 ``[T]``; at least a thousandth of
        the root of their means' mean square, and 1 where all inputs are 0.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, inputs: Floats) -> "InputScale":
        """What standardises inputs ``[N, T, d]``."""
        mean = inputs.mean(0, dtype=np.float64)
        centred = inputs - mean.astype(np.float32)
        deviation = np.sqrt(np.square(centred).mean((0, -1), dtype=np.float64))
        deviation = np.maximum(deviation, _LEAST * np.sqrt((mean**2).mean(-1))).astype(np.float32)
        return cls(mean.astype(np.float32), np.where(deviation > 0, deviation, np.float32(1)))

    def applied(self, inputs: Floats) -> Floats:
        """Inputs ``[..., T, R, d]``, standardised in place."""
        inputs -= self.mean[:, np.newaxis]
        inputs /= self.deviation[:, np.newaxis, np.newaxis]
        return inputs
