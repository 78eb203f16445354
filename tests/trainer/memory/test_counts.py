"""Counts by key against a reference that looks at every pair of rows, one by one."""

from math import exp, log, log1p

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.memory import Memory
from trainer.memory.counts import (
    Counts,
    LabelledRows,
    border_before,
    border_moment,
    counts_at,
    rates_when_read,
)

HOUR = 3_600
TASKS = 2


def memory(**settings: float) -> Memory:
    given = {"refresh_hours": 2, "half_life_hours": 5.0, "least_rows": 0.0, **settings}
    return Memory.model_validate({"keys": {"user": ["user"], "shop": ["shop", "scene"]}, **given})


@st.composite
def logs(draw: st.DrawFn) -> LabelledRows:
    """Up to forty rows of two days, of a few requests and keys, some without a key."""
    size = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    clicks = rng.integers(0, 2, size)
    weights = rng.integers(1, 4, size).astype(float)
    counts = [weights, weights * clicks, weights * clicks, weights * clicks * rng.integers(0, 2)]
    return LabelledRows(
        1_600_000_000 + rng.integers(0, 48 * HOUR, size),
        rng.integers(0, 12, size),
        {"user": rng.integers(0, 4, size), "shop": rng.integers(-2, 3, size)},
        np.stack(counts, axis=1).astype(np.float64),
    )


MEMORIES = st.builds(
    memory,
    refresh_hours=st.sampled_from([1, 3, 24]),
    half_life_hours=st.sampled_from([0.5, 6.0, 400.0]),
    delay_hours=st.sampled_from([0.0, 0.5, 7.0]),
    prior_rows=st.sampled_from([0.5, 10.0]),
)


