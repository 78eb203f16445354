"""Defines what every body is given, and what it gives back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

from configs.training import Backbone
from trainer.backbone.layers.experts import Experts


class TaskHead(NamedTuple):
    """One task's end of a body: symbolic tensors."""

    representation: Any
    """``[B, width]``: what the task's tower reads."""
    tower: Any
    """``[B, width]``: the tower's last hidden layer."""
    logit: Any
    """``[B, 1]``."""


@dataclass(frozen=True)
class Build:
    """The settings of a backbone under construction, and the seeds of its layers in order.

    Attributes:
      settings: the config's ``backbone`` section.
      tasks: names of the towers (``configs.prediction.tasks.Tasks.towers``), in the order of every
        task axis.
      topics: of the topics that the body reads: int32 ``[B]``, 0 for none of the topic's values,
        then 1.. in its order.
      values: how many indices each of these topics has, 0 included.
      seeds: an endless supply, so that a backbone is a function of its experiment's seed alone.
    """

    settings: Backbone
    tasks: tuple[str, ...]
    topics: dict[str, Any]
    values: dict[str, int]
    seeds: Iterator[int]

    def dense(self, width: int, name: str, activation: str | None = "relu") -> keras.layers.Dense:
        """A dense layer with Glorot weights from the next seed."""
        return keras.layers.Dense(
            width,
            activation,
            name=name,
            kernel_initializer=keras.initializers.GlorotUniform(next(self.seeds)),
        )

    def mlp(self, x: Any, widths: Iterable[int], name: str) -> Any:
        """Dense layers with ReLU over x ``[B, D]``, named ``NAME_0``, ``NAME_1``, and so on."""
        for depth, width in enumerate(widths):
            x = self.dense(width, f"{name}_{depth}")(x)
        return x

    def experts(self, x: Any, count: int, name: str) -> Any:
        """``count`` experts of widths ``expert_layers`` over x ``[B, D]``, from the next seed:
        ``[B, count, width]``.
        """
        settings = self.settings
        return Experts(
            count, settings.expert_layers, next(self.seeds), settings.precision, name=name
        )(x)

    def mixture(self, x: Any, experts: Any, name: str) -> Any:
        """``sum_i softmax(G x)_i e_i``, ``[B, width]``, of experts ``[B, E, width]``; the gate G
        is a dense layer NAME over ``[B, D]``.
        """
        gate = self.dense(experts.shape[1], name, "softmax")(x)
        return ops.sum(experts * ops.expand_dims(gate, -1), axis=1)

    def head(self, task: str, representation: Any) -> TaskHead:
        """A task's plain tower and logit over its representation."""
        hidden = self.mlp(representation, self.settings.tower_layers, f"{task}_tower")
        return TaskHead(representation, hidden, self.dense(1, f"{task}_logit", None)(hidden))


Body = Callable[[Any, Build], list[TaskHead]]
"""What stands between embeddings and towers: symbolic features ``[B, D]`` -> a head for each of
``build.tasks``, all of equal widths. Its layers are stock ones of Keras or registered
(``keras.saving.register_keras_serializable``), have names of their own and seeds of
``build.seeds``; an installed package's has its settings in ``build.settings.options``.
"""
