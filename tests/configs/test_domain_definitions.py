"""Definitions of domains: each goes with its kernel, and together they route every row to the
domains that it was of.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from configs import InputError
from configs.domain_definitions import Definition, definition_of, merged_topics
from configs.domains import Domain, conditions_of, enumerate_domains
from configs.section import parse_time_zone
from configs.topics import Topic, hours_of

TOPICS = {
    "scene": Topic(column="scene", values=("home", "search")),
    "period": Topic(column="time", hours={"lunch": "11-13", "night": "22-04"}, time_zone="UTC"),
    "age": Topic(column="days", ranges={"new": (0, 7), "old": (7, None)}),
    "tag": Topic(column="tags", contains=("b", "a", "c")),
}
NAMES = ("a", "b", "c", "d", "e")


def of(name: str, topics: dict[str, Topic] = TOPICS) -> Definition:
    """A domain's definition by its name."""
    return definition_of(Domain.parse(name, topics), topics)


def value_of(topic: Topic, row: dict[str, Any]) -> str | None:
    """The value of a topic that a row has, worked out from what the config's documentation says."""
    held = row[topic.column]
    if topic.way == "values":
        return held if held in topic.values else None
    if topic.way == "contains":
        return next((value for value in topic.contains if value in held), None)
    if topic.way == "ranges":
        low_high = zip(topic.ranges, topic.bounds(), strict=True)
        return next((name for name, (low, high) in low_high if low <= held < high), None)
    hour = datetime.fromtimestamp(held, UTC).astimezone(parse_time_zone(topic.time_zone)).hour
    return next((name for name, text in topic.hours.items() if hour in hours_of(text)), None)


def is_of(name: str, topics: dict[str, Topic], row: dict[str, Any]) -> bool:
    """Whether a row is of a domain."""
    return all(value_of(topics[topic], row) == value for topic, value in conditions_of(name))


@st.composite
def some_topics(draw: st.DrawFn) -> dict[str, Topic]:
    """Topics under the names that all of them share, so that they often contradict each other."""
    made: dict[str, Topic] = {}
    names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
    values = tuple(draw(names))
    if draw(st.booleans()):
        made["scene"] = Topic(column=draw(st.sampled_from(["scene", "place"])), values=values)
    if draw(st.booleans()):
        made["tag"] = Topic(column="tags", contains=tuple(draw(names)))
    if draw(st.booleans()):
        low = draw(st.integers(0, 2))
        named = draw(names)
        made["age"] = Topic(
            column="days", ranges={name: (low + i, low + i + 1) for i, name in enumerate(named)}
        )
    if draw(st.booleans()):
        first = draw(st.integers(0, 5))
        hours = {name: f"{first + i:02d}-{first + i:02d}" for i, name in enumerate(draw(names))}
        made["period"] = Topic(
            column="time", hours=hours, time_zone=draw(st.sampled_from(["UTC", "Asia/Tokyo"]))
        )
    return made


ROW = st.fixed_dictionaries(
    {
        "scene": st.sampled_from([*NAMES, "other"]),
        "place": st.sampled_from([*NAMES, "other"]),
        "tags": st.lists(st.sampled_from([*NAMES, "other"]), max_size=4),
        "days": st.floats(-1, 8),
        "time": st.integers(631_152_000, 631_152_000 + 86_400 * 3),
    }
)


@given(configs=st.lists(some_topics(), min_size=1, max_size=3), row=ROW, data=st.data())
def test_what_definitions_amount_to_routes_every_row_as_each_of_them(
    configs: list[dict[str, Topic]], row: dict[str, Any], data: st.DataObject
) -> None:
    """Kernels of several configs, one after the other: together they are refused, or every one
    keeps its rows.
    """
    definitions: dict[str, Definition] = {}
    origin: dict[str, dict[str, Topic]] = {}
    for topics in configs:
        crosses = [("scene", "tag")] if {"scene", "tag"} <= topics.keys() else []
        domains = enumerate_domains(topics, crosses)
        for domain in data.draw(st.lists(st.sampled_from(domains), max_size=3, unique=True)):
            definitions[domain.name] = definition_of(domain, topics)
            origin[domain.name] = topics
    others = data.draw(st.sampled_from([{}, *configs]))
    try:
        merged = merged_topics(definitions, others)
    except InputError as error:
        assert "\n" not in str(error)
        assert sum(f"'{name}'" in str(error) for name in definitions) >= 2
        assert len(configs) > 1
        return
    for name in definitions:
        assert Domain.parse(name, merged).name == name
        assert is_of(name, merged, row) == is_of(name, origin[name], row), name
    assert list(merged)[: len(others)] == list(others)
    assert merged == merged_topics(dict(reversed(definitions.items())), others)


