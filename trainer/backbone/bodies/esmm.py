"""Builds the network of ESMM (Ma et al. 2018, "Entire Space Multi-Task Model", section 2.3): the
tasks share the embeddings alone.
"""

from typing import Any

from trainer.backbone.bodies.builder import Build, TaskHead


def esmm(x: Any, build: Build) -> list[TaskHead]:
    """Task k reads h_k(x), a network of its own of widths ``expert_layers``; ``experts`` is not
    read.

    The paper's losses, on click and on click-and-conversion over all impressions, are those of a
    task after the click with ``loss_weight`` 0 and an ``entire`` product; other losses train the
    same network in another way.
    """
    return [
        build.head(task, build.mlp(x, build.settings.expert_layers, f"{task}_bottom"))
        for task in build.tasks
    ]
