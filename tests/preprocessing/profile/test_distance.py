"""The population stability index: by hand, and what holds for any two distributions."""

from math import log

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.profile.distance import (
    BINS,
    bins_of_numbers,
    bins_of_texts,
    most_frequent,
    shares_of_numbers,
    shares_of_values,
    stability_index,
)

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)
TEXTS = st.lists(st.sampled_from([None, "", "a", "b", "c", "d"]), min_size=1)


def test_by_hand() -> None:
    by_hand = 0.25 * log(0.5 / 0.25) - 0.25 * log(0.5 / 0.75)
    assert stability_index([0.5, 0.5], [0.25, 0.75]) == pytest.approx(by_hand, abs=1e-6)


def test_a_share_of_nothing_counts_as_one_row_of_a_sample() -> None:
    assert stability_index([1.0, 0.0], [0.9, 0.1]) == pytest.approx(
        0.1 * log(1 / 0.9) + (0.1 - 1e-4) * log(0.1 / 1e-4), abs=1e-6
    )


@given(NUMBERS, NUMBERS, st.floats(0, 0.9), st.floats(0, 0.9))
def test_of_numbers_it_is_a_symmetric_distance(
    first: list[float], second: list[float], missing: float, later: float
) -> None:
    numbers = np.sort(first)
    bins = bins_of_numbers(numbers, missing)
    assert bins.boundaries is not None
    assert len(bins.shares) == len(bins.boundaries) + 2 <= BINS + 1
    assert sum(bins.shares) == pytest.approx(1.0, abs=1e-4)
    assert stability_index(bins.shares, bins.shares) == 0.0
    other = shares_of_numbers(bins.boundaries, np.sort(second), later)
    assert sum(other) == pytest.approx(1.0, abs=1e-4)
    distance = stability_index(bins.shares, other)
    assert distance == stability_index(other, bins.shares) >= 0.0


@given(TEXTS, TEXTS)
def test_of_values_shares_are_of_what_has_a_value(
    first: list[str | None], second: list[str | None]
) -> None:
    bins = bins_of_texts(pa.array(first, pa.string()), 0.25)
    present = [text for text in first if text]
    if not present:
        assert bins is None
        return
    assert bins is not None and bins.values is not None
    assert set(bins.values) == set(present)
    assert sum(bins.shares) == pytest.approx(1.0, abs=1e-4)
    assert bins.shares[-1] == 0.25
    other = shares_of_values(bins.values, pa.array(second, pa.string()), 0.25)
    new = [text for text in second if text and text not in present]
    there = [text for text in second if text]
    if there:
        assert other[-2] == pytest.approx(0.75 * len(new) / len(there), abs=1e-4)


def test_ids_have_no_distance() -> None:
    ids = pa.array([f"id{number}" for number in range(1_000)])
    assert bins_of_texts(ids, 0.0) is None
    with_a_head = pa.concat_arrays([ids, pa.array(["often"] * 1_000)])
    assert bins_of_texts(with_a_head, 0.0) is not None


def test_ties_of_frequent_values_are_in_the_order_of_values() -> None:
    found = most_frequent(pa.array(["b", "a", "c", "c", None, ""]), 2)
    assert list(found.items()) == [("c", 0.5), ("a", 0.25)]


def test_a_value_of_many_rows_has_a_bin_of_its_own() -> None:
    numbers = np.sort(np.concatenate([np.zeros(600), np.arange(1.0, 401.0)]))
    bins = bins_of_numbers(numbers, 0.0)
    assert bins.shares[0] == 0.6
    moved = shares_of_numbers(bins.boundaries or (), np.zeros(1_000), 0.0)
    assert stability_index(bins.shares, moved) > 0.25
