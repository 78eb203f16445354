"""Names with a meaning of their own where a domain is asked for."""

ALL = "all"
"""The domain of every row; its kernel is the kernel of all traffic."""

BACKBONE = "backbone"
"""Asked for as a domain: the frozen backbone alone (zero-shot)."""

AUTO = "auto"
"""Asked for as a domain: the most specific active domain that matches the row's own topic
fields.
"""


def sorted_conditions(name: str) -> str:
    """A domain's name with its topics in alphabetical order: names that differ in nothing but the
    order of their topics become equal.
    """
    return ",".join(sorted(name.split(",")))
