"""Parts of other packages: bodies and kinds of features that an installed package names as entry
points. Nothing of a package is imported before one of its parts is asked for by name, but for the
settings of its kinds of features, which a config is read with.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from traceback import walk_tb
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
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
        how = (
            "import its names from domain_kernels.parts"
            if ABOVE and missing in _OF_A_CHECKOUT
            else "mend or remove the package"
        )
        raise InputError(
            f"{point.group}: {_named(point)} cannot be loaded: {_said(error)}; {how}"
        ) from error


@contextmanager
def answering_for(point: EntryPoint, where: str) -> Iterator[None]:
    """Has what the code of an entry point raises be one line with the place in its file; from
    Python, the error that it was raised from has the traceback.

    Args:
      point: whose code is called.
      where: the setting that asks for it, such as ``backbone.body``.

    Raises:
      InputError: the code has failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: {_named(point)} ({point.value}) fails{_place(point, error)}: {_said(error)};"
            " mend it, or choose another"
        ) from error


def unfit(point: EntryPoint, where: str, expected: str, received: str) -> InputError:
    """The error about what the code of an entry point has given back.

    Args:
      point: whose code was called.
      where: the setting that asks for it.
      expected: of what it gives back.
      received: in its place.
    """
    return InputError(
        f"{where}: {_named(point)} ({point.value}): expected {expected}, received {received};"
        " mend it, or choose another"
    )


def not_installed(group: str) -> str:
    """Where a part that no installed package has is looked for, in the words that end a sentence
    about it.
    """
    return (
        f"(those of other packages are looked for in {sys.prefix}, as entry points {group}; pip"
        " install the package there)"
    )


def _named(point: EntryPoint) -> str:
    owner = f" of package {point.dist.name}" if point.dist else ""
    return f"'{point.name}'{owner}"


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")


def _place(point: EntryPoint, error: BaseException) -> str:
    """The deepest line of the package's own that an error went through."""
    package, found = point.value.partition(":")[0].partition(".")[0], ""
    for frame, line in walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            found = f" in {frame.f_code.co_filename}, line {line}"
    return found


def part_named(value: str, group: str) -> EntryPoint:
    """``module:name`` as an entry point, for a part that names another one."""
    return EntryPoint(value.rpartition(":")[2], value, group)