def border(settings: Memory, moment: float) -> int:
    return int((moment - settings.refresh_offset_hours * HOUR) // (settings.refresh_hours * HOUR))


def weight(settings: Memory, rows: LabelledRows, row: int, at: int) -> float:
    """What a row counts at a border: nothing before it is known."""
    known = border(settings, rows.moments[row] + settings.delay_hours * HOUR) + 1
    if known > at:
        return 0.0
    return float(2.0 ** (-(at - known) * settings.refresh_hours / settings.half_life_hours))


def summed(settings: Memory, rows: LabelledRows, at: int, chosen: list[int]) -> np.ndarray:
    total = np.zeros(2 * TASKS)
    for row in chosen:
        total += weight(settings, rows, row, at) * rows.counts[row]
    return total


def log_odds(rate: float) -> float:
    rate = min(max(rate, 1e-9), 1 - 1e-9)
    return log(rate / (1 - rate))


def read_by(settings: Memory, rows: LabelledRows, row: int) -> list[float]:
    """What the paper and pencil say that a row reads."""
    request = rows.moments[rows.requests == rows.requests[row]]
    at = border(settings, int(request.min()))
    every = summed(settings, rows, at, list(range(len(rows.moments))))
    found = []
    for hashes in rows.keys.values():
        same = [] if not hashes[row] else np.flatnonzero(hashes == hashes[row]).tolist()
        own = summed(settings, rows, at, same)
        for task in range(TASKS):
            prior = every[TASKS + task] / every[task] if every[task] > 0 else 0.5
            prior = min(max(prior, 1e-4), 1 - 1e-4)
            rate = (own[TASKS + task] + settings.prior_rows * prior) / (
                own[task] + settings.prior_rows
            )
            found.append(log_odds(rate) - log_odds(prior) if own[task] > 0 else 0.0)
        found.append(log1p(own[0]))
    return found


@given(rows=logs(), settings=MEMORIES, seed=st.integers(0, 99))
def test_a_row_reads_what_was_known_before_its_request(
    rows: LabelledRows, settings: Memory, seed: int
) -> None:
    asked = np.random.default_rng(seed).random(len(rows.moments)) < 0.7
    read = rates_when_read(settings, None, rows, asked)
    assert read.dtype == np.float32
    expected = [read_by(settings, rows, row) for row in np.flatnonzero(asked)]
    np.testing.assert_allclose(
        read, np.reshape(expected, read.shape).astype(np.float32), rtol=1e-4, atol=1e-5
    )


@given(rows=logs(), settings=MEMORIES)
def test_no_row_reads_a_label_of_its_own_request_or_of_a_later_one(
    rows: LabelledRows, settings: Memory
) -> None:
    row = len(rows.moments) // 2
    start = rows.moments[rows.requests == rows.requests[row]].min()
    later = (rows.requests == rows.requests[row]) | (rows.moments >= start)
    other = LabelledRows(
        rows.moments, rows.requests, rows.keys, np.where(later[:, None], 7.0, rows.counts)
    )
    asked = np.arange(len(rows.moments)) == row
    first, second = (rates_when_read(settings, None, each, asked) for each in (rows, other))
    np.testing.assert_array_equal(first, second)


@given(rows=logs(), settings=MEMORIES, cut=st.integers(0, 48))
def test_what_is_stored_at_a_border_goes_on_as_if_all_rows_were_there(
    rows: LabelledRows, settings: Memory, cut: int
) -> None:
    middle = border(settings, 1_600_000_000 + cut * HOUR)
    end = middle + 60 // settings.refresh_hours
    counted = rows.known_at(settings) <= middle
    first = counts_at(settings, None, rows, middle)
    second = counts_at(settings, first, rows, end)
    at_once = counts_at(settings, None, rows, end)
    np.testing.assert_allclose(second.total, at_once.total, rtol=1e-9)
    for name, found in at_once.keys.items():
        np.testing.assert_array_equal(second.keys[name].hashes, found.hashes)
        np.testing.assert_allclose(second.keys[name].sums, found.sums, rtol=1e-9)
        assert not np.any(found.hashes == 0)
    asked = (rows.read_at(settings) >= middle) & ~counted
    if asked.any():
        going_on = rates_when_read(settings, first, rows, asked)
        np.testing.assert_allclose(
            going_on, rates_when_read(settings, None, rows, asked), rtol=1e-4, atol=1e-5
        )


def test_rows_that_a_base_counts_are_not_counted_again_however_old_they_are() -> None:
    """Sixty days before a base, with a half-life of an hour: their decay is beyond all floats."""
    settings = memory(refresh_hours=1, half_life_hours=1.0, delay_hours=1.0)
    hours = np.arange(0, 24 * 60, 7)
    size = len(hours)
    keys = {name: np.ones(size, np.int64) for name in ("user", "shop")}
    counts = np.tile([1.0, 1.0, 1.0, 0.0], (size, 1))
    rows = LabelledRows(hours * HOUR, np.arange(size), keys, counts)
    base = counts_at(settings, None, rows, int(hours[-2]))
    asked = rows.read_at(settings) >= base.border
    assert asked.sum() == 2
    read = rates_when_read(settings, base, rows, asked)
    at_once = rates_when_read(settings, None, rows, asked)
    np.testing.assert_allclose(read, at_once, rtol=1e-4, atol=1e-5)


def test_a_row_that_reads_before_its_base_is_refused() -> None:
    """It would read labels of its own request, which began before."""
    settings = memory(refresh_hours=1)
    counts = np.ones((2, 4))
    keys = {"user": np.ones(2, np.int64), "shop": np.ones(2, np.int64)}
    rows = LabelledRows(np.array([10 * HOUR - 60, 10 * HOUR + 60]), np.zeros(2, int), keys, counts)
    base = counts_at(settings, None, rows, 10)
    with pytest.raises(ValueError, match="a row reads border 9, before that of the counts, 10"):
        rates_when_read(settings, base, rows, np.array([False, True]))


@given(rows=logs(), order=st.randoms())
def test_the_order_of_rows_does_not_count(rows: LabelledRows, order: object) -> None:
    settings = memory()
    mixed = np.arange(len(rows.moments))
    order.shuffle(mixed)  # type: ignore[attr-defined]
    keys = {name: hashes[mixed] for name, hashes in rows.keys.items()}
    other = LabelledRows(rows.moments[mixed], rows.requests[mixed], keys, rows.counts[mixed])
    asked = np.ones(len(mixed), bool)
    read = rates_when_read(settings, None, rows, asked)
    np.testing.assert_array_equal(rates_when_read(settings, None, other, asked), read[mixed])


@settings(max_examples=20)
@given(rows=logs())
def test_what_is_rare_is_forgotten_first(rows: LabelledRows) -> None:
    every = counts_at(memory(), None, rows, border(memory(), 1_600_200_000)).keys["user"]
    few = memory(most_keys=2)
    kept = counts_at(few, None, rows, border(few, 1_600_200_000)).keys["user"]
    assert len(kept.hashes) == min(2, len(every.hashes))
    assert np.all(np.diff(kept.hashes) > 0)
    if len(every.hashes):
        assert kept.sums[:, 0].min() >= np.sort(every.sums[:, 0])[-2:].min()
    bound = float(np.median(every.sums[:, 0])) if len(every.hashes) else 1.0
    some = memory(least_rows=bound)
    found = counts_at(some, None, rows, border(some, 1_600_200_000)).keys["user"]
    np.testing.assert_array_equal(found.hashes, every.hashes[every.sums[:, 0] >= bound])


@pytest.mark.parametrize("offset", [0, 15])
def test_borders_begin_where_the_offset_says(offset: int) -> None:
    settings = memory(refresh_hours=24, refresh_offset_hours=offset)
    day = 86_400 * 19_000 + offset * HOUR
    before, at = border_before(settings, np.array([day - 1, day]))
    assert at == before + 1
    assert border_moment(settings, int(at)) == day


def test_a_long_log_neither_overflows_nor_loses_its_newest_rows() -> None:
    """Ten years in hours, a half-life of one: the decay of the first is below all floats."""
    settings = memory(refresh_hours=1, half_life_hours=1.0)
    hours = np.arange(0, 87_600, 50)
    size = len(hours)
    rows = LabelledRows(
        hours * HOUR,
        np.arange(size),
        {"user": np.ones(size, np.int64), "shop": np.ones(size, np.int64)},
        np.tile([1.0, 1.0, 1.0, 0.0], (size, 1)),
    )
    counts: Counts = counts_at(settings, None, rows, int(hours[-1]) + 1)
    assert counts.keys["user"].sums[0, 0] == pytest.approx(1.0)
    read = rates_when_read(settings, None, rows, np.ones(size, bool))
    assert np.isfinite(read).all()
    assert read[-1, 2] == pytest.approx(log1p(2.0**-49))
    assert exp(read[1, 2]) - 1 == pytest.approx(2.0**-49, rel=1e-3)
