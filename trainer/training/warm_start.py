"""From which kernel a domain starts (``finetune.warm_start``): all -> single-topic ->
cross-topic (our choice).
"""

import sys

from configs import InputError
from configs.domains import ALL, BACKBONE, Domain
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.registry.kernel_registry import KernelStore


def levels(warm_start: str, domains: list[Domain]) -> list[list[Domain]]:
    """Domains that train together, in the order of training: all at once, or those with fewer
    conditions first (``parent``).
    """
    if warm_start != "parent":
        return [domains]
    depths = sorted({len(domain.conditions) for domain in domains})
    return [[domain for domain in domains if len(domain.conditions) == depth] for depth in depths]


def possible_starts(warm_start: str, tuned: set[str]) -> set[str]:
    """The domains whose stored kernels the tuned ones may start from: that of all traffic unless it
    is tuned anew, and with ``parent`` all that stand above.
    """
    if warm_start == "none":
        return set()
    above = {name for one in tuned for name in Domain(one).parents if warm_start == "parent"}
    return (above - {ALL}) | ({ALL} - tuned)


def stored_kernels(
    store: KernelStore, shape: KernelShape, names: set[str]
) -> dict[str, KernelWeights]:
    """The stored kernels of a shape among the named domains', less their gates; a damaged one is
    told and is no start.
    """
    found = {}
    for name in sorted(names):
        try:
            found[name] = store.active_or_newest(name)
        except InputError as error:
            print(f"warning: no domain starts from '{name}': {error}", file=sys.stderr)
    return {
        name: {array: kernel.weights[array] for array in shape.variables()}
        for name, kernel in found.items()
        if kernel and kernel.shape == shape
    }


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
