"""Counts of values: the same as a dictionary's, however the batches are cut and merged."""

import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.features import value_counts as module
from preprocessing.features.value_counts import ValueCounts


@pytest.mark.parametrize("waiting", [1 << 20, 3])
def test_counts_are_those_of_a_dictionary(waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", waiting)
    values = [f"v{value}" for value in np.random.default_rng(0).zipf(1.5, 2000) % 97] + [
        "é",
        "z",
        "",
        "a\nb",
        "a\rb",
    ]
    first, second = ValueCounts(), ValueCounts()
    for start in range(0, len(values), 100):
        (first if start % 200 else second).add(pa.array([*values[start : start + 100], None]))
    first.merge(pickle.loads(pickle.dumps(second)))  # noqa: S301
    assert dict(
        zip(first.table()["value"].to_pylist(), first.table()["rows"].to_pylist(), strict=True)
    ) == Counter(values)
    fit = [
        (-count, value)
        for value, count in Counter(values).items()
        if count >= 2 and value and not {"\n", "\r"} & set(value)
    ]
    assert first.most_frequent(2, 50) == tuple(value for _, value in sorted(fit)[:50])


def test_ties_are_in_the_order_of_code_points_and_nothing_is_no_value() -> None:
    counts = ValueCounts()
    counts.add(pa.array(["b", "é", "a", "😀", "\uffff", None, "", "x\ny"]))
    assert counts.most_frequent(1, 10) == ("a", "b", "é", "\uffff", "😀")
    assert counts.most_frequent(2, 10) == ()
    assert ValueCounts().most_frequent(1, 10) == ()


def test_memory_follows_the_distinct_values() -> None:
    counts = ValueCounts()
    for _ in range(2 * module._WAITING_BATCHES):
        counts.add(pa.array(["a", "b"]))
    assert len(counts._waiting) <= module._WAITING_BATCHES
    assert sorted(counts.table()["rows"].to_pylist()) == [2 * module._WAITING_BATCHES] * 2


def test_what_travels_is_the_table_once() -> None:
    """Arrow alone would send the whole table with each of its chunks."""
    counts = ValueCounts()
    counts.add(pa.array([f"value {number}" for number in range(200_000)]))
    table = counts.table()
    assert len(table["value"].chunks) > 1
    travels = pickle.dumps(counts, protocol=5)
    assert len(travels) < 1.2 * sum(len(f"value {number}") + 16 for number in range(200_000))
    assert pickle.loads(travels).table().equals(table)  # noqa: S301
