"""What preprocessing makes of a value is what ``configs.values`` says, in whatever carrier it comes
and whatever stands beside it.
"""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.values import (
    LONG_TEXT,
    MAX_TEXT_BYTES,
    NO_UTF8,
    UnreadableValueError,
    numbers_of_field,
    text_of_field,
    texts_of_field,
)
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import read_piece
from preprocessing.logs.schema import Kind
from preprocessing.validation.coercion import Carrier, coerce
from tests.preprocessing.shop_logs import experiment, make_rows, write_csv, write_json
from tests.raw_values import FRACTIONS, HUGE, KINDS, MOMENTS, TEXTS, WHOLE, outcome

COLUMNS: dict[str, str] = {
    "string": "scene",
    "strings": "history",
    "number": "price",
    "numbers": "vector",
    "label": "click",
    "weight": "weight",
    "timestamp": "time",
}
OF_FIELDS: dict[str, Callable[[str | bytes], Any]] = {
    "string": text_of_field,
    "strings": texts_of_field,
    "numbers": numbers_of_field,
}
EXPERIMENT = experiment("features.vector={kind: vector, side: item, size: 2}")
BASE = make_rows(1)[0] | {"vector": [0.5, 1]}
PATIENT = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def read(path: Path, kind: Kind) -> list[Any]:
    """Each row's canonical value, or the first rule it breaks."""
    found: list[Any] = []
    for piece in plan(find_sources(str(path), EXPERIMENT.evaluation.truth), EXPERIMENT).pieces:
        for raw in read_piece(piece, EXPERIMENT):
            assert not raw.broken
            values, problems = coerce(
                raw.columns[COLUMNS[kind]], kind, Carrier(path.suffix == ".csv")
            )
            rows = values.to_pylist()
            for rule, mask in reversed(problems):
                for row in np.flatnonzero(mask):
                    rows[row] = rule
            found += rows
    return found


SURROGATES = st.sampled_from(["\ud800", "a\udfff"])
ATOMS = st.none() | TEXTS | WHOLE | HUGE | FRACTIONS | st.booleans() | SURROGATES
ALIKE = (TEXTS, WHOLE, WHOLE | HUGE, FRACTIONS, WHOLE | FRACTIONS, st.booleans())
LISTS = st.one_of(*(st.lists(st.none() | elements, max_size=4) for elements in (*ALIKE, ATOMS)))
OBJECTS = st.sampled_from([{}, {"a": 1}, [[]], [["a"]], [{}], [None]])
JSON_COLUMNS = st.one_of(
    *(
        st.lists(st.none() | values, min_size=1, max_size=6)
        for values in (*ALIKE, LISTS, ATOMS, ATOMS | LISTS | OBJECTS)
    )
)


@pytest.mark.parametrize("kind", KINDS)
@PATIENT
@given(column=JSON_COLUMNS)
def test_json_lines(tmp_path: Path, kind: Kind, column: list[Any]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(BASE | {COLUMNS[kind]: value}) + "\n" for value in column))
    assert read(path, kind) == [outcome(kind, value) for value in column]


def in_csv(kind: Kind, text: str | bytes) -> Any:
    if kind not in OF_FIELDS:
        return outcome(kind, text)
    try:
        return OF_FIELDS[kind](text)
    except UnreadableValueError as error:
        return error.rule


@pytest.mark.parametrize("kind", KINDS)
@PATIENT
@given(column=st.lists(TEXTS | st.just("not UTF-8: \udcff"), min_size=1, max_size=6))
def test_csv(tmp_path: Path, kind: Kind, column: list[str]) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(BASE)
    for text in column:
        writer.writerow((BASE | {"history": "a", "vector": "1", COLUMNS[kind]: text}).values())
    path = tmp_path / "a.csv"
    path.write_bytes(written.getvalue().encode("utf-8", "surrogateescape"))
    expected = [in_csv(kind, text.encode("utf-8", "surrogateescape")) for text in column]
    assert read(path, kind) == expected


def moments(zone: timezone | None) -> st.SearchStrategy[datetime]:
    return MOMENTS.map(lambda moment: moment.replace(tzinfo=zone))


def dates() -> st.SearchStrategy[date]:
    return MOMENTS.map(datetime.date)


