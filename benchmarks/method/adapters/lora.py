"""Low-rank adaptation (Hu et al. 2021, "LoRA", section 4.1), one for each domain (MLoRA, Yang et
al. 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from benchmarks.method.adapters.towers import TowerLayer, affine, towers_of
from configs import InputError
from configs.random_streams import Purpose, random_stream
from trainer.kernels.kernel import KernelWeights, Weights


@dataclass(frozen=True, eq=False)
class LoRA:
    """act(x W + b + (alpha / r) x A B / sqrt(fan_in)) in place of act(x W + b), in every layer of
    each task's tower, the logit included.

    Attributes:
      towers: the backbone's.
      rank: r, the same in every layer.
      alpha: scale.
    """

    tap: ClassVar[str] = "representation"
    informed: ClassVar[tuple[str, ...]] = ()  # no KL term

    towers: tuple[TowerLayer, ...]
    rank: int
    alpha: float

    @classmethod
    def of(
        cls, backbone: keras.Model, tasks: Sequence[str], rank: int = 16, alpha: float = 4.0
    ) -> "LoRA":
        """The LoRA of a frozen backbone's towers, whose names are ``tasks``.

        The defaults are our choice: on widths 64 and one hidden layer, rank 16 has about the
        numbers of a kernel of width 50 that reads the representation alone, and alpha 4 makes alpha
        / r the 1 / sqrt(fan_in) of B.

        Raises:
          InputError: towers that are not plain, or a rank below 1.
        """
        if rank < 1:
            raise InputError(
                f"LoRA of backbone '{backbone.name}': expected a rank of at least 1, received"
                f" {rank}"
            )
        return cls(towers_of(backbone, tasks), rank, alpha)

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return sum(values.size for values in self.initial(0, "").values())

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """A ~ N(0, I), a function of seed and domain name; B = 0."""
        generator = random_stream(seed, Purpose.KERNEL_WEIGHTS, domain)
        start: KernelWeights = {}
        for index, layer in enumerate(self.towers):
            start[f"a_{index}"] = generator.standard_normal(
                (layer.tasks, layer.fan_in, self.rank), np.float32
            )
            start[f"b_{index}"] = np.zeros((layer.tasks, self.rank, layer.fan_out), np.float32)
        return start

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        hidden = taps
        for index, layer in enumerate(self.towers):
            change = tf.matmul(tf.matmul(hidden, weights[f"a_{index}"]), weights[f"b_{index}"])
            scale = self.alpha / self.rank * layer.fan_in**-0.5
            hidden = layer.activation(affine(hidden, layer.weight, layer.bias) + scale * change)
        return hidden[..., 0]
