"""Decides which kernel answers a request that names a domain without an active one."""

from collections.abc import Mapping

from configs.domains import BACKBONE, Domain


def answering_domain(domain: Domain, gains: Mapping[str, float]) -> str:
    """The domain whose kernel answers rows that name a domain: its own where it is active, else the
    nearest active one above it.

    Above a cross-topic domain stand its single topics, the one with the larger measured gain first
    (of equal ones, the first in its name); above every domain stands ``all``, above that the
    backbone (our choice).

    Args:
      domain: that a request names.
      gains: of every active domain, the gain that its kernel was measured to have.

    Returns:
      The name of an active domain, or ``backbone``.
    """
    if domain.name in gains:
        return domain.name
    *topics, top = domain.parents
    active = [name for name in topics if name in gains]
    return max(active, key=gains.__getitem__, default=top if top in gains else BACKBONE)
