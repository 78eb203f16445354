"""From which kernel a domain starts (``finetune.warm_start``): all -> single-topic ->
cross-topic (our choice).
"""

from configs.domains import ALL, BACKBONE, Domain
from trainer.kernels.kernel import KernelWeights


def levels(warm_start: str, domains: list[Domain]) -> list[list[Domain]]:
    """Domains that train together, in the order of training: all at once, or those with fewer
    conditions first (``parent``).
    """
    if warm_start != "parent":
        return [domains]
    depths = sorted({len(domain.conditions) for domain in domains})
    return [[domain for domain in domains if len(domain.conditions) == depth] for depth in depths]


def initial_kernels(
    warm_start: str, domains: list[Domain], kernels: dict[str, KernelWeights]
) -> KernelWeights | list[KernelWeights] | None:
    """What ``train_kernels`` starts the domains of a level from.

    Args:
      warm_start: ``all``, ``none`` or ``parent``.
      domains: of the level.
      kernels: of the domains trained before it, without gates; ``all`` among them unless
        ``warm_start`` is ``none``.
    """
    if warm_start == "none":
        return None
    if warm_start == "all":
        return kernels[ALL]
    return [kernels[start_name(warm_start, domain, kernels)] for domain in domains]


def start_name(warm_start: str, domain: Domain, kernels: dict[str, KernelWeights]) -> str:
    """The domain whose kernel a domain starts from; ``backbone`` where it starts from a new one,
    whose delta is 0.

    Args:
      warm_start: ``all``, ``none`` or ``parent``.
      domain: that starts.
      kernels: as ``initial_kernels`` has them; none where the domain starts from a new one.
    """
    if warm_start == "none" or not kernels:
        return BACKBONE
    if warm_start == "all":
        return ALL
    return next(name for name in domain.parents if name in kernels)
