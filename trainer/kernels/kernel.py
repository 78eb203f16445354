"""The kernel (IAK, information-aware adaptive kernel): encoder, decoder, their initial values,
and the bank that routes rows to them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from configs.random_streams import Purpose, random_stream
from configs.training import Kernel
from trainer.backbone.model import TASKS
from trainer.kernels.gate import BUCKETS, GATE, SUPPORT

Weights = dict[str, Any]
"""``weight_j`` ``[..., 2, fan_in, fan_out]`` and ``bias_j`` ``[..., 2, fan_out]`` of every layer
j; leading axis: kernels.
"""


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
        """Logits ``[M, 2, R]`` of M groups of R rows from weights with a leading axis M, taps ``[M,
        T, R, d]`` and the backbone's logits ``[M, 2, R]``; T is 2 (a tap of each task) or 1 (a tap
        that both share).
        """
        ...


@dataclass(frozen=True)
class KernelShape:
    """What kernels must share to live in one bank.

    Attributes:
      widths: d_in, d_e, the decoder's hidden widths, 1.
      activation: after every layer but the last.
      residual: whether the delta is added to the backbone's logit or replaces it.
      tap: what is read of the backbone (``backbone.read_tap``).
      support: ids in the table of users that a gate looks up (``trainer.kernels.gate``); 0 where
        kernels have no gate.
      user: the feature whose ids these are; empty where kernels have no gate.
    """

    widths: tuple[int, ...]
    activation: str
    residual: bool
    tap: str
    support: int = 0
    user: str = ""

    @classmethod
    def of(cls, settings: Kernel, tap_width: int) -> "KernelShape":
        """The shape that an experiment's kernels have on a tap of a width."""
        return cls(
            (tap_width, settings.width, *settings.decoder_layers, 1),
            settings.activation,
            settings.residual,
            settings.tap,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON form; ``from_json`` reads it. Without a gate it is what it was before there were
        gates.
        """
        content = {**asdict(self), "widths": list(self.widths)}
        return (
            content
            if self.support
            else {name: value for name, value in content.items() if name not in ("support", "user")}
        )

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "KernelShape":
        """Reads what ``to_json`` gave."""
        return cls(**{**content, "widths": tuple(content["widths"])})

    def variables(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight of one kernel (of both tasks), less its gate's: all that is
        trained.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            shapes[f"weight_{layer}"] = (len(TASKS), fan_in, fan_out)
            shapes[f"bias_{layer}"] = (len(TASKS), fan_out)
        return shapes

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every array of a stored kernel, its gate's included."""
        gate = (
            {GATE: ((len(TASKS), BUCKETS), "float32"), SUPPORT: ((self.support,), "uint8")}
            if self.support
            else {}
        )
        return {**{name: (size, "float32") for name, size in self.variables().items()}, **gate}

    @property
    def informed(self) -> tuple[str, ...]:
        """Names of the tensors whose information the KL term charges: the weights, not the
        biases.
        """
        return tuple(name for name in self.variables() if name.startswith("weight"))

    def initial(self, seed: int, domain: str) -> dict[str, npt.NDArray[np.float32]]:
        """A new kernel, a function of seed and domain name alone: weights ~ N(0, I), biases and the
        last layer 0.

        A residual kernel therefore starts exactly at zero-shot (METHOD: "decoder output starts at
        zero").
        """
        generator = random_stream(seed, Purpose.KERNEL_WEIGHTS, domain)
        last = f"weight_{len(self.widths) - 2}"
        return {
            name: np.zeros(size, np.float32)
            if name == last or name.startswith("bias")
            else generator.standard_normal(size, np.float32)
            for name, size in self.variables().items()
        }

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """``kernel_logits`` with this shape's own reading of ``residual``; no gate is applied."""
        return kernel_logits(self, weights, taps, logits, 1.0 if self.residual else 0.0)

    def code(self, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
        """The code z of the encoder, ``[M, 2, R, d_e]``; arguments as of ``kernel_logits``."""
        return keras.activations.get(self.activation)(_product(self, weights, 0, taps))


def user_columns(*shapes: KernelShape) -> tuple[str, ...]:
    """The record columns that gated kernels of these shapes read; none where no kernel is gated."""
    return tuple(sorted({f"feature/{shape.user}" for shape in shapes if shape.support}))


def stack(kernels: list[dict[str, npt.NDArray[np.float32]]]) -> dict[str, npt.NDArray[np.float32]]:
    """Kernels as one set of arrays with a leading kernel axis."""
    return {name: np.stack([kernel[name] for kernel in kernels]) for name in kernels[0]}


def kernel_logits(
    shape: KernelShape,
    weights: Weights,
    taps: tf.Tensor,
    logits: tf.Tensor,
    residual: tf.Tensor | float,
) -> tf.Tensor:
    """Logits of kernels over groups of rows; every product is scaled by 1 / sqrt(fan_in), so that w
    ~ N(0, I) is sane (our choice).

    Args:
      shape: of the kernels.
      weights: of M kernels, each array with leading axis M.
      taps: ``[M, 2, R, d_in]``, or ``[M, 1, R, d_in]`` where both tasks share them: R rows for each
        of the M kernels.
      logits: ``[M, 2, R]``, the backbone's.
      residual: 1 adds the delta to the backbone's logit, 0 replaces it; broadcast to ``[M, 2, R]``.

    Returns:
      ``[M, 2, R]``.
    """
    return residual * logits + decoded(shape, weights, taps)[..., 0]


def decoded(shape: KernelShape, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
    """What the decoder gives, ``[M, 2, R, shape.widths[-1]]``: of a kernel one number, the
    delta; arguments as of ``kernel_logits``.
    """
    activation = keras.activations.get(shape.activation)
    hidden = taps
    layers = len(shape.widths) - 1
    for layer in range(layers):
        hidden = _product(shape, weights, layer, hidden)
        if layer < layers - 1:
            hidden = activation(hidden)
    return hidden


def _product(shape: KernelShape, weights: Weights, layer: int, hidden: tf.Tensor) -> tf.Tensor:
    return (
        tf.matmul(hidden, weights[f"weight_{layer}"]) * shape.widths[layer] ** -0.5
        + weights[f"bias_{layer}"][..., tf.newaxis, :]
    )


Rows = npt.NDArray[np.int64]


KernelWeights = dict[str, npt.NDArray[Any]]