@given(topics=some_topics())
def test_definitions_of_one_config_amount_to_its_topics(topics: dict[str, Topic]) -> None:
    definitions = {d.name: definition_of(d, topics) for d in enumerate_domains(topics, ())}
    for others in (topics, {}):
        merged = merged_topics(definitions, others)
        assert merged.keys() == topics.keys()
        for name, topic in topics.items():
            assert merged[name].same_as(topic) or (
                not others and sorted(merged[name].names) == sorted(topic.names)
            )
    assert merged_topics({}, topics) == topics


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("all", []),
        (
            "scene=home",
            [{"topic": "scene", "value": "home", "column": "scene", "way": "values"}],
        ),
        (
            "period=night,scene=search",
            [
                {
                    "topic": "period",
                    "value": "night",
                    "column": "time",
                    "way": "hours",
                    "hours": "22-04",
                    "time_zone": "UTC",
                },
                {"topic": "scene", "value": "search", "column": "scene", "way": "values"},
            ],
        ),
        (
            "age=old",
            [
                {
                    "topic": "age",
                    "value": "old",
                    "column": "days",
                    "way": "ranges",
                    "range": [7, None],
                }
            ],
        ),
        (
            "tag=a",
            [{"topic": "tag", "value": "a", "column": "tags", "way": "contains", "unless": ["b"]}],
        ),
    ],
)
def test_a_definition_is_json_that_says_what_the_domain_is(
    name: str, shown: list[dict[str, Any]]
) -> None:
    adapter = TypeAdapter(Definition)
    text = adapter.dump_json(of(name))
    assert json.loads(text) == shown
    assert adapter.validate_json(text) == of(name)


def test_others_that_contradict_a_definition_are_left_out_and_the_rest_stays() -> None:
    later = {"age": Topic(column="days", ranges={"older": (20, None), "new": (0, 7)})}
    merged = merged_topics({"age=old": of("age=old")}, later)
    assert merged["age"].ranges == {"new": (0, 7), "old": (7, None)}
    other_column = {"scene": Topic(column="place", values=("home", "map"))}
    merged = merged_topics({"scene=home": of("scene=home")}, other_column)
    assert merged["scene"] == Topic(column="scene", values=("home",))


@pytest.mark.parametrize(
    ("first", "second", "topics", "said"),
    [
        (
            "age=new",
            "age=young",
            {"age": Topic(column="days", ranges={"young": (0, 3)})},
            r"define topic 'age' differently: 'new' is .*range \[0.*'young' is .*range \[0",
        ),
        (
            "scene=home",
            "scene=map",
            {"scene": Topic(column="place", values=("map",))},
            "'home' is column scene, way values, and 'map' is column place, way values",
        ),
        (
            "period=lunch",
            "period=noon",
            {"period": Topic(column="time", hours={"noon": "14-15"}, time_zone="Asia/Tokyo")},
            "time_zone UTC.*time_zone Asia/Tokyo",
        ),
        (
            "tag=a",
            "tag=c",
            {"tag": Topic(column="tags", contains=("c", "a"))},
            r"'c' is .*unless \[\], and 'a' is .*unless \['b'\]",
        ),
    ],
)
def test_definitions_that_contradict_each_other_are_named_with_what_to_do(
    first: str, second: str, topics: dict[str, Topic], said: str
) -> None:
    with pytest.raises(InputError, match=said) as error:
        merged_topics({first: of(first), second: of(second, topics)}, {})
    message = str(error.value)
    assert f"'{first}'" in message
    assert f"'{second}'" in message
    assert message.endswith("; tune one of them again, or deactivate it")
