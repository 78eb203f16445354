"""Builds a shared bottom (Caruana 1997, "Multitask Learning"): one network whose hidden layers all
tasks share.
"""

from typing import Any

from trainer.backbone.bodies.builder import Build, TaskHead


def shared_bottom(x: Any, build: Build) -> list[TaskHead]:
    """Both tasks read h(x), one network of widths ``expert_layers``; ``experts`` is not read."""
    bottom = build.mlp(x, build.settings.expert_layers, "bottom")
    return [build.head(task, bottom) for task in build.tasks]
