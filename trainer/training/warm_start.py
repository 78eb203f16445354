"""From which kernel a domain starts (``finetune.warm_start``): all -> single-topic ->
cross-topic; or its own of an older backbone (our choice).
"""

import sys
from collections.abc import Mapping
from types import MappingProxyType

from configs import InputError
from configs.domains import ALL, BACKBONE, Domain
from trainer.kernels.kernel import KernelShape, KernelWeights
from trainer.registry.kernel_registry import KernelStore

_NONE: Mapping[str, KernelWeights] = MappingProxyType({})


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
    warm_start: str,
    domains: list[Domain],
    kernels: dict[str, KernelWeights],
    inherited: Mapping[str, KernelWeights] = _NONE,
) -> KernelWeights | list[KernelWeights] | None:
    """What ``train_kernels`` starts the domains of a level from.

    Args:
      warm_start: ``all``, ``none`` or ``parent``.
      domains: of the level.
      kernels: of the domains trained before it, without gates; ``all`` among them unless
        ``warm_start`` is ``none``, or the level is its own.
      inherited: of domains that start from their own of an older backbone.
    """
    mine = [domain.name for domain in domains if domain.name in inherited]
    if warm_start == "none" or not (kernels or mine):
        return None
    if warm_start == "all" and not mine:
        return kernels[ALL]
    return [
        inherited[domain.name]
        if domain.name in inherited
        else kernels[start_name(warm_start, domain, kernels)]
        for domain in domains
    ]


def start_name(
    warm_start: str,
    domain: Domain,
    kernels: dict[str, KernelWeights],
    inherited: Mapping[str, KernelWeights] = _NONE,
) -> str:
    """The domain whose kernel a domain starts from; ``backbone`` where it starts from a new one,
    whose delta is 0, and in words where it starts from its own of an older backbone.

    Args:
      warm_start: ``all``, ``none`` or ``parent``.
      domain: that starts.
      kernels: as ``initial_kernels`` has them; none where the domain starts from a new one.
      inherited: as it has them.
    """
    if domain.name in inherited:
        return "its kernel on the older backbone"
    if warm_start == "none" or not kernels:
        return BACKBONE
    if warm_start == "all":
        return ALL
    return next(name for name in domain.parents if name in kernels)
