"""Names of domains: how they are written and read, and the names with a meaning of their own.

A name is ``all``, or a condition for each of its topics, joined by commas: ``region=r1`` or
``region=r1,scene=home``. A value is any text. One that holds a comma or begins with a double quote
is put in double quotes, and a double quote inside them is written twice, as in CSV:
``city="Springfield, IL"``. Names of folders are the same, percent-encoded.
"""

import re
from collections.abc import Iterable
from itertools import permutations, product
from urllib.parse import quote, unquote

ALL = "all"
"""The domain of every row; its kernel is the kernel of all traffic."""

BACKBONE = "backbone"
"""Asked for as a domain: the frozen backbone alone (zero-shot)."""

AUTO = "auto"
"""Asked for as a domain: the most specific active domain that matches the row's own topic
fields, or several of them together (``configs.training.Routing``).
"""

_QUOTED = r'"(?:[^"]|"")*"(?=,|$)'
_PART = re.compile(rf"(?P<topic>[^=,]*)(?:=(?P<value>{_QUOTED}|[^,]*))?(?:,|$)", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9_.-]*")

_FOLDER = re.compile(r"[A-Za-z0-9_%][A-Za-z0-9_.=,%~-]{0,254}")
_KEPT = "=,"  # beside letters, digits and what no encoding touches

Conditions = tuple[tuple[str, str], ...]
"""Topic and value, in the order of the name."""


def domain_name(conditions: Iterable[tuple[str, str]]) -> str:
    """The name of the domain with these topics and values, in this order; ``all`` without any."""
    return ",".join(f"{topic}={_written(value)}" for topic, value in conditions) or ALL


def conditions_of(name: str) -> Conditions:
    """The topics and values that a domain's name is made of: none for ``all``, one for
    ``region=25``, two for ``region=25,period=noon``. A part without ``=`` is a topic without value.
    """
    if name == ALL:
        return ()
    found, place = [], 0
    while True:
        match = _PART.match(name, place)
        if match is None:  # text between a closing quote and the next comma
            return ((name, ""),)
        found.append((match["topic"], _read(match["value"] or "")))
        place = match.end()
        if not match[0].endswith(","):
            return tuple(found)


def is_single_topic(name: str) -> bool:
    """Whether a domain's name is one topic's value, such as ``region=25``; not ``all``, not
    cross-topic.
    """
    return len(conditions_of(name)) == 1 and "=" in name


def sorted_conditions(name: str) -> str:
    """A domain's name with its topics in alphabetical order: names that differ in nothing but the
    order of their topics, or in quotes, become equal.
    """
    return domain_name(sorted(conditions_of(name))) if "=" in name else name


def spellings(name: str) -> list[str]:
    """The names by which a domain may be asked for: its topics in any order, and values that need
    no quotes in quotes, too; its own first.
    """
    ways = [
        [f"{topic}={value}" for value in dict.fromkeys((_written(text), *_other_ways(text)))]
        for topic, text in conditions_of(name)
    ]
    if not ways:
        return [name]
    orders = permutations(ways)
    return list(dict.fromkeys(",".join(parts) for order in orders for parts in product(*order)))


def folder_name(name: str) -> str:
    """The name of a domain's folder; letters, digits and ``_ . - ~ = ,`` stay as they are.

    Raises:
      ValueError: a folder cannot have it: it is empty, begins with ``.`` or ``-``, is longer than
        255 bytes once encoded, or is no text that UTF-8 can hold.
    """
    try:
        folder = quote(name, safe=_KEPT, errors="strict")
    except UnicodeEncodeError:
        raise ValueError("not text that UTF-8 can hold") from None
    if not _FOLDER.fullmatch(folder):
        raise ValueError(
            f"{len(folder)} bytes as the name of a folder; expected 1 to 255 that do not begin with"
            " '.' or '-'"
        )
    return folder


def folder_domain(folder: str) -> str | None:
    """The domain whose folder has this name; None where it is no domain's."""
    try:
        name = unquote(folder, errors="strict")
        return name if folder_name(name) == folder else None
    except ValueError:
        return None


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _written(value: str) -> str:
    return _quoted(value) if "," in value or value.startswith('"') else value


def _other_ways(value: str) -> list[str]:
    return [] if _PLAIN.fullmatch(value) else [_quoted(value)]


def _read(written: str) -> str:
    if re.fullmatch(_QUOTED, written, re.DOTALL):
        return written[1:-1].replace('""', '"')
    return written
