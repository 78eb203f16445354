"""Distances and limits: by hand where nothing is drawn, and as rates where something is."""

import math

import numpy as np
import pytest

from operations.drift.chance import GROUPS, Counts, change, distance


def spread(*counts: int) -> Counts:
    """Counts that are the same in every group."""
    return np.tile(np.asarray(counts, np.int64), (GROUPS, 1))


def drawn(generator: np.random.Generator, rows: int, shares: list[float]) -> Counts:
    """Independent rows in random groups."""
    groups = np.bincount(generator.integers(GROUPS, size=rows), minlength=GROUPS)
    return np.stack([generator.multinomial(count, shares) for count in groups])


def test_a_distance_by_hand() -> None:
    found = distance(spread(5_000, 5_000), spread(7_500, 2_500), 0.01)
    expected = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert found.found == pytest.approx(expected, abs=1e-4)
    # Groups that are all alike leave nothing to chance.
    assert found.by_chance == 0.0 and found.real
    assert found.beyond_chance == found.found


def test_a_change_by_hand() -> None:
    found = change(spread(1, 3), spread(3, 1), 0.01)
    assert found == (0.25, 0.75, 0.0) and found.real
    assert not change(spread(1, 3), spread(2, 6), 0.01).real


@pytest.mark.parametrize("rows", [200, 20_000])
def test_chance_exceeds_the_limits_as_often_as_the_level_says(rows: int) -> None:
    generator = np.random.default_rng(rows)
    shares, level, runs = [0.4, 0.3, 0.2, 0.1], 0.1, 300
    far = moved = 0
    for _ in range(runs):
        first, other = (drawn(generator, size, shares) for size in (rows, rows // 2))
        far += distance(first, other, level).real
        two = [np.stack([of[:, 0], of[:, 1:].sum(axis=1)], axis=1) for of in (first, other)]
        moved += change(two[0], two[1], level).real
    # 30 of 300 are expected, +- 5 (standard error)
    assert 10 <= far <= 52 and 10 <= moved <= 52


def test_rows_of_one_user_are_no_independent_draws() -> None:
    """Groups that are each of one kind: half of them chosen by chance say much of themselves."""
    alike = np.zeros((GROUPS, 2), np.int64)
    alike[::2, 0] = alike[1::2, 1] = 1_000
    other = alike.copy()
    other[:4] = other[:4, ::-1]
    one = distance(alike, other + 0, 0.01)
    assert not distance(alike, alike[::-1], 0.01).real and not one.real
    by_rows = distance(spread(500, 500), spread(520, 480), 0.01)
    assert by_rows.real and by_rows.found < one.by_chance


def test_a_bin_that_is_empty_by_chance_is_not_far() -> None:
    first, other = np.zeros((GROUPS, 2), np.int64), np.zeros((GROUPS, 2), np.int64)
    first[:20, 0] = other[:19, 0] = 1
    other[19, 1] = 1
    found = distance(first, other, 0.01)
    assert found.found < 0.15 and not found.real
