"""Multi-gate mixture of experts (Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning with MMoE", section 4)."""

from typing import Any

from keras import ops

from trainer import layers
from trainer.bodies.build import TASKS, Build, TaskHead


def mmoe(x: Any, build: Build) -> list[TaskHead]:
    """Task k reads  sum_i softmax(G_k x)_i e_i(x)  of the shared experts e_i."""
    settings = build.settings
    experts = layers.Experts(settings.experts, settings.expert_layers, next(build.seeds), name="experts")(x)
    heads = []
    for task in TASKS:
        gate = build.dense(settings.experts, f"{task}_gate", "softmax")(x)
        heads.append(build.head(task, ops.sum(experts * ops.expand_dims(gate, -1), axis=1)))
    return heads
