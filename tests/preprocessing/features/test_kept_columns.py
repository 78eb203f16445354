"""The raw columns that datasets keep: which, the same dictionaries in any order, and codes that say
what the rows said.
"""

import pickle
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Experiment, parse_experiment
from preprocessing.features import kept_columns as module
from preprocessing.features.kept_columns import KeptColumns, KeptValues, asked_columns
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from tests.configs import TASKS_AND_SPLITS

CONFIG = (
    """
name: shop
data: {timestamp: time, request: request, user: user, topic_columns: [shelf, orders, time, tags]}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  user: {kind: categorical, side: user}
  colour: {kind: categorical, side: item, hash_buckets: 9}
  pair: {kind: cross, side: item, columns: [colour, maker], hash_buckets: 9}
  history: {kind: list, side: user}
  tags: {kind: list, side: item}
  price: {kind: numeric, side: item}
  orders: {kind: numeric, side: user}
  moment: {kind: timestamp, side: context, column: time}
topics:
  scene: {column: scene, values: [home]}
  period: {column: time, hours: {early: 00-11}}
  age: {column: days, ranges: {new: [0, 7]}}
  tag: {column: tags, contains: [z, y]}
  again: {column: tags, contains: [x, z]}
"""
)
EXPERIMENT = parse_experiment(CONFIG)
TEXT = ("scene", "shelf", "user", "colour", "maker")


def batch_of(rows: list[dict[str, Any]], experiment: Experiment = EXPERIMENT) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array([row.get(name) for row in rows], ARROW_TYPES[column.kind])
            for name, column in raw_columns(experiment).items()
        }
    )


def values_of(*batches: pa.RecordBatch, experiment: Experiment = EXPERIMENT) -> KeptValues:
    values = KeptValues.empty(experiment)
    for batch in batches:
        values.add(batch)
    return values


def kept_of(values: KeptValues, experiment: Experiment = EXPERIMENT) -> KeptColumns:
    longest = {name: column.longest for name, column in values.by_column.items()}
    return KeptColumns(experiment, values.dictionaries(), longest)


def test_topics_columns_the_named_ones_and_text_of_features_are_kept() -> None:
    assert [column.name for column in asked_columns(EXPERIMENT)] == [
        "scene",
        "days",
        "tags",
        "shelf",
        "orders",
    ]
    values = values_of(batch_of([{"scene": "home"}]))
    assert values.dictionaries().keys() == {*TEXT, "tags"}
    assert kept_of(values).of_batch(batch_of([{}])).keys() == {
        f"raw/{name}" for name in (*TEXT, "tags", "days", "orders")
    }


def test_codes_are_by_frequency_then_value_and_0_is_missing() -> None:
    rows = [{"shelf": value} for value in ("b", "a", "c", "c", "", None, "a\nb", "é", "é", "é")]
    values = values_of(batch_of(rows[:4]), batch_of(rows[4:]))
    assert values.dictionaries()["shelf"] == ("é", "c", "a", "a\nb", "b")
    assert values.dictionaries()["scene"] == ()
    columns = kept_of(values).of_batch(batch_of(rows))
    assert columns["raw/shelf"].dtype == np.int32
    assert columns["raw/shelf"].tolist() == [5, 3, 2, 2, 0, 0, 4, 1, 1, 1]
    assert columns["raw/scene"].tolist() == [0] * 10


def test_numbers_are_kept_as_they_are() -> None:
    rows = batch_of([{"days": 1.5}, {"days": None}, {"days": -0.0}])
    numbers = kept_of(values_of(rows)).of_batch(rows)["raw/days"]
    assert numbers.dtype == np.float32
    np.testing.assert_array_equal(numbers, np.array([1.5, np.nan, -0.0], np.float32))


