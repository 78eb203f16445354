"""Arguments of a type that a function does not take are one line that names the argument, and not
whatever they come to grief with deep inside.
"""

import builtins
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, wraps
from numbers import Integral, Real
from os import PathLike
from types import UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from configs.errors import InputError

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")

_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
    PathLike: "a path",
    Callable: "a function",
}
_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
_MOST_LETTERS = 40


def checks_arguments(function: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """A function whose arguments are checked by ``check_arguments``."""

    @wraps(function)
    def call(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
        check_arguments(function, given, named)
        return function(*given, **named)

    return call


def check_arguments(
    function: Callable[..., Any], given: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Checks what a function is called with by the types in its signature. Of the lists among
    them, texts are looked at one by one; what is in others is for the function to say.

    Args:
      function: that is called.
      given: its arguments by place.
      named: its arguments by name.

    Raises:
      InputError: an argument of another type.
      TypeError: a name that it does not take, or one that is missing.
    """
    signature, hints = _hints(inspect.unwrap(function))
    for name, value in signature.bind(*given, **named).arguments.items():
        if name in hints and not _fits(value, hints[name]):
            raise InputError(
                f"{name}: expected {_described(hints[name])}, received {_received(value)}"
            )


class _ByName(type):
    """A class that is known by its name alone: signatures name some that are not imported before
    they are needed.
    """

    def __instancecheck__(cls, value: object) -> bool:
        return any(one.__name__ == cls.__name__ for one in type(value).__mro__)


class _Scope(dict[str, Any]):
    """The names that a signature may use."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name) if hasattr(builtins, name) else _ByName(name, (), {})


@cache
def _hints(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    signature = inspect.signature(function)
    hints = get_type_hints(function, {}, _Scope(getattr(function, "__globals__", {})))
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = signature.parameters.items()
    named = {name for name, parameter in parameters if parameter.kind not in several}
    return signature, {name: hint for name, hint in hints.items() if name in named}


def _fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type, as far as a caller would call it that."""
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint is None:
        return value is None
    if _is_union(hint):
        return any(_fits(value, one) for one in inside)
    if hint is bool:
        truths = isinstance(value, Integral) and value in (0, 1)
        return truths or type(value).__name__ == "bool"  # NumPy's own, too
    if hint in _NUMBERS:
        return isinstance(value, _NUMBERS[hint]) and not isinstance(value, bool)
    if origin is None:
        return isinstance(value, hint)
    if issubclass(origin, Iterable) and not issubclass(origin, Mapping):
        # Any number of rows is a list to a caller, an array or a set too; a text is no list.
        many = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
        if many and inside[:1] == (str,) and isinstance(value, Collection):
            return all(isinstance(one, str) for one in value)
        return many
    return isinstance(value, origin)


def _is_union(hint: Any) -> bool:
    return isinstance(hint, UnionType) or get_origin(hint) is Union


def _described(hint: Any) -> str:
    """A type in words."""
    if _is_union(hint):
        words = list(dict.fromkeys(map(_described, get_args(hint))))
        return " or ".join([", ".join(words[:-1]), words[-1]])
    origin = get_origin(hint) or hint
    if origin in _WORDS:
        return _WORDS[origin]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "values by name"
    if isinstance(origin, type) and issubclass(origin, Iterable) and get_args(hint):
        return "a list of texts" if get_args(hint)[0] is str else "a list"
    return f"{origin.__name__}"


def _received(value: object) -> str:
    """A value in words; of a list of anything else than texts, the first of these."""
    if isinstance(value, list | tuple | set):
        other = next((one for one in value if not isinstance(one, str)), None)
        return type(value).__name__ if other is None else f"{_received(other)} in it"
    if value is None or isinstance(value, type):
        return repr(value)
    shown = f" {value!r}"[:_MOST_LETTERS] if isinstance(value, str | bytes | Real) else ""
    return f"{type(value).__name__}{shown}"
