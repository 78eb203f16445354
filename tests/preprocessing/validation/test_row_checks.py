"""What a value may look like, and the rule that every other value breaks."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import values as rules
from preprocessing.hashing import combine_fingerprints, fingerprint64, permutation
from preprocessing.logs.files import Source, find_sources, plan
from preprocessing.logs.readers import RawBatch, as_column, read_piece
from preprocessing.logs.schema import ARROW_TYPES, Column, Kind, LogTable, raw_columns
from preprocessing.validation.coercion import Carrier, coerce
from preprocessing.validation.row_checks import check_columns, rejected_rows, validate
from tests.preprocessing.shop_logs import (
    START,
    experiment,
    make_rows,
    write_csv,
    write_json,
    write_parquet,
)

EXPERIMENT = experiment()


def outcome(column: Any, kind: Kind, lists_as_text: bool = False) -> list[Any]:
    """Each row's canonical value, or the rule it breaks (rules begin with 'expected')."""
    values, problems = coerce(column, kind, Carrier(lists_as_text))
    assert values.type == ARROW_TYPES[kind]
    result = values.to_pylist()
    for rule, mask in reversed(problems):
        for row in np.flatnonzero(mask):
            result[row] = rule
    return result


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["a", "", None, "é"]), ["a", None, None, "é"]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([3, None, -4], pa.int16()), ["3", None, "-4"]),
        (pa.array([2**63], pa.uint64()), [str(2**63)]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([3.0, 2.5, None, -0.0, 1e20]), ["3", "2.5", None, "0", "1e+20"]),
        (pa.array([0.1], pa.float32()), ["0.1"]),
        (pa.array([np.float16(2.0)]), ["2"]),
        (pa.array([float("nan"), float("inf")]), [rules.NO_TEXT] * 2),
        (pa.array([Decimal("1.50"), Decimal("3.00"), Decimal(0)]), ["1.5", "3", "0"]),
        (pa.array([Decimal(10**30 + 7), None]), [str(10**30 + 7), None]),
        (pa.array([Decimal("0.00000010")]), ["1e-7"]),
        (pa.array([date(2024, 1, 2)]), ["2024-01-02"]),
        (pa.array([b"a", b"\xff"]), ["a", rules.NO_UTF8]),
        (
            pa.array(["x" * 4096, "x" * 4097, "é" * 2049]),
            ["x" * 4096, rules.LONG_TEXT, rules.LONG_TEXT],
        ),
        (pa.array([["a"], None]), [rules.NO_TEXT, None]),
        (pa.array([{"a": 1}]), [rules.NO_TEXT]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_text(column: pa.Array, expected: list[Any]) -> None:
    assert outcome(column, "string") == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, -2]), [1.0, None, -2.0]),
        (
            pa.array([1.5, float("nan"), float("inf"), -float("inf"), 1e39]),
            [1.5, *[rules.NOT_FINITE] * 4],
        ),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array(["1.5", "-2", "+3", "", None, "1e3"]), [1.5, -2.0, 3.0, None, None, 1000.0]),
        (
            pa.array([" 1.5 ", "abc", "1_000", "0x10", "1,5", "true"]),
            [1.5, *[rules.NO_NUMBER] * 4, 1.0],
        ),
        (pa.array(["nan", "inf", "-Infinity", "1e400", "1e39"]), [rules.NOT_FINITE] * 5),
        (pa.array([Decimal("2.25")]), [2.25]),
        (pa.array([[1.0]]), [rules.NO_NUMBER]),
        (pa.array([datetime(2024, 1, 1)]), [rules.NO_NUMBER]),
        (pa.nulls(1), [None]),
    ],
)
def test_number(column: pa.Array, expected: list[Any]) -> None:
    assert outcome(column, "number") == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            pa.array([0, 1, 2, -1, None]),
            [0.0, 1.0, rules.NO_LABEL, rules.NO_LABEL, None],
        ),
        (
            pa.array([0.0, 1.0, 0.5, float("nan")]),
            [0.0, 1.0, rules.NO_LABEL, rules.NO_LABEL],
        ),
        (pa.array([True, False]), [1.0, 0.0]),
        (
            pa.array(["0", "1", "1.0", "true", "FALSE", "yes", ""]),
            [0.0, 1.0, 1.0, 1.0, 0.0, rules.NO_LABEL, None],
        ),
        (pa.array([[1]]), [rules.NO_LABEL]),
    ],
)
def test_label(column: pa.Array, expected: list[Any]) -> None:
    assert outcome(column, "label") == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            pa.array([0.0, 2.5, -1.0, float("nan"), 1e39, None]),
            [0.0, 2.5, rules.NEGATIVE_WEIGHT, *[rules.NO_WEIGHT] * 2, None],
        ),
        (pa.array(["1", "x"]), [1.0, rules.NO_WEIGHT]),
    ],
)
def test_weight(column: pa.Array, expected: list[Any]) -> None:
    assert outcome(column, "weight") == expected


