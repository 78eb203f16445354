"""Local days and hours inside the graph, against the standard library's time zones."""

from datetime import UTC, date, datetime, timedelta, tzinfo

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.section import parse_time_zone
from preprocessing.features.local_time import day_and_hour

ZONES = (
    "UTC",
    "UTC-03:00",
    "UTC+05:45",
    "America/New_York",
    "America/Sao_Paulo",  # gave its summer time up in 2019
    "Africa/Casablanca",  # moves its clocks around Ramadan
    "Australia/Lord_Howe",  # by half an hour
    "Europe/London",  # was one hour ahead all through 1970
    "Pacific/Apia",  # skipped the 30th of December 2011
)
END = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


def expected(seconds: int, zone: tzinfo) -> tuple[int, int]:
    local = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    return (local.date() - date(1970, 1, 1)).days, local.hour


def assert_like_the_library(seconds: list[int], name: str) -> None:
    days, hours = day_and_hour(tf.constant(seconds, tf.int64), name)
    zone = parse_time_zone(name)
    assert list(zip(days.numpy().tolist(), hours.numpy().tolist(), strict=True)) == [
        expected(second, zone) for second in seconds
    ]


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(ZONES), seconds=st.lists(st.integers(0, END), min_size=1, max_size=50))
def test_any_moment_from_1970_to_2100(name: str, seconds: list[int]) -> None:
    assert_like_the_library(seconds, name)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize("year", [1970, 2011, 2024, 2040, 2099])
def test_the_seconds_around_every_change_of_the_clocks(name: str, year: int) -> None:
    zone = parse_time_zone(name)
    first, last = (
        int(datetime(moment, 1, 1, tzinfo=UTC).timestamp()) for moment in (year, year + 1)
    )

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, zone).utcoffset()

    changes = []
    for day in range(first, last, 86_400):
        if offset(day) != offset(day + 86_400):
            changes += [
                second
                for second in range(day, day + 86_400, 900)
                if offset(second) != offset(second + 900)
            ]
    assert_like_the_library(
        [first, *(second + 900 + near for second in changes for near in (-1, 0, 1)), last - 1], name
    )


def test_values_worked_out_by_hand() -> None:
    before, after = (
        1_710_053_999,
        1_710_054_000,
    )  # 2024-03-10: 01:59:59 in New York is followed by 03:00:00
    days, hours = day_and_hour(
        tf.constant([before, after, 0, -1, -(2**63), 2**63 - 1], tf.int64), "America/New_York"
    )
    assert days.numpy().tolist() == [19_792, 19_792, -1, -1, -1, 47_481]
    assert hours.numpy().tolist() == [1, 3, 19, 19, 19, 19]


@pytest.mark.parametrize("name", ["UTC-03:00", "Europe/London"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_every_shape_is_kept(name: str, shape: tuple[int, ...]) -> None:
    for part in day_and_hour(tf.ones(shape, tf.int64), name):
        assert part.shape == shape
        assert part.dtype == tf.int64


@pytest.mark.parametrize("name", ZONES)
def test_a_graph_tells_the_same_time(name: str) -> None:
    seconds = tf.constant([0, 10**9, END], tf.int64)
    np.testing.assert_array_equal(
        tf.function(lambda moments: day_and_hour(moments, name))(seconds),
        day_and_hour(seconds, name),
    )
