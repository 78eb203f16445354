"""Writes down what a domain is, apart from any config: a kernel carries its domain's definition, so
that it can be routed to by whoever holds the kernel alone.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer

from configs.domains import Domain, Topic, conditions_of
from configs.errors import InputError
from configs.section import Section, TimeZoneName
from configs.topics import Bounds, Value


class Condition(Section):
    """One condition of a domain: which rows have a topic's value.

    Attributes:
      topic, value: as the domain's name has them.
      column: the raw column that is read.
      way: how the column is cut (``configs.topics``). The rest belongs to one way each.
      hours, time_zone: of ``hours``: ``'HH-HH'``, and where it is that hour.
      range: of ``ranges``: ``[low, high)``.
      unless: of ``contains``: the values that come before this one, in order; a row whose list
        holds one of them is that one's.
    """

    topic: str
    value: Value
    column: str
    way: Literal["values", "hours", "ranges", "contains"]
    hours: str | None = None
    time_zone: TimeZoneName | None = None
    range: Bounds | None = None
    unless: tuple[Value, ...] | None = None

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_given(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}

    @property
    def words(self) -> str:
        """``period=lunch: column timestamp, hours 11-13, time zone UTC``."""
        shown = self.model_dump(mode="json", exclude={"topic", "value", "way"})
        details = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
        return f"{self.topic}={self.value}: {details}"


Definition = tuple[Condition, ...]
"""A domain's conditions, in the order of its name; none for ``all``."""


def definition_of(domain: Domain, topics: Mapping[str, Topic]) -> Definition:
    """What a domain is by the topics of the experiment that it belongs to."""
    return tuple(
        _condition(topic, value, topics[topic]) for topic, value in conditions_of(domain.name)
    )


def merged_topics(
    definitions: Mapping[str, Definition], others: Mapping[str, Topic]
) -> dict[str, Topic]:
    """The topics that several domains' definitions amount to.

    The topics of ``others`` come first and in their order, then those that definitions alone know,
    by name; so do the values of each (those of ``ranges`` and ``hours`` exclude each other, so the
    order of values decides nothing but their index).

    Args:
      definitions: by domain.
      others: topics that are to be known beside them; what contradicts a definition is left out.

    Raises:
      InputError: two definitions contradict each other; names both domains.
    """
    found: dict[str, dict[str, Condition]] = {}  # topic -> domain -> condition
    for domain, definition in definitions.items():
        for condition in definition:
            found.setdefault(condition.topic, {})[domain] = condition
    names = [*others, *sorted(found.keys() - others.keys())]
    return {name: _merged(name, found.get(name, {}), others.get(name)) for name in names}


def _merged(name: str, conditions: Mapping[str, Condition], other: Topic | None) -> Topic:
    owners = {condition: domain for domain, condition in conditions.items()}
    known = sorted(owners, key=_key)
    if known and _topic(known) is None:
        first, second = next(
            pair for pair in combinations(known, 2) if _topic(pair) is None
        )  # what agrees pair by pair agrees as a whole
        raise InputError(
            f"domains '{owners[first]}' and '{owners[second]}' define topic '{name}' differently:"
            f" {_shown(first)}, and {_shown(second)}; tune one of them again, or deactivate it"
        )
    added = [_condition(name, value, other) for value in other.names] if other else []
    order = {condition: place for place, condition in enumerate(added)}
    if _topic([*known, *added]) is None:
        added = [c for c in added if all(_topic([c, own]) is not None for own in known)]
    whole = sorted({*known, *added}, key=lambda c: (order.get(c, len(order)), _key(c)))
    topic = _topic(whole)
    if topic is None:
        raise AssertionError(f"topic '{name}': pairs agree, and all of them do not: {whole}")
    return topic


def _condition(name: str, value: str, topic: Topic) -> Condition:
    own: dict[str, dict[str, Any]] = {
        "values": {},
        "hours": {"hours": topic.hours.get(value), "time_zone": topic.time_zone},
        "ranges": {"range": topic.ranges.get(value)},
        "contains": {"unless": topic.contains[: topic.names.index(value)]},
    }
    content = {"topic": name, "value": value, "column": topic.column, "way": topic.way}
    return Condition.model_validate(content | own[topic.way])


def _topic(conditions: Iterable[Condition]) -> Topic | None:
    """The topic of conditions of one name; None where they contradict each other."""
    distinct = list(dict.fromkeys(conditions))
    first = distinct[0]
    if any(
        (c.column, c.way, c.time_zone) != (first.column, first.way, first.time_zone)
        for c in distinct
    ):
        return None
    values: Any
    if first.way == "contains":
        lists = sorted(([*(c.unless or ()), c.value] for c in distinct), key=len)
        values = lists[-1]
        if any(part != values[: len(part)] for part in lists):
            return None
    elif first.way == "values":
        values = list(dict.fromkeys(c.value for c in distinct))
    else:
        if len({c.value for c in distinct}) < len(distinct):
            return None
        values = {c.value: c.hours or c.range for c in distinct}
    zone = {"time_zone": first.time_zone} if first.time_zone else {}
    try:
        return Topic.model_validate({"column": first.column, first.way: values, **zone})
    except ValidationError:  # hours or ranges overlap
        return None


def _key(condition: Condition) -> tuple[int, str]:
    return len(condition.unless or ()), condition.value


def _shown(condition: Condition) -> str:
    details = condition.model_dump(mode="json", exclude={"topic", "value"})
    return f"'{condition.value}' is {', '.join(f'{key} {value}' for key, value in details.items())}"
