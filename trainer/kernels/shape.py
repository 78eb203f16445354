"""What a kernel is on disk and in a bank: its arrays, their sizes and their initial values.

Needs NumPy alone, so that the registry reads and checks kernels without TensorFlow; what computes
with them is ``trainer.kernels.forward``.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.memory import Memory, defined_memory, memory_definition
from configs.random_streams import Purpose, random_stream
from configs.training import Kernel
from trainer.backbone.input_scale import InputScale

KernelWeights = dict[str, npt.NDArray[Any]]

_FORMERLY = 2
"""Tasks of a kernel when there were no other numbers."""

GATE, SUPPORT = "gate", "support"
"""Arrays of a gated kernel (``trainer.kernels.gate``)."""

FIRST_ROWS = (1, 5, 51)
"""Rows of a user from which buckets 1 to 3 of a gate begin: 1-4, 5-50, more."""

BUCKETS = 1 + len(FIRST_ROWS)


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
      memory: definition of what is read beside the tap (``configs.memory.Memory.definition``);
        empty where that is nothing.
      towers: tasks that a kernel has weights for (``configs.prediction.tasks.Tasks.towers``); 2 in
        shapes that are older than other numbers.
    """

    widths: tuple[int, ...]
    activation: str
    residual: bool
    tap: str
    support: int = 0
    user: str = ""
    memory: str = ""
    towers: int = _FORMERLY

    @classmethod
    def of(
        cls, settings: Kernel, tap_width: int, memory: Memory | None = None, towers: int = _FORMERLY
    ) -> "KernelShape":
        """The shape that an experiment's kernels have on a tap of a width, and on memory."""
        remembered = memory.width(towers) if memory else 0
        return cls(
            (tap_width + remembered, settings.width, *settings.decoder_layers, 1),
            settings.activation,
            settings.residual,
            settings.tap,
            memory=memory.definition if memory else "",
            towers=towers,
        )

    @property
    def remembers(self) -> Memory | None:
        """The memory that is read beside the tap; None where there is none."""
        return defined_memory(self.memory) if self.memory else None

    @property
    def words(self) -> str:
        """``widths 99 - 16 - 1 on tap representation+input``, and what else is not the default."""
        said = [f"widths {' - '.join(map(str, self.widths))} on tap {self.tap}"]
        said += [f"activation {self.activation}"] if self.activation != "relu" else []
        said += [] if self.residual else ["replacing the logit"]
        said += [f"a gate by '{self.user}'"] if self.support else []
        said += [f"memory of {self.remembers.words}"] if self.remembers else []
        said += [f"{self.towers} tasks"] if self.towers != _FORMERLY else []
        return ", ".join(said)

    def to_json(self) -> dict[str, Any]:
        """JSON form; ``from_json`` reads it. Without a gate, memory, and other than two tasks it is
        what it was before there were any.
        """
        content = {**asdict(self), "widths": list(self.widths)}
        absent = {"support", "user"} if not self.support else set()
        absent |= {"towers"} if self.towers == _FORMERLY else set()
        if self.memory:
            content["memory"] = json.loads(self.memory)
        else:
            absent |= {"memory"}
        return {name: value for name, value in content.items() if name not in absent}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "KernelShape":
        """Reads what ``to_json`` gave."""
        memory = memory_definition(content["memory"]) if content.get("memory") else ""
        return cls(**{**content, "widths": tuple(content["widths"]), "memory": memory})

    def variables(self) -> dict[str, tuple[int, ...]]:
        """Shape of every weight of one kernel (of all tasks), less its gate's: all that is
        trained.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            shapes[f"weight_{layer}"] = (self.towers, fan_in, fan_out)
            shapes[f"bias_{layer}"] = (self.towers, fan_out)
        return shapes

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every array of a stored kernel, its gate's included."""
        gate = (
            {GATE: ((self.towers, BUCKETS), "float32"), SUPPORT: ((self.support,), "uint8")}
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

    def standardised(self, weights: KernelWeights, scale: InputScale) -> KernelWeights:
        """The kernel that gives, on standardised inputs, what this one gives on inputs as they are;
        ``raw`` is its inverse.
        """
        weight = weights["weight_0"].astype(np.float64)
        return {
            **weights,
            "weight_0": (weight * scale.deviation[:, np.newaxis, np.newaxis]).astype(np.float32),
            "bias_0": (weights["bias_0"] + self._of_means(weight, scale)).astype(np.float32),
        }

    def raw(self, weights: KernelWeights, scale: InputScale) -> KernelWeights:
        """The kernel that gives, on inputs as they are, what this one gives on standardised
        ones.
        """
        weight = weights["weight_0"] / scale.deviation.astype(np.float64)[:, np.newaxis, np.newaxis]
        return {
            **weights,
            "weight_0": weight.astype(np.float32),
            "bias_0": (weights["bias_0"] - self._of_means(weight, scale)).astype(np.float32),
        }

    def _of_means(self, weight: npt.NDArray[np.float64], scale: InputScale) -> Any:
        """What the encoder makes of the inputs' means, ``[T, d_e]``, whether tasks share them or
        not.
        """
        return (scale.mean[..., np.newaxis] * weight).sum(axis=1) * self.widths[0] ** -0.5

    def logits(self, weights: dict[str, Any], taps: Any, logits: Any) -> Any:
        """``forward.kernel_logits`` with this shape's own reading of ``residual``, as training
        needs it; no gate is applied.
        """
        from trainer.kernels.forward import kernel_logits, learned_bias

        residual = 1.0 if self.residual else 0.0
        return kernel_logits(self, weights, taps, logits, residual, learned_bias)

    def code(self, weights: dict[str, Any], taps: Any) -> Any:
        """The code z of the encoder, ``[M, T, R, d_e]``; arguments as of
        ``forward.kernel_logits``.
        """
        from trainer.kernels.forward import encoded

        return encoded(self, weights, taps)


def user_columns(*shapes: KernelShape) -> tuple[str, ...]:
    """The record columns that gated kernels of these shapes read; none where no kernel is gated."""
    return tuple(sorted({f"feature/{shape.user}" for shape in shapes if shape.support}))
