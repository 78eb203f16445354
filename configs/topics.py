"""Defines topics: ways of cutting the traffic by a column's values, its numbers, the members of its
lists, or the local hour.
"""

import re
import unicodedata
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from configs.features.settings import ReadAs
from configs.section import Section, TimeZoneName

_HOURS = re.compile(r"(\d\d)-(\d\d)")


def _as_text(value: object) -> object:
    if isinstance(value, bool | float):  # YAML reads True as true and 1.10 as 1.1
        raise ValueError(f"YAML reads a value as {value}; put it in quotes")
    if not isinstance(value, str | int):
        raise ValueError(f"expected text or whole numbers, received {type(value).__name__}")
    return str(value)


def _check_value(value: str) -> str:
    if not value:
        raise ValueError("a value is empty, and an empty value is a missing one")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise ValueError(f"{value!a}: holds a control character")
    return value


Value = Annotated[str, BeforeValidator(_as_text), AfterValidator(_check_value)]
"""A topic's value, or the name of one: any text."""

Bounds = tuple[float | None, float | None]
"""``[low, high)``; None where there is no bound."""


class Topic(Section):
    """One way of cutting traffic by a column: exactly one of ``values``, ``hours``, ``ranges`` and
    ``contains``.
    """

    column: str = Field(description="raw column that is read")
    values: tuple[Value, ...] = Field((), description="of a column of text")
    hours: dict[Value, str] = Field(
        default_factory=dict,
        description=("of data.timestamp: name -> 'HH-HH', both hours included; may wrap midnight"),
    )
    ranges: dict[Value, Bounds] = Field(
        default_factory=dict,
        description=(
            "of a column of numbers: name -> [low, high], low included and high not; null where"
            " there is no bound. Numbers are compared as float32"
        ),
    )
    contains: tuple[Value, ...] = Field(
        (),
        description=(
            "of a column of lists; a row is of the first of them, in order, that its list holds"
        ),
    )
    time_zone: TimeZoneName = Field("UTC", description="of the hours")

    @field_validator("hours")
    @classmethod
    def _hours_are_ranges(cls, hours: dict[str, str]) -> dict[str, str]:
        taken: dict[int, str] = {}
        for name, text in hours.items():
            match = _HOURS.fullmatch(text)
            if not match or int(match[1]) > 23 or int(match[2]) > 23:
                raise ValueError(
                    f"{name}: '{text}' is no hour range; expected 'HH-HH' with hours 00 to 23"
                )
            for hour in hours_of(text):
                if hour in taken:
                    raise ValueError(f"hour {hour:02d} is in both '{taken[hour]}' and '{name}'")
                taken[hour] = name
        return hours

    @field_validator("ranges")
    @classmethod
    def _ranges_are_apart(cls, ranges: dict[str, Bounds]) -> dict[str, Bounds]:
        for name, bounds in ranges.items():
            low, high = _numbers(bounds)
            if not low < high:
                raise ValueError(f"{name}: low {low:g} is not below high {high:g}")
        ordered = sorted(ranges, key=lambda name: _numbers(ranges[name]))
        for first, second in pairwise(ordered):
            if _numbers(ranges[first])[1] > _numbers(ranges[second])[0]:
                raise ValueError(f"'{first}' and '{second}' overlap")
        return ranges

    @model_validator(mode="after")
    def _one_way(self) -> "Topic":
        given = [way for way in WAYS if getattr(self, way)]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(WAYS)}; received"
                f" {', '.join(given) or 'none of them'}"
            )
        for way in ("values", "contains"):
            values = getattr(self, way)
            if len(set(values)) != len(values):
                raise ValueError(f"'{way}' repeats itself: {', '.join(values)}")
        return self

    @property
    def way(self) -> str:
        """The one of ``WAYS`` that is given."""
        return next(way for way in WAYS if getattr(self, way))

    @property
    def names(self) -> tuple[str, ...]:
        """The topic's values in order; value ``i`` has index ``i + 1``, 0 is 'none of them'."""
        return tuple(getattr(self, self.way))

    def same_as(self, other: "Topic | None") -> bool:
        """Whether both give every row the same index."""
        return self == other and other is not None and self.names == other.names

    @property
    def read_as(self) -> ReadAs:
        """How its column is read."""
        return _READ_AS[self.way]

    def bounds(self) -> list[tuple[float, float]]:
        """Of ``ranges``, in order; infinite where there is no bound."""
        return [_numbers(bounds) for bounds in self.ranges.values()]


_READ_AS: dict[str, ReadAs] = {
    "values": "string",
    "hours": "timestamp",
    "ranges": "number",
    "contains": "strings",
}

WAYS = tuple(_READ_AS)
"""The ways of cutting."""


def hours_of(text: str) -> tuple[int, ...]:
    """The hours of ``'HH-HH'``, both ends included, wrapping midnight: ``'23-01'`` is 23, 0, 1."""
    first, last = (int(part) for part in text.split("-"))
    return tuple((first + step) % 24 for step in range((last - first) % 24 + 1))


def _numbers(bounds: Bounds) -> tuple[float, float]:
    low, high = bounds
    return float("-inf") if low is None else low, float("inf") if high is None else high
