"""``tune.json``: what follows from trials, and damage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import InputError
from tests.trainer.conftest import one_line
from tests.trainer.tuning.made_search import search, trial
from trainer.tuning.results import best_by_epoch, read_result

FIGURES = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(epochs=st.lists(FIGURES, min_size=1, max_size=5))
def test_the_best_until_each_epoch(epochs: list[list[float]]) -> None:
    history = [{"epoch": number} for number, found in enumerate(epochs, 1) for _ in found]
    values = [value for found in epochs for value in found]
    expected = [max(map(max, epochs[: number + 1])) for number in range(len(epochs))]
    assert list(best_by_epoch(history, values)) == expected


@pytest.mark.parametrize("figure", [float("nan"), float("-inf")])
def test_a_figure_that_is_no_number_gives_no_curve(figure: float) -> None:
    assert best_by_epoch([{"epoch": 1}, {"epoch": 2}], [0.6, figure]) == ()


def test_the_best_trial_and_its_gain() -> None:
    assert (search().best, search().gain, search().job) == (None, None, None)
    found = search(
        trial(0, 0.6, 0.62),
        trial(1, 0.9, state="pruned"),
        trial(2, 0.65, 0.66),
        trial(3, 0.66),
        trial(4, state="failed"),
        trial(5, state="running"),
    )
    assert (found.best, found.job) == (2, "trials/2")  # of two equal ones the first
    assert found.gain == pytest.approx(0.04)
    assert [one.number for one in found.ended] == [0, 1, 2, 3, 4]
    ended = found.with_trial(trial(5, 0.7))
    assert (ended.best, len(ended.trials)) == (5, 6)
    assert search(trial(0, state="failed"), trial(1, 0.6)).gain is None


def test_it_is_read_as_it_was_written_and_damage_is_one_line(tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    found = search(trial(0, 0.6), trial(1, 0.61, state="pruned"))
    found.write(tmp_path)
    assert read_result(tmp_path) == found
    path = tmp_path / "tune.json"
    path.write_text(path.read_text().replace("0.61", "0.99"))
    with pytest.raises(InputError, match=r"tune\.json: damaged") as error:
        read_result(tmp_path)
    one_line(error)
