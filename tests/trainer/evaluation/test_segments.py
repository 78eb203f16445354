"""Which rows are a segment's."""

from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs import InputError
from tests.trainer.conftest import one_line
from trainer.data.dataset import Dataset
from trainer.data.raw_columns import RawColumns
from trainer.evaluation.segments import MOST_VALUES, Segments, most_frequent, quartiles
from trainer.kernels.kernel import Rows

NUMBERS = arrays(
    np.float32,
    st.integers(0, 60),
    elements=st.one_of(st.just(np.nan), st.integers(-3, 3), st.floats(-1e6, 1e6, width=32)),
)


def assert_parts(found: dict[str, Rows], rows: int) -> None:
    """Every row is in one segment, and no segment is empty."""
    everything = np.concatenate([np.empty(0, int), *found.values()])
    assert sorted(everything) == list(range(rows))
    assert all(len(inside) for inside in found.values())


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 300))
def test_the_most_frequent_values_of_these_rows_stand_alone(
    seed: int, values: int, rows: int
) -> None:
    random = np.random.default_rng(seed)
    dictionary = [f"v{value:02}" for value in range(values)]
    codes = np.minimum(random.geometric(0.1, rows) - 1, values).astype(np.int32)
    found = most_frequent(codes, dictionary)
    assert_parts(found, rows)
    counts = Counter(dictionary[code - 1] for code in codes if code)
    expected = sorted(counts, key=lambda value: (-counts[value], value))
    shown = [name for name in found if name not in ("other", "missing")]
    assert shown == expected[:MOST_VALUES]
    assert all(len(found[name]) == counts[name] for name in shown)
    others = sum(counts[value] for value in expected[MOST_VALUES:])
    assert len(found.get("other", ())) == others
    assert len(found.get("missing", ())) == (codes == 0).sum()


def test_values_that_are_called_like_a_rest_stand_in_quotes() -> None:
    found = most_frequent(np.array([1, 2, 3, 0, 4]), ["other", "missing", '"other"', "b"])
    assert set(found) == {'"missing"', '"other"', '""other""', "b", "missing"}
    assert found["missing"].tolist() == [3]
    assert found['"missing"'].tolist() == [1]


@given(NUMBERS)
def test_quarters_are_ranges_in_order(numbers: npt.NDArray[np.float32]) -> None:
    found = quartiles(numbers)
    assert_parts(found, len(numbers))
    missing = found.pop("missing", np.empty(0, int))
    assert np.isnan(numbers[missing]).all()
    assert len(missing) == np.isnan(numbers).sum()
    assert len(found) <= 4
    ends = [(numbers[inside].min(), numbers[inside].max()) for inside in found.values()]
    assert all(high < low for (_, high), (low, _) in pairwise(ends))
    for name, (low, high) in zip(found, ends, strict=True):
        parts = [np.float32(part) for part in name.split(" to ")]
        assert (parts[0], parts[-1]) == (low, high)


def test_quarters_of_different_numbers_are_equal() -> None:
    numbers = np.random.default_rng(0).permutation(100).astype(np.float32)
    found = {name: len(inside) for name, inside in quartiles(numbers).items()}
    assert found == {"0 to 24": 25, "25 to 49": 25, "50 to 74": 25, "75 to 99": 25}


def test_a_column_that_a_dataset_does_not_keep_is_named_with_what_to_do(dataset: Dataset) -> None:
    raw = RawColumns(dataset.folder, dataset.manifest)
    with pytest.raises(InputError, match=r"evaluation\.segments reads column 'rating'") as error:
        Segments(raw, ["scene", "rating"])
    assert "a config that has this column in data.topic_columns" in one_line(error)


def test_a_column_of_lists_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawColumns(dataset.folder, dataset.manifest)
    monkeypatch.setattr(raw, "form", lambda _: "strings")
    with pytest.raises(InputError, match="column 'scene' holds lists") as error:
        Segments(raw, ["scene"])
    one_line(error)