MOMENT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([MOMENT, None]), [START, None]),
        *(
            (
                pa.array([START], pa.int64()).cast(pa.timestamp("s")).cast(pa.timestamp(unit)),
                [START],
            )
            for unit in ("s", "ms", "us", "ns")
        ),
        (
            pa.array(
                [MOMENT.astimezone(timezone(timedelta(hours=-3)))], pa.timestamp("us", "-03:00")
            ),
            [START],
        ),
        (pa.array([date(2024, 1, 1)]), [START]),
        (
            pa.array([START, START * 1000, 0, None]),
            [START, rules.OUT_OF_RANGE, rules.OUT_OF_RANGE, None],
        ),
        (
            pa.array([START + 0.9, float("nan"), float("inf")]),
            [START, rules.OUT_OF_RANGE, rules.OUT_OF_RANGE],
        ),
        (pa.array([2**64 - 1], pa.uint64()), [rules.OUT_OF_RANGE]),
        (
            pa.array([631_151_999, 631_152_000, 4_102_444_800, 4_102_444_801]),
            [
                rules.OUT_OF_RANGE,
                631_152_000,
                4_102_444_800,
                rules.OUT_OF_RANGE,
            ],
        ),
        (
            pa.array(["2024-01-01", "2024-01-01T00:00:01", "2024-01-01 00:00:00.75", ""]),
            [START, START + 1, START, None],
        ),
        (pa.array(["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+02:00"]), [START, START]),
        (pa.array([str(START), f"{START}.5"]), [START, START]),
        (
            pa.array(
                [
                    "2024-01-01",
                    "2024-01-01T02:00:00+02:00",
                    str(START),
                    "yesterday",
                    "2024-13-01",
                    "20240101",
                    "0001-01-01",
                ]
            ),
            [
                START,
                START,
                START,
                rules.NO_TIMESTAMP,
                rules.NO_TIMESTAMP,
                rules.OUT_OF_RANGE,
                rules.OUT_OF_RANGE,
            ],
        ),
        (pa.array([True]), [rules.NO_TIMESTAMP]),
        (pa.array([["2024-01-01"]]), [rules.NO_TIMESTAMP]),
    ],
)
def test_timestamp(column: pa.Array, expected: list[Any]) -> None:
    assert outcome(column, "timestamp") == expected


@pytest.mark.parametrize(
    ("column", "as_text", "expected"),
    [
        (pa.array([["a", None, "", "b"], [], None]), False, [["a", "b"], [], []]),
        (pa.array([["z"], ["a"], None, ["b", "c"]]).slice(1), False, [["a"], [], ["b", "c"]]),
        (pa.array([[1, 2], [3]]), False, [["1", "2"], ["3"]]),
        (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), False, [["a", "b"]]),
        (pa.array([["a"]], pa.large_list(pa.large_string())), False, [["a"]]),
        (pa.array([["a"], ["x" * 5000, "b"]]), False, [["a"], rules.LONG_TEXT]),
        (pa.array([[["a"]]]), False, [rules.NO_TEXT_LIST]),
        (pa.array(["a|b", None]), False, [rules.NO_LIST, []]),
        (pa.array([1, None]), False, [rules.NO_LIST, []]),
        (pa.nulls(2), False, [[], []]),
        (pa.array([b"a|b", b"c", b"", None, b"|d||"]), True, [["a", "b"], ["c"], [], [], ["d"]]),
        (
            pa.array(["a|b", '["c|d", 1]', "[broken", '["a", {}]', "[]", None]),
            True,
            [["a", "b"], rules.NO_TEXT_LIST, rules.NO_LIST, rules.NO_TEXT_LIST, [], []],
        ),
        (pa.array(["[1, 2]", '["c|d"]', "x"]), True, [["1", "2"], ["c|d"], ["x"]]),
        (pa.array(["[null]"]), True, [[]]),
        (pa.array([b"a|\xff", b"b"]), True, [rules.NO_UTF8, ["b"]]),
        (
            as_column([["a"], "a", 3, [["a"]], None, ["b"]]),
            False,
            [["a"], rules.NO_LIST, rules.NO_LIST, rules.NO_TEXT_LIST, [], ["b"]],
        ),
        (pa.array([["a"] * 3000]), False, [["a"] * 3000]),
    ],
)
def test_list(column: Any, as_text: bool, expected: list[Any]) -> None:
    assert outcome(column, "strings", as_text) == expected


