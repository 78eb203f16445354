"""Early stopping: which score is the best, and when there were enough that are not."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.training.early_stopping import EarlyStopping

SCORES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("scores", "improved", "best", "when", "stopped"),
    [
        ([0.5], [True], 0.5, 0, False),
        ([0.5, 0.6, 0.55], [True, True, False], 0.6, 1, False),
        ([0.5, 0.5, 0.4], [True, False, False], 0.5, 0, True),  # equal is no improvement
        ([0.5, 0.4, 0.6, 0.5], [True, False, True, False], 0.6, 2, False),
        ([None, None, None], [True, True, True], None, 2, False),  # the newest, for ever
        ([None, 0.5, 0.4], [True, True, False], 0.5, 1, False),
        ([0.5, math.nan, math.nan], [True, False, False], 0.5, 0, True),
        ([math.nan, math.nan, 0.1], [True, False, True], 0.1, 2, False),
    ],
)
def test_by_hand(
    scores: list[float | None],
    improved: list[bool],
    best: float | None,
    when: int,
    stopped: bool,
) -> None:
    stopping = EarlyStopping(patience=2)
    assert [stopping.update(score, moment) for moment, score in enumerate(scores)] == improved
    assert (stopping.best, stopping.when, stopping.stopped) == (best, when, stopped)


@given(SCORES, st.integers(1, 4))
def test_it_stops_where_the_last_scores_are_all_no_better_than_the_best(
    scores: list[float], patience: int
) -> None:
    stopping = EarlyStopping(patience)
    for moment, score in enumerate(scores):
        stopping.update(score, moment)
    assert stopping.best == max(scores)
    assert stopping.when == scores.index(max(scores))
    assert stopping.stopped is (len(scores) - 1 - stopping.when >= patience)


@given(SCORES)
def test_without_patience_it_never_stops(scores: list[float]) -> None:
    stopping = EarlyStopping()
    for moment, score in enumerate(scores):
        stopping.update(score, moment)
        assert not stopping.stopped


@given(SCORES, SCORES, st.integers(1, 4))
def test_it_goes_on_from_json_as_if_nothing_had_happened(
    before: list[float], after: list[float], patience: int
) -> None:
    undisturbed = EarlyStopping(patience)
    for moment, score in enumerate(before):
        undisturbed.update(score, moment)
    resumed = EarlyStopping(**json.loads(json.dumps(asdict(undisturbed))))
    assert resumed == undisturbed
    for moment, score in enumerate(after, len(before)):
        assert resumed.update(score, moment) is undisturbed.update(score, moment)
    assert resumed == undisturbed
