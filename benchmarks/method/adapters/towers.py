"""The frozen towers as arrays, all tasks side by side: what adapters feed or change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from configs import InputError
from trainer.backbone.frozen_pass import Floats
from trainer.backbone.model import intercepts_of


@dataclass(frozen=True, eq=False)
class TowerLayer:
    """One layer of every task's tower: activation(x W + b).

    Attributes:
      weight: W, float32 ``[T, fan_in, fan_out]``, T tasks.
      bias: b, float32 ``[T, fan_out]``.
      activation: of the layer; the logit's is linear.
    """

    weight: Floats
    bias: Floats
    activation: Callable[[Any], Any]

    @property
    def tasks(self) -> int:
        """T."""
        return int(self.weight.shape[0])

    @property
    def fan_in(self) -> int:
        """Width of x."""
        return int(self.weight.shape[1])

    @property
    def fan_out(self) -> int:
        """Width of the result."""
        return int(self.weight.shape[2])

    def __call__(self, x: Any) -> Any:
        """The layer over x ``[M, T, R, fan_in]``."""
        return self.activation(affine(x, self.weight, self.bias))


def affine(x: Any, weight: Any, bias: Any) -> Any:
    """x W + b of x ``[M, T, R, fan_in]``, W ``[(M,) T, fan_in, fan_out]`` and b ``[(M,) T,
    fan_out]``.
    """
    # TensorFlow 2.21's matmul of [M, 1, R, d] and [1, d, o] writes outside of its memory on a CPU.
    alike = len(weight.shape) == len(x.shape)
    product = tf.matmul(x, weight) if alike else tf.einsum("mtrd,tdo->mtro", x, weight)
    return product + bias[..., np.newaxis, :]


def tower_logits(towers: tuple[TowerLayer, ...], representation: Any) -> Any:
    """Logits ``[M, T, R]`` of whole towers over representations ``[M, T, R, d]``."""
    for layer in towers:
        representation = layer(representation)
    return representation[..., 0]


def towers_of(backbone: keras.Model, tasks: Sequence[str]) -> tuple[TowerLayer, ...]:
    """Reads the towers of a frozen backbone (``trainer.backbone.saving.load_frozen``): the hidden
    layers in order, then the logit with the backbone's intercepts.

    Args:
      backbone: frozen.
      tasks: its towers' names (``configs.prediction.tasks.Tasks.towers``).

    Raises:
      InputError: its towers are not plain: a layer ``TASK_tower_0``, ``TASK_tower_1``, ...,
        ``TASK_logit`` is missing or not dense, or these layers do not lead from the
        ``representation`` head to the logits.
    """
    layers = {layer.name: layer for layer in backbone.layers}
    hidden = takewhile(
        lambda part: any(f"{task}_{part}" in layers for task in tasks),
        (f"tower_{depth}" for depth in count()),
    )
    towers = []
    for part in [*hidden, "logit"]:
        found = []
        for task in tasks:
            layer = layers.get(f"{task}_{part}")
            if not isinstance(layer, keras.layers.Dense):
                kind = "none" if layer is None else type(layer).__name__
                raise InputError(
                    f"backbone '{backbone.name}': expected plain towers with a dense layer"
                    f" '{task}_{part}', found {kind}"
                )
            found.append(layer)
        weights, biases = (
            np.stack([getattr(layer, name).numpy() for layer in found])
            for name in ("kernel", "bias")
        )
        towers.append(TowerLayer(weights, biases, found[0].activation))
    if (intercepts := intercepts_of(backbone)) is not None:
        towers[-1] = replace(towers[-1], bias=towers[-1].bias + intercepts.numpy()[:, np.newaxis])
    _check(backbone, tuple(towers))
    return tuple(towers)


def _check(backbone: keras.Model, towers: tuple[TowerLayer, ...]) -> None:
    """Names do not say how layers are joined (a body may put gates between them), so one made-up
    row does.
    """
    row = {
        name: tf.ones([1, *tensor.shape[1:]], tensor.dtype)
        for name, tensor in backbone.input.items()
    }
    heads = backbone(row, training=False)
    representation, expected = heads["representation"][:, :, tf.newaxis], heads["logits"]
    same = representation.shape[-1] == towers[0].fan_in
    if not same or not np.allclose(
        tower_logits(towers, representation)[..., 0], expected, rtol=1e-4, atol=1e-5
    ):
        raise InputError(
            f"backbone '{backbone.name}': expected plain towers between its representation and its"
            " logits; it has others"
        )