def test_lists_are_each_rows_different_members_those_of_topics_first() -> None:
    rows = batch_of(
        [
            {"tags": tags}
            for tags in (["a", "b", "a"], [], None, ["", None, "b"], ["b", "a", "x", "y", "z"])
        ]
    )
    values = values_of(rows)
    assert values.dictionaries()["tags"] == ("a", "b", "x", "y", "z")
    codes = kept_of(values).of_batch(rows)["raw/tags"]
    assert codes.dtype == np.int32
    assert codes.tolist() == [
        [1, 2, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [2, 0, 0, 0, 0],
        [5, 4, 3, 1, 2],
    ]


def test_one_long_list_does_not_widen_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MEMBERS", 4)
    long = [f"t{number}" for number in range(1_000)]
    first, second = (
        batch_of([{"tags": [*long, "z", "x"]}, {"tags": ["t7", "t8"]}, {"tags": ["a"] * 9}]),
        batch_of([{"tags": ["t7"]}, {"tags": long[:5]}]),
    )
    values = values_of(first).merge(values_of(second))
    column = values.by_column["tags"]
    assert (column.longest, column.cut) == (1_002, 2)
    dictionary = values.dictionaries()["tags"]
    codes = kept_of(values).of_batch(first)["raw/tags"]
    assert codes.shape == (3, 4)
    assert [[dictionary[code - 1] for code in row if code] for row in codes.tolist()] == [
        ["z", "x", "t7", "t0"],  # what topics ask for, then the most frequent
        ["t7", "t8"],
        ["a"],
    ]


def test_lists_without_members_have_a_length() -> None:
    rows = batch_of([{"tags": []}, {"tags": None}, {"tags": [""]}])
    assert kept_of(values_of(rows)).of_batch(rows)["raw/tags"].tolist() == [[0], [0], [0]]


@pytest.mark.parametrize("distinct", [1, 4, 5, 6, 50])
@pytest.mark.parametrize("parts", [1, 3])
def test_text_of_a_feature_is_kept_where_it_has_few_values(
    distinct: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 5)
    words = [f"{number % distinct}" for number in range(60)]
    rows = [{"colour": word, "scene": word} for word in [*words, "", None]]
    merged = KeptValues.empty(EXPERIMENT)
    for part in range(parts):
        merged.merge(values_of(batch_of(rows[part::parts])).compact())
    found = merged.dictionaries()
    assert ("colour" in found) == (distinct <= 5)
    assert sorted(found["scene"]) == sorted(set(words)), "asked for, so however many there are"


WORDS = st.none() | st.sampled_from(["", "a", "b", "é", "a,b", 'q"', "\n", "😀", "zz", "y", "z"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"scene": WORDS, "colour": WORDS, "tags": st.none() | st.lists(WORDS, max_size=5)}
    ),
    max_size=12,
)


@given(rows=ROWS, cuts=st.lists(st.integers(0, 12), max_size=4), data=st.data())
def test_any_order_of_batches_gives_the_same_dictionaries_and_codes(
    rows: list[dict[str, Any]], cuts: list[int], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_VALUES", 4)
        patch.setattr(module, "MOST_MEMBERS", 3)
        whole = batch_of(rows)
        bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
        slices = [
            whole.slice(a, b - a) for a, b in pairwise(bounds)
        ]  # slices keep the offsets of the whole
        parts = [values_of(part) for part in slices] + [KeptValues.empty(EXPERIMENT)]
        while len(parts) > 1:
            first = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
            second = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
            parts.append(first.merge(pickle.loads(pickle.dumps(second.compact()))))  # noqa: S301
        expected = values_of(whole)
        assert parts[0].dictionaries() == expected.dictionaries()
        assert {
            name: (column.longest, column.cut) for name, column in parts[0].by_column.items()
        } == {name: (column.longest, column.cut) for name, column in expected.by_column.items()}

        words = Counter(row["scene"] for row in rows if row["scene"])
        assert expected.dictionaries()["scene"] == tuple(
            sorted(words, key=lambda word: (-words[word], word))
        )
        kept = kept_of(expected)
        columns = kept.of_batch(whole)
        for place, start in enumerate(bounds[:-1]):
            part = kept.of_batch(slices[place])
            for name, codes in part.items():
                np.testing.assert_array_equal(codes, columns[name][start : start + len(codes)])
        for name, dictionary in expected.dictionaries().items():
            if name != "tags":
                decoded = [
                    dictionary[code - 1] if code else None for code in columns[f"raw/{name}"]
                ]
                assert decoded == [row.get(name) or None for row in rows]
        for row, codes in zip(rows, columns["raw/tags"], strict=True):
            members = {member for member in row["tags"] or () if member}
            found = [expected.dictionaries()["tags"][code - 1] for code in codes if code]
            assert len(found) == len(set(found)) == min(len(members), 3)
            assert set(found) <= members
            assert set(found) >= members & {"z", "y"}
