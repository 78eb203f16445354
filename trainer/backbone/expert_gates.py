"""Says which experts each gate of a body mixes, and how much of each a row gets."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf
from configs.training import Backbone
from trainer.backbone.bodies.ple import SHARED
from trainer.backbone.frozen_pass import Floats

_BATCH = 16_384
_OF_ONE_LEVEL = ("mmoe", "pepnet")


class Gate(NamedTuple):
    """A gate ``softmax(G x)``.

    Attributes:
      task: that reads the mixture; None for the state which all tasks of a body ``ple`` share.
      experts: names of what it mixes, in the order of its weights: a number, and in a body ``ple``
        whose expert it is.
    """

    task: str | None
    experts: tuple[str, ...]


def expert_gates(settings: Backbone, tasks: tuple[str, ...]) -> dict[str, Gate]:
    """Name of a gate's layer -> gate; none where the body mixes no experts.

    Args:
      settings: of the backbone.
      tasks: its towers (``configs.prediction.tasks.Tasks.towers``).
    """
    if settings.body in _OF_ONE_LEVEL:
        return {f"{task}_gate": Gate(task, _names("", settings.experts)) for task in tasks}
    if settings.body != "ple":
        return {}
    own = {task: _names(f"{task} ", settings.experts) for task in tasks}
    shared = _names(f"{SHARED} ", settings.shared_experts)
    found = {}
    for level in range(settings.levels):
        for task in tasks:
            found[f"{task}_gate_{level}"] = Gate(task, (*own[task], *shared))
        if level < settings.levels - 1:
            every = tuple(name for task in tasks for name in own[task])
            found[f"{SHARED}_gate_{level}"] = Gate(None, (*every, *shared))
    return found


def gate_weights(
    model: keras.Model, gates: Mapping[str, Gate], features: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Floats]:
    """Weights of every gate, ``[N, E]``, which add up to 1 in each row.

    Args:
      model: the frozen backbone.
      gates: of it.
      features: its inputs by name, ``[N]`` or ``[N, L]``.
    """
    reader = keras.Model(model.input, {name: model.get_layer(name).output for name in gates})
    rows = len(next(iter(features.values())))
    parts = [
        reader(
            {name: tf.constant(v[start : start + _BATCH]) for name, v in features.items()},
            training=False,
        )
        for start in range(0, rows, _BATCH)
    ]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in gates}


def _names(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(1, count + 1))
