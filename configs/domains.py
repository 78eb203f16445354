"""Defines topics (ways of cutting the traffic) and the domains they give."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import Field, field_validator, model_validator

from configs.domain_names import ALL as ALL
from configs.domain_names import AUTO as AUTO
from configs.domain_names import BACKBONE as BACKBONE
from configs.domain_names import sorted_conditions
from configs.errors import InputError
from configs.section import SafeName, Section, TimeZoneName

_HOURS = re.compile(r"(\d\d)-(\d\d)")


class Topic(Section):
    """One way of cutting traffic: by a column's ``values``, or by local ``hours`` of a timestamp
    column.
    """

    column: str
    values: tuple[SafeName, ...] = ()
    hours: dict[SafeName, str] = Field(
        default_factory=dict, description="name -> 'HH-HH', both hours included; may wrap midnight"
    )
    time_zone: TimeZoneName = "UTC"

    @field_validator("values", mode="before")
    @classmethod
    def _values_are_text(cls, values: object) -> object:
        if not isinstance(values, list | tuple):
            return values
        for value in values:
            if isinstance(value, bool | float):  # YAML reads NO as false and 1.10 as 1.1
                raise ValueError(f"YAML reads a value as {value}; put it in quotes")
            if not isinstance(value, str | int):
                raise ValueError(f"expected text or whole numbers, received {type(value).__name__}")
        return tuple(str(value) for value in values)

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

    @model_validator(mode="after")
    def _values_or_hours(self) -> "Topic":
        if bool(self.values) == bool(self.hours):
            raise ValueError("expected exactly one of 'values' and 'hours'")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"'values' repeats itself: {', '.join(self.values)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The topic's values in order; value ``i`` has index ``i + 1`` in datasets, 0 is 'none
        of them'.
        """
        return self.values or tuple(self.hours)


def hours_of(text: str) -> tuple[int, ...]:
    """The hours of ``'HH-HH'``, both ends included, wrapping midnight: ``'23-01'`` is 23, 0, 1."""
    first, last = (int(part) for part in text.split("-"))
    return tuple((first + step) % 24 for step in range((last - first) % 24 + 1))


@dataclass(frozen=True)
class Domain:
    """A domain: no condition is ``all``, one is single-topic, two are cross-topic.

    Attributes:
      name: ``all``, ``region=25`` or ``region=25,period=noon``.
      conditions: pairs of topic name and value index (from 1, as in datasets).
    """

    name: str
    conditions: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, name: str, topics: dict[str, Topic]) -> "Domain":
        """The domain of a name such as ``region=25,period=noon``, whether or not an experiment
        crosses its topics.

        Raises:
          InputError: a topic or value is unknown; names the nearest one.
        """
        conditions = []
        for topic, value in conditions_of(name):
            part = f"{topic}={value}" if value else topic
            if topic not in topics or value not in topics[topic].names:
                known = [f"{other}={v}" for other, spec in topics.items() for v in spec.names]
                raise InputError(
                    f"domain '{name}': '{part}' is no value of a topic{_did_you_mean(part, known)};"
                    f" topics: {', '.join(topics) or 'none'}"
                )
            conditions.append((topic, topics[topic].names.index(value) + 1))
        return cls(name, tuple(conditions))

    @property
    def parents(self) -> list[str]:
        """Names of the domains that it can start from, the preferred first: a cross-topic one from
        its single topics in order, then ``all``.
        """
        singles = [f"{topic}={value}" for topic, value in conditions_of(self.name)]
        return [*(singles if len(singles) > 1 else ()), ALL]


def enumerate_domains(
    topics: dict[str, Topic], cross_topics: tuple[tuple[str, str], ...]
) -> tuple[Domain, ...]:
    """All domains of an experiment: ``all``, then single-topic in the config's order, then
    cross-topic.
    """
    single = {
        topic: [(f"{topic}={value}", (topic, index)) for index, value in enumerate(spec.names, 1)]
        for topic, spec in topics.items()
    }
    domains = [Domain(ALL)]
    domains += [
        Domain(name, (condition,)) for values in single.values() for name, condition in values
    ]
    for first, second in cross_topics:
        domains += [Domain(f"{a},{b}", (x, y)) for a, x in single[first] for b, y in single[second]]
    return tuple(domains)


def conditions_of(name: str) -> tuple[tuple[str, str], ...]:
    """The topics and values that a domain's name is made of: none for ``all``, one for
    ``region=25``, two for ``region=25,period=noon``. A part without ``=`` is a topic without value.
    """
    if name == ALL:
        return ()
    parts = (part.partition("=") for part in name.split(","))
    return tuple((topic, value) for topic, _, value in parts)


def is_single_topic(name: str) -> bool:
    """Whether a domain's name is one topic's value, such as ``region=25``; not ``all``, not
    cross-topic.
    """
    return len(conditions_of(name)) == 1 and "=" in name


def named_domains(domains: Iterable[Domain], names: Iterable[str], where: str) -> list[Domain]:
    """The domains of these names, each once; all of them where none is named.

    Args:
      domains: those that can be named.
      names: what was asked for.
      where: the option that asked; the message begins with it.

    Raises:
      InputError: a name is none of theirs; names the nearest one.
    """
    known = {domain.name: domain for domain in domains}
    for name in names:
        if name not in known:
            raise InputError(
                f"{where}: '{name}' is no domain of this config{_did_you_mean(name, known)};"
                f" there are: {', '.join(known)}"
            )
    return [known[name] for name in dict.fromkeys(names)] or list(known.values())


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'scene=home'?``, or nothing where no name is near; the order of a cross
    does not matter.
    """
    in_order = {sorted_conditions(other): other for other in known}
    near = difflib.get_close_matches(sorted_conditions(name), in_order, n=1)
    return f"; did you mean '{in_order[near[0]]}'?" if near else ""
