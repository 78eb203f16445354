"""What a plain scalar of YAML is, and that JSON is read as JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigError
from configs.load import parse_yaml

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cc"]))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
DOCUMENTS = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("7.0", 7.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_numbers_truth_values_and_nothing(text: str, value: object) -> None:
    found = parse_yaml(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "010",
        "01",
        "-08",
        "00.5",
        "12:30",
        "190:20:30",
        "0x1F",
        "0o17",
        "0b1",
        "1_000",
        "NO",
        "no",
        "yes",
        "on",
        "Off",
        "y",
        "2024-01-02",
        "2024-01-02T03:00:00Z",
        "1.2.3",
        "=",
        "nUll",
        "tRue",
    ],
)
def test_all_else_is_the_text_that_stands_there(text: str) -> None:
    assert parse_yaml(f"[{text}]", "here") == [text]
    assert parse_yaml(f"{text}: 1", "here") == {text: 1}


@given(DOCUMENTS)
def test_json_is_read_as_json(document: object) -> None:
    found = parse_yaml(json.dumps(document, ensure_ascii=False), "here")
    assert found == document
    assert repr(found) == repr(document)  # 1 is not 1.0, nor true


def test_a_merged_mapping_and_a_key_that_stands_twice() -> None:
    assert parse_yaml("{a: &a {x: 1}, b: {<<: *a, y: 2}}", "here")["b"] == {"x": 1, "y": 2}
    with pytest.raises(ConfigError, match="here:1:8: not valid YAML: key 'a' stands twice"):
        parse_yaml("{a: 1, a: 2}", "here")
