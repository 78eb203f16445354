"""Vocabularies out of partitions: those that counting everything in one place gives, bit by bit."""

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.features.partitioned_counts import cut_by_hash, merge_runs
from preprocessing.features.value_counts import ValueCounts, as_bytes, from_bytes
from preprocessing.features.value_list import ValueList, as_lines

# Few letters, so that values recur; among them what no vocabulary holds, and letters whose order as
# code points is not that of UTF-16.
VALUES = st.text(st.sampled_from("abé\uffff😀\n\r"), max_size=3)


def counts_of(values: list[str]) -> ValueCounts:
    counts = ValueCounts()
    counts.add(pa.array(values, pa.string()))
    return counts


def blocks_of(table: pa.Table, size: int) -> Iterator[pa.Table]:
    for start in range(0, len(table), size):
        yield from from_bytes(as_bytes([table.slice(start, size)]))


@pytest.mark.parametrize("partitions", [1, 64])
@given(
    parts=st.lists(st.lists(VALUES, max_size=60), max_size=4),
    min_count=st.integers(1, 3),
    max_size=st.integers(1, 40),
    block=st.integers(1, 7),
)
def test_any_partitions_give_the_vocabulary_of_counting_in_one_place(
    partitions: int, parts: list[list[str]], min_count: int, max_size: int, block: int
) -> None:
    together = ValueCounts()
    of_partitions = [ValueCounts() for _ in range(partitions)]
    for values in parts:
        together.merge(counts_of(values))
        cut = cut_by_hash(counts_of(values).table(), partitions)
        for counts, table in zip(of_partitions, cut, strict=True):
            counts.add_counts(*from_bytes(as_bytes([table])))
    seen = [value for counts in of_partitions for value in counts.table()["value"].to_pylist()]
    assert len(seen) == len(set(seen))  # a value is in one partition
    runs = [blocks_of(counts.pruned(min_count, max_size), block) for counts in of_partitions]
    text = b"".join(as_lines(block["value"]) for block in merge_runs(runs, max_size))
    expected = together.most_frequent(min_count, max_size)
    assert text == as_lines(expected)
    assert ValueList.of_lines(text) == expected


def test_merging_reads_no_further_than_it_has_to() -> None:
    def endless(name: str) -> Iterator[pa.Table]:
        for number in range(10**6):
            assert number < 10, "too far"
            yield pa.table({"value": [f"{name}{number}"], "rows": [10**6 - number]})

    merged = [value for t in merge_runs([endless("a"), endless("b")], 5) for value in t["value"]]
    assert [value.as_py() for value in merged] == ["a0", "b0", "a1", "b1", "a2"]
