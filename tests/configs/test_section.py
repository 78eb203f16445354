"""Settings that differ are named one by one, with what both sides have."""

from typing import Any

import pytest

from configs.section import differing_settings


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ({"a": 1, "b": {"c": [1]}}, {"b": {"c": [1]}, "a": 1}, []),
        (17, 18, ["s (17, received 18)"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["s.a.c (2, received 3)"]),
        ({"a": None}, {}, ["s.a (nothing, received not there)"]),
        (
            {},
            {"a": "x", "b": True},
            ['s.a (not there, received "x")', "s.b (not there, received true)"],
        ),
        ({"a": {"b": 1}}, {"a": None}, ['s.a ({"b": 1}, received nothing)']),
        ({"a": "x" * 90}, {"a": "y"}, [f's.a ("{"x" * 39}..., received "y")']),
    ],
)
def test_settings_that_differ(theirs: Any, ours: Any, said: list[str]) -> None:
    assert differing_settings(theirs, ours, "s") == said
