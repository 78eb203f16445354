"""Names that are brought from their modules when they are asked for, and not before."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def find(module: str, name: str, places: Mapping[str, str]) -> Any:
    """An attribute of a module, brought from where it stands.

    Args:
      module: the module that is asked.
      name: of the attribute.
      places: name -> the module that has it, as ``module:own`` where it is called otherwise there.

    Raises:
      AttributeError: there is none of that name.
    """
    if name not in places:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    place, _, own = places[name].partition(":")
    return getattr(import_module(place), own or name)
