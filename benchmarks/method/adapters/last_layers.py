"""Fine-tuning the last layers alone, the oldest way to keep a backbone (Yosinski et al. 2014,
"How transferable are features ...?").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import tensorflow as tf

from benchmarks.method.adapters.towers import TowerLayer, affine, towers_of
from configs import InputError
from trainer.kernels.kernel import KernelWeights, Weights


@dataclass(frozen=True, eq=False)
class LastLayers:
    """The last k layers of each task's tower, trained from the backbone's own values; the layers
    before them stay frozen.

    A weight is kept as sqrt(fan_in) W, see ``benchmarks.method.adapters``; biases as they are.

    Attributes:
      towers: the backbone's.
      count: k; 1 is the logit layer, the number of all layers is the whole tower.
    """

    informed: ClassVar[tuple[str, ...]] = ()  # no KL term

    towers: tuple[TowerLayer, ...]
    count: int = 1

    @classmethod
    def of(cls, backbone: keras.Model, tasks: Sequence[str], count: int = 1) -> "LastLayers":
        """The last ``count`` layers of a frozen backbone's towers, whose names are ``tasks``.

        Raises:
          InputError: towers that are not plain, or a count that they do not have.
        """
        towers = towers_of(backbone, tasks)
        if not 1 <= count <= len(towers):
            raise InputError(
                f"last layers of backbone '{backbone.name}': expected 1 to {len(towers)}, received"
                f" {count}"
            )
        return cls(towers, count)

    @property
    def tap(self) -> str:
        """The logit layer reads the tower's last hidden layer; what lies deeper is run from the
        representation.
        """
        return "tower" if self.count == 1 else "representation"

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return sum(layer.weight.size + layer.bias.size for layer in self.towers[-self.count :])

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """The backbone's own values, whatever the seed and the domain."""
        start: KernelWeights = {}
        for index, layer in enumerate(self.towers[-self.count :]):
            start[f"weight_{index}"] = layer.weight * layer.fan_in**0.5
            start[f"bias_{index}"] = layer.bias.copy()
        return start

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        hidden = taps
        for layer in self.towers[: -self.count] if self.tap == "representation" else ():
            hidden = layer(hidden)
        for index, layer in enumerate(self.towers[-self.count :]):
            hidden = layer.activation(
                affine(
                    hidden,
                    weights[f"weight_{index}"] * layer.fan_in**-0.5,
                    weights[f"bias_{index}"],
                )
            )
        return hidden[..., 0]
