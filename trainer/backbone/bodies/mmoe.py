"""Builds a multi-gate mixture of experts (Ma et al. 2018, "Modeling Task Relationships in
Multi-task Learning with MMoE", section 4).
"""

from typing import Any

from trainer.backbone.bodies.builder import Build, TaskHead


def mmoe(x: Any, build: Build) -> list[TaskHead]:
    """Task k reads  sum_i softmax(G_k x)_i e_i(x)  of the shared experts e_i.

    Two models that are often told apart are this one body; the config's weights of losses decide
    between them. ESMM over MMoE, losses on click and on click-and-conversion over all impressions:
    ``loss_weight`` 0 for the task after the click, 1 for its ``entire`` product. Plain MMoE, losses
    on click and on conversion among the clicked rows: the other way round.
    """
    settings = build.settings
    experts = build.experts(x, settings.experts, "experts")
    return [build.head(task, build.mixture(x, experts, f"{task}_gate")) for task in build.tasks]
