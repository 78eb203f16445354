"""The body ``wide_and_deep``."""

from typing import Any

from keras import ops

from domain_kernels.parts import Build, TaskHead


def wide_and_deep(x: Any, build: Build) -> list[TaskHead]:
    """A hidden layer for all tasks, and beside it a linear model for each (Cheng et al. 2016, Wide
    & Deep Learning).

    Args:
      x: features ``[B, D]``.
      build: ``options``: ``width`` of the hidden layer (64).
    """
    width = int(build.settings.options.get("width", 64))
    deep = build.mlp(x, (width,), "deep")
    heads = []
    for task in build.tasks:
        wide = build.dense(width, f"{task}_wide", None)(x)
        heads.append(build.head(task, ops.concatenate([deep, wide], axis=-1)))
    return heads