def raw(rows: list[dict[str, Any]]) -> RawBatch:
    names = raw_columns(experiment())
    return RawBatch(
        Source(0, "logs/a.jsonl", "a.jsonl", "json"),
        0,
        np.arange(10, 10 + len(rows)),
        {n: as_column([r.get(n) for r in rows]) for n in names},
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": None}, "user: missing"),
        ({"user": ""}, "user: missing"),
        ({"click": None}, "click: missing"),
        ({"time": None}, "time: missing"),
        ({"click": 2}, "click: expected 0 or 1, received 2"),
        ({"price": "abc"}, "price: expected a number, received 'abc'"),
        ({"price": float("nan")}, "price: expected a finite number, received nan"),
        ({"price": float("-inf")}, "price: expected a finite number, received -inf"),
        ({"weight": -1.5}, "weight: expected a weight of at least 0, received -1.5"),
        ({"time": 12}, "time: expected a timestamp from 1990 to 2100, received 12"),
        (
            {"time": "soon"},
            "time: expected a timestamp, ISO 8601 text or seconds since 1970, received 'soon'",
        ),
        ({"scene": ["home"]}, 'scene: expected text, received ["home"]'),
        ({"history": "i1"}, "history: expected a list, received 'i1'"),
        (
            {"item": "x" * 5000},
            f"item: expected text of at most 4096 bytes, received '{'x' * 79}...",
        ),
        ({"click": 0, "order": 1}, "order without click"),
        ({"price": None, "stock": None, "history": None, "scene": None}, None),
        ({"history": []}, None),
        ({"history": ["i1"] * 5000}, None),
        ({"scene": "a scene nobody has seen"}, None),
        ({"user": None, "price": "abc"}, "user: missing"),  # the first broken rule counts
    ],
)
def test_a_row_is_refused_for_the_first_rule_it_breaks(
    change: dict[str, Any], reason: str | None
) -> None:
    rows = make_rows(3)
    rows[1] = {**rows[1], **change}
    checked = validate(raw(rows), experiment())
    kept = [0, 2] if reason else [0, 1, 2]
    assert checked.index.tolist() == kept
    assert checked.rows.column("impression").to_pylist() == [
        rows[row]["impression"] for row in kept
    ]
    assert [(row.row, row.reason) for row in rejected_rows(checked)] == (
        [(11, reason)] if reason else []
    )
    for rejection in rejected_rows(checked):
        text = json.dumps(rejection.values, allow_nan=False)
        assert json.loads(text)["impression"] == rows[1]["impression"]


def test_without_rejects_only_the_given_rows() -> None:
    rows = make_rows(4)
    rows[1]["click"] = 7
    checked = validate(raw(rows), experiment()).without(
        np.array([0, 3]), "duplicate of request, item"
    )
    assert checked.index.tolist() == [2]
    assert [(row.row, row.rule) for row in checked.rejections] == [
        (10, "duplicate of request, item"),
        (11, "click: expected 0 or 1"),
        (13, "duplicate of request, item"),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(raw_columns(experiment()))), json_values), max_size=5
    )
)
def test_no_row_is_lost_and_nothing_raises_whatever_comes(changes: list[dict[str, Any]]) -> None:
    rows = [{**row, **change} for row, change in zip(make_rows(5), changes, strict=False)]
    checked = validate(raw(rows), experiment())
    assert sorted([*(10 + checked.index), *(row.row for row in checked.rejections)]) == list(
        range(10, 10 + len(rows))
    )
    json.dumps([row.values for row in rejected_rows(checked)], allow_nan=False)
    for name, column in raw_columns(experiment()).items():
        assert checked.rows.column(name).type == ARROW_TYPES[column.kind]
        assert not (column.required and checked.rows.column(name).null_count)
        if column.kind in ("number", "label", "weight"):
            assert np.isfinite(checked.rows.column(name).drop_null().to_numpy()).all()