PARQUET_TYPES = (
    TEXTS,
    TEXTS.map(str.encode) | st.just(b"\xff"),
    WHOLE,
    FRACTIONS,
    st.booleans(),
    dates(),
    moments(None),
    moments(UTC),
    moments(timezone(timedelta(hours=5, minutes=30))),
)
PARQUET_COLUMNS = st.one_of(
    *(
        st.lists(st.none() | values, min_size=1, max_size=6)
        for elements in PARQUET_TYPES
        for values in (elements, st.lists(st.none() | elements, max_size=3))
    )
)


@pytest.mark.parametrize("kind", KINDS)
@PATIENT
@given(column=PARQUET_COLUMNS)
def test_parquet(tmp_path: Path, kind: Kind, column: list[Any]) -> None:
    table = pa.Table.from_pylist([BASE])
    table = pa.concat_tables([table] * len(column)).drop_columns(COLUMNS[kind])
    table = table.append_column(COLUMNS[kind], pa.array(column))
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    assert read(path, kind) == [outcome(kind, value) for value in column]


LONG = b"a" * (MAX_TEXT_BYTES + 1)


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ([[LONG, b"\xff"]], [LONG_TEXT]),
        ([[b"\xff", LONG]], [NO_UTF8]),
        ([[b"a", LONG], [b"\xff"], [b"a"], [], None], [LONG_TEXT, NO_UTF8, ["a"], [], []]),
        ([[b"\xff", None, LONG], [None, LONG, b"\xff"]], [NO_UTF8, LONG_TEXT]),
    ],
)
def test_lists_are_refused_for_their_first_broken_element(
    tmp_path: Path, lists: list[Any], expected: list[Any]
) -> None:
    table = pa.concat_tables([pa.Table.from_pylist([BASE])] * len(lists)).drop_columns("history")
    path = tmp_path / "a.parquet"
    pq.write_table(table.append_column("history", pa.array(lists)), path)
    assert read(path, "strings") == expected
    assert [outcome("strings", value) for value in lists] == expected


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ([1.5, True], "string", ["1.5", "true"]),
        ([1.5, 2**53, 2**53 + 1], "string", ["1.5", str(2**53), str(2**53 + 1)]),
        ([[1.5], [True], [2**53]], "strings", [["1.5"], ["true"], [str(2**53)]]),
        ([[2**70]], "strings", [[str(2**70)]]),
        ([1_700_000_000.5, True], "timestamp", [1_700_000_000, outcome("timestamp", True)]),
    ],
)
def test_neighbours_do_not_change_what_a_row_means(
    tmp_path: Path, column: list[Any], kind: Kind, expected: list[Any]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(BASE | {COLUMNS[kind]: value}) + "\n" for value in column))
    assert read(path, kind) == expected


@PATIENT
@given(
    column=st.one_of(
        st.lists(st.none() | values, min_size=1, max_size=6)
        for values in (
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from([7.0, -7.0, 0.0, -0.0, 1e14, 123456789012345.0, 0.5]),
            st.booleans(),
            st.sampled_from(["007", "1.10", "7", "a.0", "1.0.0", "01.0", "Truee", "new york"]),
        )
    )
)
def test_a_column_has_the_same_text_in_every_format(tmp_path: Path, column: list[Any]) -> None:
    write_json(tmp_path / "a.jsonl", rows := [BASE | {"scene": value} for value in column])
    write_csv(tmp_path / "a.csv", rows)  # as Python writes values: 7.0, True
    table = pa.Table.from_pylist([BASE] * len(column)).drop_columns("scene")
    pq.write_table(table.append_column("scene", pa.array(column)), tmp_path / "a.parquet")
    found = [read(tmp_path / f"a.{suffix}", "string") for suffix in ("jsonl", "csv", "parquet")]
    assert found[0] == found[2]
    # CSV alone cannot tell a fraction from the text it is written as, and writers of CSV have their
    # own exponents: 5e-05, 1e+16.
    plain = [not isinstance(v, float) or v == 0.0 or 1e-4 <= abs(v) < 1e15 for v in column]
    same = zip(found[0], found[1], plain, strict=True)
    assert all(one == other for one, other, alike in same if alike)
