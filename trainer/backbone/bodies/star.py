"""Builds the star topology adaptive recommender (Sheng et al. 2021, "One Model to Serve All"); the
domains are the values of one topic.
"""

from typing import Any

from keras import ops

from trainer.backbone.bodies.builder import Build, TaskHead
from trainer.backbone.bodies.domain_embedding import domain_vector
from trainer.backbone.layers.domain_specific import PartitionedNormalization, StarNetwork


def star(x: Any, build: Build) -> list[TaskHead]:
    """Task k's logit is  star_k(PN(x), p) + auxiliary_k([e_p; x])  for a row of domain p.

    The paper has one task. Ours have a star network each, of widths ``expert_layers``,
    ``tower_layers`` and 1, so that each is the paper's model whole; they share the embeddings, as
    ESMM's do (Ma et al. 2018), and the normalisation (our choice). The auxiliary networks are
    plain, of widths ``tower_layers`` and 1 (our choice; the paper's are smaller than the star
    network, too).
    """
    settings, ((topic, domain),) = build.settings, build.topics.items()
    domains = build.values[topic]
    auxiliary = ops.concatenate([domain_vector(build), x], axis=-1)
    normalised = PartitionedNormalization(domains, name="partitioned_normalization")(x, domain)

    def network(
        inputs: Any, widths: tuple[int, ...], name: str, activation: str | None = "relu"
    ) -> Any:
        return StarNetwork(domains, widths, activation, next(build.seeds), name=name)(
            inputs, domain
        )

    heads = []
    for task in build.tasks:
        representation = network(normalised, settings.expert_layers, f"{task}_bottom")
        tower = network(representation, settings.tower_layers, f"{task}_tower")
        logit = network(tower, (1,), f"{task}_logit", None)
        hidden = build.mlp(auxiliary, settings.tower_layers, f"{task}_auxiliary")
        heads.append(
            TaskHead(
                representation,
                tower,
                logit + build.dense(1, f"{task}_auxiliary_logit", None)(hidden),
            )
        )
    return heads
