"""Topics: the four ways of cutting, values of any text, and what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.domains import Domain
from configs.topics import WAYS, Topic, hours_of
from tests.configs import accept, refusal

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=12
)
"""What may be a value, and is short enough for the name of a folder."""


def topic(settings: dict[str, Any]) -> Topic:
    """A topic of an experiment, given as YAML."""
    return accept(f"topics.new={json.dumps(settings, ensure_ascii=False)}").topics["new"]


def refused(settings: str) -> str:
    """What is said of a topic after the name of its key."""
    message = refusal(f"topics.new={settings}")
    assert message.startswith("config: topics.new")
    return message.removeprefix("config: topics.new").removeprefix(": ")


@pytest.mark.parametrize(
    ("settings", "way", "read_as", "names"),
    [
        ({"column": "c", "values": ["b", "a", 25]}, "values", "string", ("b", "a", "25")),
        ({"column": "time", "hours": {"late": "12-23"}}, "hours", "timestamp", ("late",)),
        (
            {"column": "days", "ranges": {"old": [7, None], "new": [0, 7]}},
            "ranges",
            "number",
            ("old", "new"),
        ),
        ({"column": "labels", "contains": ["z", "a"]}, "contains", "strings", ("z", "a")),
    ],
)
def test_a_topic_says_how_its_column_is_cut_and_read(
    settings: dict[str, Any], way: str, read_as: str, names: tuple[str, ...]
) -> None:
    found = topic(settings)
    assert (found.way, found.read_as, found.names) == (way, read_as, names)
    assert found.way in WAYS
    assert Topic.model_validate(found.model_dump(mode="json")).same_as(found)


@given(values=st.lists(TEXT, min_size=1, max_size=4, unique=True))
def test_any_text_is_a_value(values: list[str]) -> None:
    assert topic({"column": "c", "values": values}).values == tuple(values)
    hours = {value: f"{hour:02d}-{hour:02d}" for hour, value in enumerate(values)}
    assert topic({"column": "time", "hours": hours}).names == tuple(values)
    ranges = {value: [float(low), low + 1.0] for low, value in enumerate(values)}
    found = topic({"column": "days", "ranges": ranges})
    assert found.names == tuple(values)
    assert found.bounds() == [(float(low), low + 1.0) for low in range(len(values))]


@pytest.mark.parametrize(
    "text",
    [
        "New York",
        "São Paulo",
        "a=b",
        "'x,y'",
        "'say \"hi\"'",
        "'25'",
        "a/b",
        "..",
        "'#1'",
        "010",
        "01",
        "12:30",
        "NO",
        "yes",
        "2024-01-02",
        "0x1F",
        "1_000",
        "7",
    ],
)
def test_values_of_yaml(text: str) -> None:
    (value,) = accept(f"topics.scene.values=[{text}]").topics["scene"].values
    assert value == (text[1:-1] if text.startswith("'") else text)
    experiment = accept(f"topics.scene.values=[{text}, home]")
    parsed = [Domain.parse(domain.name, experiment.topics) for domain in experiment.domains]
    assert parsed == list(experiment.domains)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{column: c}", "expected exactly one of values, hours, ranges, contains; received none"),
        (
            "{column: c, values: [a], contains: [b]}",
            "expected exactly one of values, hours, ranges, contains; received values, contains",
        ),
        ("{column: c, values: [a, b, a]}", "'values' repeats itself: a, b, a"),
        ("{column: labels, contains: [a, a]}", "'contains' repeats itself: a, a"),
        ("{column: c, values: ['']}", "a value is empty, and an empty value is a missing one"),
        ("{column: c, values: [true]}", "YAML reads a value as True; put it in quotes"),
        ("{column: c, values: [1.10]}", "YAML reads a value as 1.1; put it in quotes"),
        ("{column: c, values: [[a]]}", "expected text or whole numbers, received list"),
        ("{column: c, values: [~]}", "expected text or whole numbers, received NoneType"),
        (r'{column: c, values: ["a\nb"]}', "'a\\nb': holds a control character"),
        (r'{column: c, values: ["\x00"]}', "'\\x00': holds a control character"),
        ("{column: days, ranges: {a: [7, 7]}}", "a: low 7 is not below high 7"),
        ("{column: days, ranges: {a: [.nan, 7]}}", ""),
        ("{column: days, ranges: {a: [0, 8], b: [7, ~]}}", "'a' and 'b' overlap"),
        ("{column: days, ranges: {b: [7, ~], a: [~, 8]}}", "'a' and 'b' overlap"),
        ("{column: days, ranges: {a: [~, ~], b: [0, 1]}}", "'a' and 'b' overlap"),
        ("{column: days, ranges: {a: [0]}}", ""),
        ("{column: days, ranges: {a: 0-7}}", ""),
        ("{column: days, ranges: {'': [0, 7]}}", ""),
    ],
)
def test_what_is_refused(settings: str, said: str) -> None:
    assert said in refused(settings)


def test_ranges_may_touch_have_gaps_and_be_open() -> None:
    ranges = {"new": [0, 7], "old": [7, None], "never": [None, -1]}
    infinity = float("inf")
    assert topic({"column": "days", "ranges": ranges}).bounds() == [
        (0, 7),
        (7, infinity),
        (-infinity, -1),
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("topics.new={column: price, values: [a]}", "column 'price' is read as "),
        ("topics.new={column: tags, ranges: {a: [0, 1]}}", "column 'tags' is read as "),
        ("topics.new={column: user, contains: [a]}", "column 'user' is read as "),
        ("topics.new={column: when, hours: {a: 00-01}}", "hour ranges read data.timestamp 'time'"),
        ("data.topic_columns=[click]", "'click' is a label; a domain must be known before the"),
        ("data.topic_columns=[weight]", "column 'weight' is read as "),
        ("data.topic_columns=[my shelf]", "column 'my shelf' cannot name an input"),
    ],
)
def test_how_columns_are_read_agrees_with_the_rest(override: str, said: str) -> None:
    assert said in refusal(override)


@pytest.mark.parametrize("column", ["shelf", "user", "price", "tags", "time", "scene", "request"])
def test_any_other_column_is_kept_for_topics_to_come(column: str) -> None:
    assert accept(f"data.topic_columns=[{column}]").data.topic_columns == (column,)


def test_another_order_of_values_is_another_topic() -> None:
    first = Topic(column="c", ranges={"a": (0, 1), "b": (1, 2)})
    assert first.same_as(Topic(column="c", ranges={"a": (0, 1), "b": (1, 2)}))
    assert not first.same_as(Topic(column="c", ranges={"b": (1, 2), "a": (0, 1)}))
    assert not first.same_as(None)


@pytest.mark.parametrize("first", range(24))
def test_hour_ranges_hold_both_ends_and_wrap_at_midnight(first: int) -> None:
    for last in range(24):
        hours, hour = [first], first
        while hour != last:
            hour = (hour + 1) % 24
            hours.append(hour)
        assert hours_of(f"{first:02d}-{last:02d}") == tuple(hours)


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ("{a: 00-24}", "a: '00-24' is no hour range; expected 'HH-HH' with hours 00 to 23"),
        ("{a: 24-01}", "a: '24-01' is no hour range"),
        ("{a: '5-7'}", "a: '5-7' is no hour range"),
        ("{a: 05-07-09}", "a: '05-07-09' is no hour range"),
        ("{a: noon}", "a: 'noon' is no hour range"),
        ("{a: ''}", "a: '' is no hour range"),
        ("{a: 5}", "input should be a valid string"),
        ("{a: 05-10, b: 10-12}", "hour 10 is in both 'a' and 'b'"),
        ("{a: 22-02, b: 02-04}", "hour 02 is in both 'a' and 'b'"),
        ("{a: 00-23, b: 12-12}", "hour 12 is in both 'a' and 'b'"),
    ],
)
def test_hour_ranges_that_are_refused(hours: str, said: str) -> None:
    message = refusal(f"topics.period.hours={hours}")
    assert message.startswith("config: topics.period.hours")
    assert said in message
