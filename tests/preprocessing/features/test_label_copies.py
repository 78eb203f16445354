"""Which columns are copies of a label, however they are cut into batches."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.features.label_copies import LabelCopies

LABELS = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=12)


def found(
    column: list[object], labels: list[float], cuts: tuple[int, ...] = ()
) -> list[tuple[str, str, str, str]]:
    """The copies in rows that are cut into batches, merged from the last one on."""
    batch = pa.record_batch({"column": pa.array(column), "label": pa.array(labels, pa.float32())})
    ends = [0, *sorted(cuts), len(labels)]
    parts = []
    for start, end in pairwise(ends):
        part = LabelCopies.of(["column"], ["label"])
        part.add(batch.slice(start, end - start))
        parts.append(part)
    last = parts.pop()
    for part in reversed(parts):
        last.merge(part)
    return list(last.found())


@given(
    LABELS,
    st.sampled_from([("1", "0"), ("Y", "N"), ("true", None), (None, "x"), (0.0, 1.0), ("0", "1")]),
    st.lists(st.integers(0, 12), max_size=3),
)
def test_a_copy_is_found_and_one_other_row_clears_the_column(
    labels: list[float], spelling: tuple[object, object], cuts: list[int]
) -> None:
    one, zero = spelling
    column = [one if label else zero for label in labels]
    inside = tuple(min(cut, len(labels)) for cut in cuts)
    copies = found(column, labels, inside)
    assert [pair[:2] for pair in copies] == [("column", "label")] * (len(set(labels)) == 2)
    wrong = int(np.random.default_rng(len(labels)).integers(len(labels)))
    labels = [1.0 - label if row == wrong else label for row, label in enumerate(labels)]
    if min(column.count(one), column.count(zero)) > 1:
        assert found(column, labels, inside) == []


def test_it_says_which_value_stands_where() -> None:
    assert found(["Y", "n", "N", "y"], [1, 0, 0, 1]) == [("column", "label", "y", "n")]
    assert found([None, "2024", None], [0, 1, 0]) == [("column", "label", "2024", "nothing")]


def test_values_that_are_missing_where_a_label_is_0_tell_it() -> None:
    column = [3.5, None, 7.0, None, 1.0]
    assert found(column, [1, 0, 1, 0, 1], (2,)) == [("column", "label", "a value", "nothing")]
    assert found(column, [0, 1, 0, 1, 0]) == [("column", "label", "nothing", "a value")]
    assert found(column, [1, 0, 1, 0, 0], (2,)) == []
    assert found([*column, None], [1, 0, 1, 0, 1, 1]) == []


def test_three_values_are_no_copy() -> None:
    assert found(["a", "b", "c", "a"], [1, 0, 0, 1]) == []
    assert found(["a", "b", "a", "c"], [1, 0, 1, 0], (2,)) == []
