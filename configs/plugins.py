"""Parts of other packages: bodies and kinds of features that an installed package names as entry
points. Nothing of a package is imported before one of its parts is asked for by name, but for the
settings of its kinds of features, which a config is read with.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from configs.digests.code import ABOVE
from configs.errors import InputError

BODIES = "domain_kernels.bodies"
"""Group of entry points: a name for ``backbone.body`` -> a function as in
``domain_kernels.parts.Body``.
"""

FEATURES = "domain_kernels.features"
"""Group of entry points: any name -> settings of a kind of feature, a class as in
``domain_kernels.parts.FeatureSettings``.
"""


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; of several of one name, the first that is found."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, point)
    return found


_OF_A_CHECKOUT = ("configs", "preprocessing", "trainer")


def load(point: EntryPoint) -> Any:
    """What an entry point names. Raises ``InputError`` where its package fails to give it."""
    try:
        return point.load()
    except Exception as error:  # another's code: whatever it raises is theirs to mend
        owner = f" of package {point.dist.name}" if point.dist else ""
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        how = (
            "import its names from domain_kernels.parts"
            if ABOVE and missing in _OF_A_CHECKOUT
            else "mend or remove the package"
        )
        raise InputError(
            f"{point.group}: '{point.name}'{owner} cannot be loaded: {said}; {how}"
        ) from None


def load_named(value: str, group: str) -> Any:
    """What ``module:name`` names, for a part that names another one. Raises ``InputError``."""
    return load(EntryPoint(value.rpartition(":")[2], value, group))
