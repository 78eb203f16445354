"""Builds a body with hyper adapters (Li et al. 2023, "HAMUR: Hyper Adapter for Multi-Domain
Recommendation"); the domains are the values of one topic.
"""

from typing import Any

from keras import ops

from trainer.backbone.bodies.builder import Build, TaskHead
from trainer.backbone.bodies.domain_embedding import domain_vector
from trainer.backbone.layers.domain_specific import HyperAdapter, PartitionedNormalization


def hamur(x: Any, build: Build) -> list[TaskHead]:
    """A bottom that all domains and tasks share, of widths ``expert_layers``, with an adapter after
    every layer; plain towers.

    The hyper-network gives every row a core  I = reshape(W_2 relu(W_1 [e_p; x] + b_1) + b_2), k x
    k,  which all adapters share; a layer h_l = relu(h_(l-1)' W + b) becomes  h_l' = h_l +
    DN_p(sigmoid(h_l U_1 I V_1 + b_1) U_2 I V_2 + b_2).

    These are the equations of the paper's adapter cell, low-rank hyper-network and short-cut, as in
    the authors' code. Where the two leave a choice, ours are: the domain's embedding e_p beside x;
    no activation on I; ``embedding_dimension`` for k and for the bottleneck, ``expert_layers[-1]``
    for the hyper-network's hidden layer; one bottom for all domains (their code has one for each,
    and computes all of them for every row); an adapter after each of its layers; DN over the rows
    of the domain alone, with its own moving moments and scale (their code takes the moments over
    the whole batch), its shared scale starting from 0, so that the body starts as its plain bottom.
    """
    settings, ((topic, domain),) = build.settings, build.topics.items()
    rank = settings.embedding_dimension
    instance = build.dense(settings.expert_layers[-1], "hyper_hidden")(
        ops.concatenate([domain_vector(build), x], axis=-1)
    )
    core = ops.reshape(build.dense(rank * rank, "hyper_core", None)(instance), (-1, rank, rank))
    hidden = x
    for depth, width in enumerate(settings.expert_layers):
        hidden = build.dense(width, f"bottom_{depth}")(hidden)
        adapted = HyperAdapter(rank, next(build.seeds), name=f"adapter_{depth}")(hidden, core)
        hidden = hidden + PartitionedNormalization(
            build.values[topic], gamma=0.0, name=f"domain_norm_{depth}"
        )(adapted, domain)
    return [build.head(task, hidden) for task in build.tasks]