def test_fingerprints_are_stable_and_independent_of_how_arrow_stores_them() -> None:
    texts = ["", "a", None, "abcdefgh", "abcdefghi", "é" * 100]
    expected = fingerprint64(pa.array(texts))
    assert expected.tolist()[:3] == FIRST_THREE
    assert np.array_equal(
        fingerprint64(pa.array(["zz", *texts], pa.large_string()).slice(1)), expected
    )
    assert np.array_equal(
        fingerprint64(pa.chunked_array([texts[:2], texts[2:]], pa.string())), expected
    )
    assert np.array_equal(
        np.concatenate([fingerprint64(pa.array([text], pa.string())) for text in texts]), expected
    )
    assert len(fingerprint64(pa.array([], pa.string()))) == 0
    many = fingerprint64(pa.array([str(number) for number in range(100_000)]))
    assert len(np.unique(many)) == 100_000
    assert (
        abs(np.bincount((many.view(np.uint64) % np.uint64(10)).astype(np.int64)) - 10_000).max()
        < 500
    )
    pairs = combine_fingerprints([many, many[::-1]])
    assert len(np.unique(pairs)) == 100_000
    assert not np.isin(pairs, [*many, *combine_fingerprints([many, many])]).any()


def test_a_permutation_is_a_function_of_its_seed() -> None:
    assert sorted(permutation(1000, "a")) == list(range(1000))
    assert np.array_equal(permutation(1000, "a"), permutation(1000, "a"))
    assert not np.array_equal(permutation(1000, "a"), permutation(1000, "b"))


FIRST_THREE = [
    -5378828885849572749,
    7042897942682368591,
    0,
]  # datasets hold fingerprints: they must never change


NULLS = Carrier(nulls=("NULL", r"\N"))


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array(["a", "NULL", r"\N", "", "null"]), "string", ["a", None, None, None, "null"]),
        (pa.array([b"1.5", b"NULL"]), "number", [1.5, None]),
        (pa.array(["NULL", "2024-01-02"]), "timestamp", [None, 1_704_153_600]),
        (pa.array([["a", "NULL", "b"], ["NULL"]]), "strings", [["a", "b"], []]),
        (["NULL", 7], "string", [None, "7"]),
        ([["NULL", 7], "NULL", ["x"]], "strings", [["7"], [], ["x"]]),
        ([["a", "NULL"], [1], [["NULL"]]], "strings", [["a"], ["1"], rules.NO_TEXT_LIST]),
        ([[1.0], ["2", "NULL"], [1, "NULL"]], "numbers", [[1.0], [2.0, None], [1.0, None]]),
    ],
)
def test_null_values_are_missing(column: Any, kind: Kind, expected: list[Any]) -> None:
    assert outcomes(column, kind) == expected


def outcomes(column: Any, kind: Kind) -> list[Any]:
    """What each row holds, or the rule that it breaks."""
    values, problems = coerce(column, kind, NULLS)
    found = values.to_pylist()
    for rule, mask in problems:
        for row in np.flatnonzero(mask):
            found[row] = rule
    return found


WORDS = st.sampled_from(["a", "NULL", r"\N", "", "2", 1, 2.5, True, None])
VALUES = st.one_of(WORDS, st.lists(WORDS, max_size=3), st.just([["NULL"]]))


@given(
    values=st.lists(VALUES, min_size=1, max_size=4),
    kind=st.sampled_from(["string", "strings", "number", "numbers"]),
)
@settings(deadline=None)
def test_a_row_is_read_alike_whatever_stands_beside_it(values: list[Any], kind: Kind) -> None:
    """Also where a word means that something is missing."""
    alone = [outcomes(as_column([value]), kind)[0] for value in values]
    assert outcomes(as_column(values), kind) == alone


