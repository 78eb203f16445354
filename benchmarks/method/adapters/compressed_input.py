"""The paper's decoder read literally: the representation is compressed, what the domain learns is
added to the compressed one, and the frozen tower reads the sum.

  z = (h - m) E,   g = m + z D + c   (knowledge compression),
  logits = tower(g + f(g))       (knowledge matching, G' = compressed + f(T; compressed))

h is a task's representation, m its mean over the window, f a small network of the domain.
``tower_input`` is tower(h + f) of the representation as it is: nothing is compressed there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from benchmarks.method.adapters.tower_input import towers_and_shape
from benchmarks.method.adapters.towers import TowerLayer, tower_logits
from configs import InputError
from configs.training import Kernel as Settings
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.backbone.input_scale import InputScale
from trainer.kernels.kernel import KernelShape, KernelWeights, Weights, decoded

_SHOWN_ROWS = 32_768  # as many as say how a kernel's inputs are standardised


@dataclass(frozen=True, eq=False)
class CompressedInput:
    """An encoder and a decoder of the representation, and a learner between them and the tower.

    Encoder and decoder are linear and start at the window's principal components, so g is the
    projection of h on them at first. As in the kernel a matrix W enters as W / sqrt(fan_in): then
    the entries of the encoder's have variance 1 at the start, those of the decoder's rank / d,
    which is nearly the N(0, I) that the KL term holds them to. c and f start at 0. A new one
    therefore starts exactly at zero-shot where the rank is h's width; at a lower rank it starts at
    what the tower makes of the compressed representation alone, which is another model than
    zero-shot.

    Attributes:
      towers: the backbone's.
      shape: of f, whose last width is h's. Its tap begins with h.
      components: principal axes of h, float32 ``[2, d, rank]``.
      scale: of the tap: h is compressed, and f reads g and the rest of the tap, standardised.
    """

    towers: tuple[TowerLayer, ...]
    shape: KernelShape
    components: Floats
    scale: InputScale

    @classmethod
    def of(
        cls,
        backbone: keras.Model,
        tasks: Sequence[str],
        settings: Settings,
        window: BackboneOutputs,
        rank: int | None = None,
    ) -> "CompressedInput":
        """An adapter with the tap, the widths and the activation of an experiment's kernels.

        Args:
          backbone: frozen.
          tasks: its towers' names.
          settings: of the kernels; ``tap`` begins with ``representation``, ``residual`` is on and
            ``gate`` is none.
          window: rows to train on, with that tap.
          rank: of the compressed representation; its width where None.

        Raises:
          InputError: other settings, a rank above the width, or towers that are not plain.
        """
        towers, shape = towers_and_shape(backbone, tasks, settings)
        size = towers[0].fan_in
        if rank is not None and rank > size:
            raise InputError(
                f"options of tower_input.rank: expected at most {size}, the width of the"
                f" representation, received {rank}"
            )
        every = len(window.logits)
        shown = np.linspace(0, every - 1, min(every, _SHOWN_ROWS)).astype(np.int64)
        taps = np.moveaxis(window.inputs(shown), 0, 1)
        scale = InputScale.of(taps)
        components = [
            _principal_axes(taps[:, task, :size] - scale.mean[task, :size], rank or size)
            for task in range(len(tasks))
        ]
        widths = (*shape.widths[:-1], size)
        return cls(towers, replace(shape, widths=widths), np.stack(components), scale)

    @property
    def tap(self) -> str:
        """The kernel's."""
        return self.shape.tap

    @property
    def informed(self) -> tuple[str, ...]:
        """All matrices, not the biases."""
        return ("encoder", "decoder", *self.shape.informed)

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return sum(values.size for values in self.initial(0, "").values())

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """Encoder and decoder at the principal components; f as a kernel, its last layer 0."""
        size, rank = self.components.shape[1:]
        return self.shape.initial(seed, domain) | {
            "encoder": (self.components * size**0.5).astype(np.float32),
            "decoder": (np.swapaxes(self.components, 1, 2) * rank**0.5).astype(np.float32),
            "offset": np.zeros((len(self.components), size), np.float32),
        }

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        size, rank = self.components.shape[1:]
        deviation = self.scale.deviation[:, np.newaxis, np.newaxis]
        inputs = (taps - self.scale.mean[:, np.newaxis]) / deviation
        code = tf.matmul(inputs[..., :size], weights["encoder"]) * size**-0.5
        compressed = tf.matmul(code, weights["decoder"]) * rank**-0.5
        compressed += weights["offset"][:, :, tf.newaxis]
        read = tf.concat([compressed, inputs[..., size:]], axis=-1)
        changed = compressed + decoded(self.shape, weights, read)
        return tower_logits(
            self.towers, changed * deviation + self.scale.mean[:, np.newaxis, :size]
        )


def _principal_axes(centred: Floats, rank: int) -> Floats:
    """The first axes of rows ``[N, d]``, as columns ``[d, rank]``."""
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    first: Floats = axes[:, ::-1][:, :rank].astype(np.float32)
    return first
