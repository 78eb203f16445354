"""Which rows of a split are taken: whole users, or whole requests, at most so many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import InputError
from tests.trainer.conftest import one_line
from trainer.explanation.dataset_rows import sample_rows


@given(
    users=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    most=st.integers(9, 80),
    seed=st.integers(0, 5),
)
def test_users_are_whole_and_no_more_rows_than_asked_for(
    users: list[int], most: int, seed: int
) -> None:
    user = np.repeat(np.arange(len(users)), users)
    columns = {"row/user": user, "row/request": np.arange(len(user))}
    sample = sample_rows(columns, most, seed)
    if len(user) <= most:
        assert sample.drawn_by is None
        assert sample.places.tolist() == list(range(len(user)))
        return
    assert sample.drawn_by == "users"
    assert 0 < len(sample.places) <= most
    assert (np.diff(sample.places) > 0).all()
    taken = np.unique(user[sample.places])
    assert np.isin(user, taken).sum() == len(sample.places)


def test_where_a_user_has_too_many_rows_requests_are_whole() -> None:
    columns = {"row/user": np.zeros(60, int), "row/request": np.arange(60) // 4}
    sample = sample_rows(columns, 21, 0)
    assert sample.drawn_by == "requests"
    assert len(sample.places) == 20
    assert set(np.bincount(sample.places // 4)) <= {0, 4}


def test_fewer_rows_than_a_request_has_are_refused() -> None:
    columns = {"row/user": np.zeros(8, int), "row/request": np.zeros(8, int)}
    with pytest.raises(InputError, match="--rows: 3 are fewer than a request has") as error:
        sample_rows(columns, 3, 0)
    one_line(error)
