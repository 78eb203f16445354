"""The rules of raw values, worked out by hand."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from configs import values
from configs.values import READERS, UnreadableValueError, number_of, text_of, texts_of_field
from tests.raw_values import outcome

START = 1_704_067_200  # 2024-01-01
INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "text", "number", "seconds"),
    [
        (None, None, None, None),
        ("", None, None, None),
        (b"", None, None, None),
        (" ", " ", values.NO_NUMBER, values.NO_TIMESTAMP),
        (b"1.5", "1.5", 1.5, values.OUT_OF_RANGE),
        (b"\xff", values.NO_UTF8, values.NO_UTF8, values.NO_UTF8),
        ("\ud800", values.NO_UTF8, values.NO_UTF8, values.NO_UTF8),
        (True, "true", 1.0, values.NO_TIMESTAMP),
        (" TRUE ", " TRUE ", 1.0, values.NO_TIMESTAMP),
        (START, str(START), float(START), START),
        (f" {START}.9 ", f" {START}.9 ", float(START), START),
        (START + 0.9, "1704067200.9", float(START), START),
        (3.0, "3", 3.0, values.OUT_OF_RANGE),
        (2.0**53, "9.007199254740992e+15", 2.0**53, values.OUT_OF_RANGE),
        (-1.5e-7, "-1.5e-7", number_of("-1.5e-7"), values.OUT_OF_RANGE),
        (0.000001, "0.000001", number_of("1e-6"), values.OUT_OF_RANGE),
        (float("nan"), values.NO_TEXT, values.NOT_FINITE, values.OUT_OF_RANGE),
        ("nan", "nan", values.NOT_FINITE, values.OUT_OF_RANGE),
        (10**400, "1" + "0" * 400, values.NOT_FINITE, values.OUT_OF_RANGE),
        (3.4028235e38, "3.4028235e+38", 3.4028234663852886e38, values.OUT_OF_RANGE),
        (3.41e38, "3.41e+38", values.NOT_FINITE, values.OUT_OF_RANGE),
        (Decimal("1.50"), "1.5", 1.5, values.OUT_OF_RANGE),
        ("1_000", "1_000", values.NO_NUMBER, values.NO_TIMESTAMP),
        ("20240101", "20240101", 20240101.0 - 1, values.OUT_OF_RANGE),  # float32 has 24 bits
        ("2024-01-01", "2024-01-01", values.NO_NUMBER, START),
        ("2024-01-01T05:30+05:30", "2024-01-01T05:30+05:30", values.NO_NUMBER, START),
        (date(2024, 1, 1), "2024-01-01", values.NO_NUMBER, START),
        (datetime(2024, 1, 1), "2024-01-01 00:00:00.000000", values.NO_NUMBER, START),
        (datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01 00:00:00.000000Z", values.NO_NUMBER, START),
        (
            datetime(2024, 1, 1, 5, 30, tzinfo=INDIA),
            "2024-01-01 05:30:00.000000+0530",
            values.NO_NUMBER,
            START,
        ),
        ("1990-01-01", "1990-01-01", values.NO_NUMBER, 631_152_000),
        (
            "1989-12-31T23:59:59.9",
            *["1989-12-31T23:59:59.9", values.NO_NUMBER, values.OUT_OF_RANGE],
        ),
        (4_102_444_800.5, "4102444800.5", 4_102_444_800.0, 4_102_444_800),
        (START * 1000, str(START * 1000), number_of(START * 1000), values.OUT_OF_RANGE),
        ([], values.NO_TEXT, values.NO_NUMBER, values.NO_TIMESTAMP),
        ({}, values.NO_TEXT, values.NO_NUMBER, values.NO_TIMESTAMP),
    ],
)
def test_scalars(value: object, text: Any, number: Any, seconds: Any) -> None:
    assert outcome("string", value) == text
    assert outcome("number", value) == number
    assert outcome("timestamp", value) == seconds


@pytest.mark.parametrize(
    ("value", "label", "weight"),
    [
        (None, None, None),
        ("", None, None),
        (True, 1.0, 1.0),
        ("0", 0.0, 0.0),
        (1.0000000001, values.NO_LABEL, 1.0),
        (2, values.NO_LABEL, 2.0),
        (-1, values.NO_LABEL, values.NEGATIVE_WEIGHT),
        ("x", values.NO_LABEL, values.NO_WEIGHT),
    ],
)
def test_labels_and_weights(value: object, label: Any, weight: Any) -> None:
    assert outcome("label", value) == label
    assert outcome("weight", value) == weight


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (None, []),
        ((), []),
        (["a", None, "", b"b"], ["a", "b"]),
        ([1, 2.5, 2**70], ["1", "2.5", str(2**70)]),
        (["a", 1], values.NO_TEXT_LIST),
        ([True, 1], values.NO_TEXT_LIST),
        ([["a"]], values.NO_TEXT_LIST),
        (["x" * 4097], values.LONG_TEXT),
        ("a", values.NO_LIST),
    ],
)
def test_lists(value: object, texts: Any) -> None:
    assert outcome("strings", value) == texts


def test_lists_of_a_csv_field() -> None:
    assert texts_of_field(b"a||b") == ["a", "b"]
    assert texts_of_field('["a|b", null]') == ["a|b"]
    assert texts_of_field(None) == []
    with pytest.raises(UnreadableValueError, match=r"^expected a list, received '\[a'$"):
        texts_of_field("[a")


def test_an_error_says_what_was_expected_and_received() -> None:
    with pytest.raises(UnreadableValueError) as caught:
        number_of("cheap")
    assert str(caught.value) == "expected a number, received 'cheap'"
    with pytest.raises(UnreadableValueError, match=r"received 'xxx.*[.]{3}$") as caught:
        text_of("x" * 5000)
    assert len(str(caught.value)) < 150
    for read in READERS.values():
        with pytest.raises(UnreadableValueError, match=r"^expected .*, received \{'a': 1\}$"):
            read({"a": 1})


def test_a_number_that_python_does_not_write_out_is_refused_in_one_line() -> None:
    for kind, rule in (
        ("string", values.LONG_TEXT),
        ("number", values.NOT_FINITE),
        ("timestamp", values.OUT_OF_RANGE),
    ):
        with pytest.raises(UnreadableValueError, match="received a whole number of 16610 bits"):
            READERS[kind](10**5000)
        assert outcome(kind, 10**5000) == rule
