"""One thing that happened to a job, as a run of MLflow holds it; and how our names and values are
spelled there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from configs.digests.sealed_json import digest_of
from configs.domain_names import folder_name
from trainer.metrics.formatting import is_number

_LONGEST = 5_000
"""Characters of a value; MLflow's stores refuse longer ones, at 5,000 to 8,000."""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
_IN_NAMES = str.maketrans({"=": ":", ",": " ", "%": ".", ".": ".2E", "~": ".7E"})


class Point(NamedTuple):
    """A figure, and the step of training that it is of."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Entry:
    """A run as it is to be.

    Attributes:
      kind: ``pretraining``, ``evaluation``, ``kernel``, ``change`` or ``refresh``.
      name: for people.
      identity: JSON content; entries of a kind that are equal in it are one.
      start: when it began, UTC.
      end: when it was done.
      params: settings, by name.
      points: figures.
      tags: what else is known, by name.
      note: Markdown.
    """

    kind: str
    name: str
    identity: Any
    start: datetime
    end: datetime
    params: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def key(self) -> str:
        """What tells it from every other run of the store."""
        return f"{self.kind}:{digest_of(self.identity)}"


def without_credentials(text: str) -> str:
    """A text without the user and the password of any address in it (``://USER:PASSWORD@``)."""
    return _CREDENTIALS.sub("", text)


def value_of(value: Any) -> str:
    """A value as a parameter or a tag: without credentials, and cut where it is too long."""
    text = without_credentials(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def tags_of(**values: Any) -> dict[str, str]:
    """Tags; what is None is left out."""
    return {name: value_of(value) for name, value in values.items() if value is not None}


def spelled(domain: str) -> str:
    """A domain's name as a part of a figure's, where MLflow allows neither ``=`` nor ``,``:
    ``region:r1 scene:home``. Two domains never share one: it is the name of the domain's folder
    with ``:`` and a space in the place of ``=`` and ``,``, and ``.2F`` in that of ``%2F``.
    """
    return folder_name(domain).translate(_IN_NAMES)


def params_of(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings, a parameter for each that holds no mapping, by its dotted key."""
    found: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= params_of(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value_of(value)
    return found


def points_of(content: Any, name: str, step: int = 0) -> Iterator[Point]:
    """Every number in a result, by its keys joined by ``/``; of an interval ``_low`` and ``_high``.
    What is undefined is left out.
    """
    if is_number(content):
        yield Point(name, float(content), step)
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from points_of(value, f"{name}/{key}" if name else str(key), step)
    elif isinstance(content, list | tuple) and len(content) == 2:
        for end, value in zip(("low", "high"), content, strict=True):
            yield from points_of(value, f"{name}_{end}", step)