def test_a_list_of_a_csv_file_leaves_null_values_out() -> None:
    text = pa.array([b"a|NULL|b", b"NULL", b'["NULL", "c"]', b""])
    values, _ = coerce(text, "strings", replace(NULLS, untyped=True))
    assert values.to_pylist() == [["a", "b"], [], ["c"], []]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_label_may_be_missing_where_its_sample_space_excludes_the_row(
    tmp_path: Path, suffix: str
) -> None:
    base = make_rows(1)[0]
    rows = [
        base | {"click": click, "order": order}
        for click, order in [
            (0, None),
            (1, None),
            (0, "NULL"),
            (1, 1),
            (0, 0),
            (0, "x"),
            (None, None),
        ]
    ]
    path = tmp_path / f"a.{suffix}"
    (write_csv if suffix == "csv" else write_json)(path, rows)
    (piece,) = plan(find_sources(str(path), EXPERIMENT.evaluation.truth), EXPERIMENT).pieces
    (raw,) = read_piece(piece, EXPERIMENT)
    checked = validate(raw, EXPERIMENT)
    assert checked.index.tolist() == [0, 2, 3, 4]
    assert checked.rows.column("order").to_pylist() == [0.0, 0.0, 1.0, 0.0]
    assert [rejection.rule for rejection in checked.rejections] == [
        "order: missing",
        "order: expected 0 or 1",
        "click: missing",
    ]


def test_a_label_may_be_missing_where_the_row_is_too_young_to_carry_it(tmp_path: Path) -> None:
    late = experiment("tasks.cvr.matured_after=24", "data.as_of=2024-01-05T00:00:00Z")
    known_before = int(late.known_before["order"].timestamp())
    base = make_rows(1)[0] | {"click": 1}
    rows = [
        base | {"impression": f"{order} {seconds}", "order": order, "time": known_before + seconds}
        for seconds in (-1, 0)
        for order in (None, 1)
    ]
    path = write_parquet(tmp_path / "a.parquet", rows)
    (piece,) = plan(find_sources(str(path)), late).pieces
    (raw,) = read_piece(piece, late)
    checked = validate(raw, late)
    assert checked.index.tolist() == [1, 2, 3]
    assert checked.rows.column("order").to_pylist() == [1.0, 0.0, 1.0]
    assert [rejection.rule for rejection in checked.rejections] == ["order: missing"]


def test_rows_without_labels_keep_the_rules_of_columns_and_of_lists_that_belong_together() -> None:
    columns = raw_columns(EXPERIMENT)
    table = LogTable(
        {name: columns[name] for name in ("history", "item", "price")}
        | {"gaps": Column("gaps", "numbers"), "time": columns["time"]},
        lists_alike=(("history", "gaps"),),
    )
    rows = [
        {"history": history, "item": "i", "price": price, "gaps": gaps, "time": time}
        for history, price, gaps, time in (
            (["a", "b"], 1.0, [0.5, None], START),
            (["a", "b"], 1.0, [0.5], START),
            (None, "cheap", None, START),
            ([], None, None, None),
            ([], None, None, START),
        )
    ]
    source = Source(0, "a.jsonl", "a.jsonl", "json")
    read = {name: as_column([row[name] for row in rows]) for name in table.read}
    checked = check_columns(RawBatch(source, 0, np.arange(5), read), table)
    assert checked.index.tolist() == [0, 4]
    assert [(row.row, row.rule) for row in checked.rejections] == [
        (1, "gaps: expected as many values as 'history' has"),
        (2, "price: expected a number"),
        (3, "time: missing"),
    ]
    assert checked.rows.schema.names == list(table.columns)


def test_carried_columns_are_read_and_left_as_they_came(tmp_path: Path) -> None:
    rows = make_rows(3)
    table = LogTable({"item": raw_columns(EXPERIMENT)["item"]}, carried=("click", "item", "scene"))
    for path in (write_csv(tmp_path / "a.csv", rows), write_parquet(tmp_path / "a.parquet", rows)):
        (piece,) = plan(find_sources(str(path)), table).pieces
        (raw,) = read_piece(piece, table)
        assert list(raw.columns) == ["item", "click", "scene"]
        assert check_columns(raw, table).rows.schema.names == ["item"]
    assert raw.columns["click"].type == pa.int64()  # type: ignore[union-attr]
