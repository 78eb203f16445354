"""Names that are brought from their modules when they are asked for, and not before."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
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


def with_words_of_python(step: Callable[..., Any], flags: Mapping[str, str]) -> Callable[..., Any]:
    """A step whose errors name its arguments, those of a wrong type among them, where the step
    itself, which the command calls, names flags.

    Args:
      step: the function.
      flags: flags of its command that are called in another way than the argument.
    """
    from configs.calls.argument_types import check_arguments  # not before a step is asked for
    from configs.errors import in_words_of_python

    names = inspect.signature(step).parameters
    arguments = {**{f"--{name.replace('_', '-')}": name for name in names}, **flags}

    @wraps(step)
    def call(*given: Any, **named: Any) -> Any:
        check_arguments(step, given, named)
        with in_words_of_python(arguments):
            return step(*given, **named)

    return call
