"""The kernel (IAK, information-aware adaptive kernel): what it is (``shape``), what it computes
(``forward``), and what may stand in its place in training.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf
from trainer.kernels.forward import Weights as Weights
from trainer.kernels.forward import decoded as decoded
from trainer.kernels.forward import kernel_logits as kernel_logits
from trainer.kernels.shape import KernelShape as KernelShape
from trainer.kernels.shape import KernelWeights as KernelWeights
from trainer.kernels.shape import user_columns as user_columns

Rows = npt.NDArray[np.int64]


class Adapter(Protocol):
    """What ``trainer.training.joint_kernel_trainer`` trains for every domain on stored taps: a
    kernel here; anything else with these members.
    """

    @property
    def tap(self) -> str:
        """What is read of the backbone (``backbone.read_tap``)."""
        ...

    @property
    def informed(self) -> tuple[str, ...]:
        """Names of the tensors under the KL term, each ``[T, fan_in, fan_out]``."""
        ...

    def initial(self, seed: int, domain: str) -> dict[str, npt.NDArray[np.float32]]:
        """Where a domain starts: a function of seed and domain name."""
        ...

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Logits ``[M, T, R]`` of M groups of R rows from weights with a leading axis M, taps ``[M,
        T, R, d]`` and the backbone's logits ``[M, T, R]``; the taps' T is 1 where all
        tasks share one.
        """
        ...


def stack(kernels: list[dict[str, npt.NDArray[np.float32]]]) -> dict[str, npt.NDArray[np.float32]]:
    """Kernels as one set of arrays with a leading kernel axis."""
    return {name: np.stack([kernel[name] for kernel in kernels]) for name in kernels[0]}
