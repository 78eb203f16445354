"""Topics: the index of a row's value, worked out by hand; a batch and the graph agree
(``tests/trainer/data/test_topic_columns.py`` holds all ways to it to each other).
"""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from configs.topics import Topic
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.topic import topic_index, topics_of_batch
from preprocessing.logs.schema import ARROW_TYPES

TOPICS = {
    "scene": Topic(column="scene", values=("home", "search", "25")),
    "city": Topic(column="scene", values=('Springfield, "IL"', "São Paulo", "a=b", "home")),
    "period": Topic(
        column="time", time_zone="Europe/London", hours={"night": "23-05", "noon": "12-12"}
    ),
    "age": Topic(column="days", ranges={"old": (7, None), "new": (0, 7), "never": (None, -1)}),
    "tag": Topic(column="tags", contains=("b", "São Paulo", "a")),
}


def index(name: str, *values: Any) -> list[int]:
    """The index of rows whose column holds these values."""
    topic = TOPICS[name]
    batch = pa.RecordBatch.from_pydict({topic.column: pa.array(values, ARROW_TYPES[topic.read_as])})
    found = topics_of_batch({name: topic}, batch)[f"topic/{name}"]
    assert found.dtype == np.int32
    return found.tolist()


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (
            "scene",
            {"home": 1, "search": 2, "25": 3, "Home": 0, "": 0, None: 0, "home\n": 0, "25.0": 0},
        ),
        (
            "city",
            {'Springfield, "IL"': 1, "São Paulo": 2, "a=b": 3, "home": 4, "Springfield": 0},
        ),
        (
            "period",
            {
                1_704_110_399: 0,
                1_704_110_400: 2,
                1_704_114_000: 0,
                1_704_063_600: 1,
                1_704_088_800: 0,
                0: 0,
                -1: 0,
            },
        ),
        ("age", {7.0: 1, 1e30: 1, 0.0: 2, 6.999: 2, -0.5: 0, -1.0: 0, -1.5: 3, None: 0}),
    ],
)
def test_values_hours_and_ranges(topic: str, expected: dict[Any, int]) -> None:
    assert index(topic, *expected) == list(expected.values())


def test_a_list_is_of_the_first_value_that_it_holds_in_the_order_of_the_topic() -> None:
    lists = [["a", "b"], ["a", "c"], ["c"], [], None, ["São Paulo", "a", "a"], ["", "a"]]
    assert index("tag", *lists) == [1, 3, 0, 0, 0, 2, 3]


def test_ranges_are_compared_as_float32() -> None:
    tenth = Topic(column="days", ranges={"high": (0.1, None), "low": (None, 0.1)})
    assert topic_index(tenth, tf.constant([0.1, 0.09999999], tf.float32)).numpy().tolist() == [1, 2]


def test_hour_topics_follow_summer_time() -> None:
    noon = [
        int(datetime(2024, month, 5, hour, 30, tzinfo=UTC).timestamp())
        for month, hour in ((1, 12), (7, 11), (7, 12))
    ]
    assert index("period", *noon) == [2, 2, 0]


@pytest.mark.parametrize("name", TOPICS)
def test_no_rows(name: str) -> None:
    assert index(name) == []


def test_columns_of_a_batch_that_others_have_read_give_the_same() -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "scene": ["home", None, "a=b"],
            "tags": pa.array([["a"], None, []], ARROW_TYPES["strings"]),
        }
    )
    topics = {name: TOPICS[name] for name in ("scene", "city", "tag")}
    columns = BatchColumns(batch)
    for _ in range(2):
        found = topics_of_batch(topics, columns)
        assert {name: array.tolist() for name, array in found.items()} == {
            "topic/scene": [1, 0, 0],
            "topic/city": [4, 0, 3],
            "topic/tag": [3, 0, 0],
        }
