"""Builds a parameter and embedding personalised network (Chang et al. 2023, "PEPNet"); the domains
are the values of any number of topics.
"""

from typing import Any

from keras import ops

from trainer.backbone.bodies.builder import Build, TaskHead
from trainer.backbone.bodies.domain_embedding import domain_vector


def pepnet(x: Any, build: Build) -> list[TaskHead]:
    """EPNet gates the embeddings by the domain, PPNet everything that a layer of a task's tower
    reads.

    Every gate is the paper's gate unit  g(z) = 2 sigmoid(W_2 relu(W_1 z + b_1) + b_2),  its hidden
    layer as wide as what it gates (our choice); it starts near 1.

      EPNet:  x' = x * g([e; stop(x)]),  e being the embeddings of the row's topics.
      PPNet:  h_0 = h * g_0(stop([x; e])),  h_(l+1) = relu(h_l W_l + b_l) * g_(l+1)(stop([x; e])),
        and the logit is linear in the last.

    The paper's prior of PPNet is the embeddings of user, item and author ids; which features those
    are is not in our configs, so it is all of x here (our choice). h is the task's mixture of
    experts over x', as in the body ``mmoe``, so that the two differ by the gates alone (our
    choice).
    """
    settings = build.settings

    def gate(prior: Any, width: int, name: str) -> Any:
        return 2.0 * build.dense(width, f"{name}_gate", "sigmoid")(
            build.dense(width, f"{name}_hidden")(prior)
        )

    domain = domain_vector(build)
    prior = ops.stop_gradient(ops.concatenate([x, domain], axis=-1))
    x = x * gate(ops.concatenate([domain, ops.stop_gradient(x)], axis=-1), x.shape[-1], "epnet")
    experts = build.experts(x, settings.experts, "experts")
    heads = []
    for task in build.tasks:
        hidden = representation = build.mixture(x, experts, f"{task}_gate") * gate(
            prior, settings.expert_layers[-1], f"{task}_ppnet_0"
        )
        for depth, width in enumerate(settings.tower_layers):
            hidden = build.dense(width, f"{task}_tower_{depth}")(hidden) * gate(
                prior, width, f"{task}_ppnet_{depth + 1}"
            )
        heads.append(
            TaskHead(representation, hidden, build.dense(1, f"{task}_logit", None)(hidden))
        )
    return heads
