"""The kernel whose delta enters before the tower: a vector added to the representation that each
task's frozen tower reads (our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
import tensorflow as tf

from benchmarks.method.adapters.towers import TowerLayer, tower_logits, towers_of
from configs import InputError
from configs.training import Kernel as Settings
from trainer.backbone.model import read_tap
from trainer.kernels.kernel import KernelShape, KernelWeights, Weights, decoded

Enters = Literal["tower", "both"]


def towers_and_shape(
    backbone: keras.Model, tasks: Sequence[str], settings: Settings
) -> tuple[tuple[TowerLayer, ...], KernelShape]:
    """The backbone's towers, and the shape of an experiment's kernels, of a method that changes
    what towers read. Raises ``InputError`` where ``TowerInput.of`` does.
    """
    if settings.tap.split("+")[0] != "representation":
        raise InputError(
            "kernel.tap: tower_input expected a tap that begins with 'representation',"
            f" received '{settings.tap}'"
        )
    if not settings.residual or settings.gate != "none":
        raise InputError(
            "kernel.residual and kernel.gate: tower_input expected true and 'none', "
            f"received {str(settings.residual).lower()} and '{settings.gate}'"
        )
    towers = towers_of(backbone, tasks)
    width = int(read_tap(backbone.output, settings.tap).shape[-1])
    return towers, KernelShape.of(settings, width, towers=len(tasks))


@dataclass(frozen=True, eq=False)
class TowerInput:
    """tower(h + delta) of each task's representation h, delta a vector of h's width: what the
    kernel's decoder gives on the kernel's tap.

    Weights, scaling, start and KL term are the kernel's. With ``enters: both`` the decoder gives
    one number more, which is added to the logit afterwards: the kernel's own delta.

    Attributes:
      towers: the backbone's.
      shape: of encoder and decoder; its last width is h's, or one more. Its tap begins with h.
    """

    towers: tuple[TowerLayer, ...]
    shape: KernelShape

    @classmethod
    def of(
        cls,
        backbone: keras.Model,
        tasks: Sequence[str],
        settings: Settings,
        enters: Enters = "tower",
    ) -> "TowerInput":
        """An adapter with the tap, the widths and the activation of an experiment's kernels.

        Args:
          backbone: frozen.
          tasks: its towers' names.
          settings: of the kernels; ``tap`` begins with ``representation``, ``residual`` is on and
            ``gate`` is none.
          enters: where: ``tower``, or ``both`` tower and logit.

        Raises:
          InputError: other settings, or towers that are not plain.
        """
        towers, shape = towers_and_shape(backbone, tasks, settings)
        return cls(
            towers,
            replace(shape, widths=(*shape.widths[:-1], towers[0].fan_in + (enters == "both"))),
        )

    @property
    def tap(self) -> str:
        """The kernel's."""
        return self.shape.tap

    @property
    def informed(self) -> tuple[str, ...]:
        """The kernel's: the weights, not the biases."""
        return self.shape.informed

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return sum(values.size for values in self.initial(0, "").values())

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """As a kernel's: weights ~ N(0, I), a function of seed and domain name; biases and the
        last layer 0.
        """
        return self.shape.initial(seed, domain)

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        size, change = self.towers[0].fan_in, decoded(self.shape, weights, taps)
        out = tower_logits(self.towers, taps[..., :size] + change[..., :size])
        return out + change[..., size] if self.shape.widths[-1] > size else out
