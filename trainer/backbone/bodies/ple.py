"""Builds progressive layered extraction (Tang et al. 2020, "Progressive Layered Extraction (PLE)",
section 4; one level is its CGC).
"""

from typing import Any

from keras import ops

from trainer.backbone.bodies.builder import Build, TaskHead

SHARED = "shared"


def ple(x: Any, build: Build) -> list[TaskHead]:
    """Task k reads g_k of the last level; g_k = g_shared = x before the first.

    A level has ``experts`` experts E_k over g_k for each task and ``shared_experts`` experts E_s
    over g_s, all of widths ``expert_layers``. Then  g_k <- softmax(G_k g_k) [E_k; E_s]  and, but in
    the last level,  g_s <- softmax(G_s g_s) [E_1; ..; E_T; E_s].
    """
    settings = build.settings
    states = dict.fromkeys((*build.tasks, SHARED), x)
    for level in range(settings.levels):
        counts = {**dict.fromkeys(build.tasks, settings.experts), SHARED: settings.shared_experts}
        experts = {
            name: build.experts(states[name], count, f"{name}_experts_{level}")
            for name, count in counts.items()
        }
        read = {task: [experts[task], experts[SHARED]] for task in build.tasks}
        if level < settings.levels - 1:
            read[SHARED] = list(experts.values())
        states = {
            name: build.mixture(
                states[name], ops.concatenate(parts, axis=1), f"{name}_gate_{level}"
            )
            for name, parts in read.items()
        }
    return [build.head(task, states[task]) for task in build.tasks]
