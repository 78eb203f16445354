"""The plain bottleneck adapter (Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for
NLP", section 2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from benchmarks.method.adapters.towers import TowerLayer, affine, tower_logits, towers_of
from configs.random_streams import Purpose, random_stream
from trainer.kernels.kernel import KernelWeights, Weights


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """h + Up(relu(Down(h))) of each task's representation h, then the frozen tower.

    Attributes:
      towers: the backbone's.
      width: of the bottleneck, Down's output.
    """

    tap: ClassVar[str] = "representation"
    informed: ClassVar[tuple[str, ...]] = ()  # no KL term

    towers: tuple[TowerLayer, ...]
    width: int

    @classmethod
    def of(cls, backbone: keras.Model, tasks: Sequence[str], parameters: int) -> "Bottleneck":
        """An adapter of about as many trained numbers a domain as something it is compared with.

        Args:
          backbone: frozen.
          tasks: its towers' names.
          parameters: of all tasks together; the width (at least 1) is the one that comes nearest.

        Raises:
          InputError: towers that are not plain.
        """
        towers = towers_of(backbone, tasks)
        size = towers[0].fan_in
        return cls(towers, max(1, round((parameters / len(tasks) - size) / (2 * size + 1))))

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return sum(values.size for values in self.initial(0, "").values())

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """Down ~ N(0, I), a function of seed and domain name; Up and both biases 0."""
        generator = random_stream(seed, Purpose.KERNEL_WEIGHTS, domain)
        tasks, size = self.towers[0].tasks, self.towers[0].fan_in
        return {
            "down": generator.standard_normal((tasks, size, self.width), np.float32),
            "down_bias": np.zeros((tasks, self.width), np.float32),
            "up": np.zeros((tasks, self.width, size), np.float32),
            "up_bias": np.zeros((tasks, size), np.float32),
        }

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        code = tf.nn.relu(
            affine(taps, weights["down"] * self.towers[0].fan_in ** -0.5, weights["down_bias"])
        )
        return tower_logits(
            self.towers, taps + affine(code, weights["up"] * self.width**-0.5, weights["up_bias"])
        )
