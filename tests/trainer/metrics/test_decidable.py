"""When a task has too few outcomes for a figure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.decidable import in_words, too_few
from trainer.metrics.results import Outcomes

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 2)), max_size=30)


@given(ROWS, st.integers(0, 10))
def test_both_kinds_are_counted_among_rows_that_count(
    rows: list[tuple[bool, int]], minimum: int
) -> None:
    labels, weights = [row[0] for row in rows], [row[1] for row in rows]
    positives = sum(label and weight > 0 for label, weight in rows)
    negatives = sum(not label and weight > 0 for label, weight in rows)
    found = too_few(labels, weights, minimum)
    assert (found is None) is (positives >= minimum and negatives >= minimum)
    if found:
        assert found == Outcomes(positives=positives, negatives=negatives)


def test_nothing_is_undecidable_where_no_minimum_is_asked() -> None:
    assert too_few(np.zeros(0), np.zeros(0), 0) is None
    assert too_few(np.ones(3), np.ones(3), 0) is None


@pytest.mark.parametrize(
    ("positives", "negatives", "words"),
    [
        (4, 1_000, "undecidable (4 positives)"),
        (1_000, 1, "undecidable (1 negative)"),
        (0, 0, "undecidable (0 positives)"),
        (1_234, 5_000, "undecidable (1,234 positives)"),
    ],
)
def test_the_kind_of_which_there_are_fewer_is_said(
    positives: int, negatives: int, words: str
) -> None:
    assert in_words(Outcomes(positives=positives, negatives=negatives)) == words
