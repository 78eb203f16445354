"""Rows as backbone and kernels read them, input by input, and the inputs that they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.memory import Memory
from configs.topics import Topic
from preprocessing.features.key_hashes import PREFIX as MEMORY_PREFIX
from trainer.backbone.model import TOPIC_PREFIX
from trainer.data.dataset import Columns
from trainer.metrics.explanation_results import ReadInput

FEATURE_PREFIX = "feature/"

Parts = dict[str, npt.NDArray[Any]]
"""``feature/NAME`` as the transform gives it, ``topic/NAME`` int32 ``[N]`` as a body reads it,
``memory/NAME`` float32 ``[N, T + 1]`` as kernels read it.
"""


@dataclass(frozen=True)
class InputRows:
    """Rows in memory.

    Attributes:
      parts: what the model reads, and what may be changed.
      columns: what rows are routed and judged by: topics, labels, requests, users; never changed.
    """

    parts: Parts
    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def changed(self, parts: Parts) -> "InputRows":
        """The same rows with other values of some parts."""
        return replace(self, parts=self.parts | parts)


@dataclass(frozen=True)
class Input:
    """Parts that change together, since they are made of the same raw columns.

    Attributes:
      name: of the feature, topic or key, several joined by ``+``; topics and keys with ``topic/``
        and ``memory/``.
      about: what results say of it.
    """

    name: str
    about: ReadInput

    def permuted(self, rows: InputRows, order: npt.NDArray[np.intp]) -> InputRows:
        """The rows, each with the values that another one has."""
        return rows.changed({part: rows.parts[part][order] for part in self.about.parts})

    def without(self, rows: InputRows, missing: Mapping[str, npt.NDArray[Any]]) -> InputRows:
        """The rows with what stands for a missing value.

        Args:
          rows: to change.
          missing: part -> what the transform gives for a missing value, ``[1, ...]``.
        """
        return rows.changed(
            {part: np.repeat(missing[part], len(rows), axis=0) for part in self.about.parts}
        )


def inputs_of(
    experiment: Experiment,
    topics: Mapping[str, Topic],
    memory: Memory | None,
    backbone: keras.Model,
    by_kernels: tuple[str, ...] = (),
) -> list[Input]:
    """Everything that rows have for a model, features first, in the config's order.

    Features and topics of the body that are made of the same raw columns are one input; keys of
    memory, which kernels alone read, stand by themselves.

    Args:
      experiment: names the features.
      topics: those that the body may read.
      memory: what kernels remember; None where they do not.
      backbone: frozen; its inputs are what it reads.
      by_kernels: parts that gated kernels read (``trainer.kernels.shape.user_columns``).
    """
    made_of: dict[str, tuple[str, ...]] = {}
    parts: dict[str, tuple[str, ...]] = {}
    for name, settings in experiment.features.items():
        made_of[name] = tuple(experiment.columns_of(name))
        parts[name] = tuple(f"{FEATURE_PREFIX}{output}" for output in settings.output_names(name))
    for name in backbone.input:
        if name.startswith(TOPIC_PREFIX):
            made_of[name] = (topics[name.removeprefix(TOPIC_PREFIX)].column,)
            parts[name] = (name,)
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, columns in made_of.items():
        alike.setdefault(tuple(sorted(columns)), []).append(name)
    read = {*read_parts(backbone), *by_kernels}
    found: dict[str, ReadInput] = {}
    for names in alike.values():
        joined = tuple(part for name in names for part in parts[name])
        found["+".join(names)] = ReadInput(
            kind="topic" if names[0].startswith(TOPIC_PREFIX) else "feature",
            columns=made_of[names[0]],
            parts=joined,
            read=not read.isdisjoint(joined),
            shares=(),
        )
    for name, columns in (memory.keys if memory else {}).items():
        key = f"{MEMORY_PREFIX}{name}"
        found[key] = ReadInput(kind="memory", columns=columns, parts=(key,), read=True, shares=())
    return [
        Input(name, about.model_copy(update={"shares": _sharing(name, found)}))
        for name, about in found.items()
    ]


def read_parts(backbone: keras.Model) -> tuple[str, ...]:
    """The parts that a backbone reads."""
    return tuple(
        name if name.startswith(TOPIC_PREFIX) else f"{FEATURE_PREFIX}{name}"
        for name in backbone.input
    )


def body_topics(backbone: keras.Model) -> tuple[str, ...]:
    """Those of them that are topics."""
    return tuple(part for part in read_parts(backbone) if part.startswith(TOPIC_PREFIX))


def memory_parts(memory: Memory, remembered: npt.NDArray[np.float32]) -> Parts:
    """``memory/NAME`` of every key, of what rows remember ``[N, w]``."""
    slices = np.split(remembered, len(memory.keys), axis=1)
    return {f"{MEMORY_PREFIX}{name}": part for name, part in zip(memory.keys, slices, strict=True)}


def _sharing(name: str, inputs: Mapping[str, ReadInput]) -> tuple[str, ...]:
    own = set(inputs[name].columns)
    return tuple(
        other for other, about in inputs.items() if other != name and own & set(about.columns)
    )
