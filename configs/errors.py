"""Errors a user can cause. Every command prints their one line on stderr and exits with code 2."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

_MOST_NAMES = 10
A_FOLDER = "a folder, '.' for the current one"
"""What is expected where a folder is named."""


class InputError(Exception):
    """Bad input: says what was wrong, where, what was expected and what was received, in one
    line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ConfigError(InputError):
    """An experiment file (or a ``--set`` override) that does not describe a valid experiment."""


_FLAG = re.compile(r"python -m [^;]*|(?<![\w-])(?P<flag>--[a-z][a-z-]*)")
"""A flag, but for those of a command that is written out, up to the end of its clause."""


@contextmanager
def in_words_of_python(arguments: Mapping[str, str]) -> Iterator[None]:
    """Has an ``InputError`` name the arguments of a function, whose caller knows no flags.

    Args:
      arguments: flag of the command, such as ``--job-dir`` -> argument of the function.
    """
    try:
        yield
    except InputError as error:
        said = _FLAG.sub(lambda found: arguments.get(found["flag"] or "", found[0]), str(error))
        error.args = (said,)
        raise


def did_you_mean(
    name: str, known: Iterable[str], spelling: Callable[[str], str] = lambda name: name
) -> str:
    """The end of a sentence about an unknown name: the nearest known one; where none is near, what
    there is (the first ten).

    Args:
      name: the unknown one.
      known: those that there are.
      spelling: a form in which names are compared; as they are by default.
    """
    names = list(known)
    spelt = {spelling(other): other for other in names}
    if close := difflib.get_close_matches(spelling(name), spelt, n=1):
        return f"; did you mean '{spelt[close[0]]}'?"
    return f"; there are: {first_names(names, _MOST_NAMES) or 'none'}"


def first_names(names: Sequence[str], most: int = 3) -> str:
    """The first names of many in a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
