"""What is counted: the same bits in any order, against NumPy and by hand, also of hostile rows."""

import json
import pickle
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.profile import row_sample
from preprocessing.profile.counts import ProfileCounts, merge_counts
from preprocessing.profile.describe import describe_features, own_reference
from preprocessing.profile.number_sums import NumberSums
from tests.preprocessing.profile.profiles import (
    EXPERIMENT,
    SPLITS,
    batch_of,
    counts_of,
    features_of,
)


def random_batches() -> list[pa.RecordBatch]:
    random = np.random.default_rng(3)

    def words(size: int) -> list[str | None]:
        return [None if random.random() < 0.2 else f"w{random.integers(9)}" for _ in range(size)]

    def numbers(size: int) -> list[float | None]:
        scaled = random.gamma(1.0, 10.0 ** random.integers(-12, 15), size)
        return [None if random.random() < 0.1 else float(np.float32(value)) for value in scaled]

    return [
        batch_of(
            SPLITS[place % 3],
            user=words(size),
            city=words(size),
            device=words(size),
            history=[[word or "x" for word in words(int(random.integers(4)))] for _ in range(size)],
            price=numbers(size),
            stock=numbers(size),
        )
        for place, size in enumerate((40, 3, 1, 30, 31, 2, 64, 7))
    ]


BATCHES = random_batches()


def as_text(counts: ProfileCounts) -> str:
    """A profile's features, as they are written."""
    described = describe_features(EXPERIMENT, counts, own_reference(EXPERIMENT, counts))
    return json.dumps({name: found.model_dump(mode="json") for name, found in described.items()})


@pytest.mark.parametrize("sampled", [20, row_sample.SAMPLED])
@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(len(BATCHES))),
    groups=st.lists(st.integers(0, 3), min_size=8, max_size=8),
)
def test_any_order_of_merging_gives_the_same_bits(
    sampled: int, order: list[int], groups: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_sample, "SAMPLED", sampled)
        parts = counts_of(BATCHES)
        expected = merge_counts(parts)
        grouped = [merge_counts(parts[i] for i in order if groups[i] == n) for n in range(4)]
        travelled = [pickle.loads(pickle.dumps(part)) for part in grouped]  # noqa: S301 - what Beam does between workers
        assert as_text(merge_counts(travelled)) == as_text(expected)
        rows = {split: expected[split].sample.rows.num_rows for split in expected}
        assert rows == {split: min(sampled, found.rows) for split, found in expected.items()}


def values(column: str, split: str) -> list[Any]:
    own = [batch for place, batch in enumerate(BATCHES) if SPLITS[place % 3] == split]
    return [value for batch in own for value in batch.column(column).to_pylist()]


@pytest.mark.parametrize("split", SPLITS[:3])
def test_figures_against_numpy(split: str) -> None:
    features = features_of(*BATCHES)
    assert features["price"].splits.keys() == set(SPLITS[:3])
    for name in ("price", "stock"):
        found, every = features[name].splits[split], values(name, split)
        present = np.array([value for value in every if value is not None])
        assert found.missing == pytest.approx(1 - len(present) / len(every), abs=1e-6)
        assert found.mean == pytest.approx(present.mean(), rel=1e-12)
        assert found.deviation == pytest.approx(present.std(), rel=1e-9)
        assert (found.minimum, found.maximum) == (present.min(), present.max())
        assert found.quantiles is not None
        assert found.quantiles["0.5"] == np.quantile(present, 0.5, method="inverted_cdf")
    counted = Counter(value for value in values("city", split) if value is not None)
    total = counted.total()
    top = features["city"].splits[split].top
    assert top is not None
    assert list(top.items()) == [
        (value, pytest.approx(count / total, abs=1e-6))
        for value, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:5]
    ]
    lengths = np.array([len(found) for found in values("history", split)])
    history = features["history"].splits[split]
    assert history.mean == pytest.approx(lengths.mean())
    assert history.missing == pytest.approx(np.mean(lengths == 0), abs=1e-6)


def test_values_outside_the_vocabulary_are_counted_where_there_is_one() -> None:
    learned = batch_of(user=["a", "a", "b", None], city=["x", "y", "y", "y"], device=["p"] * 4)
    later = batch_of(
        "test", user=["a", "b", "c", "", None], history=[["a", "z", "z"], ["b"], [], None, ["a"]]
    )
    features = features_of(learned, later)
    assert features["user"].splits["pretrain"].out_of_vocabulary == pytest.approx(1 / 3, abs=1e-6)
    found = features["user"].splits["test"]
    assert (found.missing, found.out_of_vocabulary) == (0.4, pytest.approx(2 / 3, abs=1e-6))
    history = features["history"].splits["test"]  # two of each list are read: a z, b, a
    assert (history.missing, history.out_of_vocabulary) == (0.4, 0.5)
    assert features["city"].splits["pretrain"].out_of_vocabulary == 0.0
    assert features["device"].splits["pretrain"].out_of_vocabulary is None


def test_a_cross_is_its_values_together_and_missing_where_one_is() -> None:
    place = features_of(batch_of(city=["x", "x", None, "y"], device=["p", "p", "p", None]))["place"]
    found = place.splits["pretrain"]
    assert (found.missing, found.top, found.constant) == (0.5, {"x x p": 1.0}, "x x p")


@pytest.mark.parametrize("number", [0.0, -0.0, 7.5, 1e-45, 3.4028235e38, -3.4028235e38])
def test_a_constant_of_any_size_has_no_deviation(number: float) -> None:
    exact = float(np.float32(number))
    found = features_of(batch_of(price=[exact, None, exact]), batch_of(price=[exact]))["price"]
    described = found.splits["pretrain"]
    assert (described.mean, described.deviation, described.missing) == (exact, 0.0, 0.25)
    assert described.constant == f"{exact:g}"


def test_the_largest_numbers_do_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    found = features_of(batch_of(price=[largest, -largest]), batch_of(price=[0.0]))["price"]
    described = found.splits["pretrain"]
    assert described.mean == 0.0
    assert described.deviation == pytest.approx(largest * np.sqrt(2 / 3))


def test_what_is_no_number_is_missing() -> None:
    batch = batch_of(price=[float("nan"), float("inf"), 2.0])
    described = features_of(batch)["price"].splits["pretrain"]
    assert (described.mean, described.missing) == (2.0, pytest.approx(2 / 3, abs=1e-6))


@pytest.mark.parametrize("split", ["pretrain", "test"])
def test_one_row_without_any_value_is_described(split: str) -> None:
    for name, found in features_of(batch_of(user=["a", "a"]), batch_of(split, user=[None]))[
        "price"
    ].splits.items():
        assert (found.missing, found.mean, found.quantiles) == (1.0, None, None), name


def test_long_texts_and_lists_are_cut_in_the_sample() -> None:
    learned = batch_of(city=["c" * 4_000], history=[["h" * 4_000] * 500])
    (counts,) = counts_of([learned])
    assert counts["pretrain"].sample.rows.nbytes < 10_000
    history = describe_features(EXPERIMENT, counts, None)["history"].splits["pretrain"]
    assert history.mean == 500.0


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=6))
def test_sums_are_exact(batches: list[list[float]]) -> None:
    parts = [NumberSums.of(np.array(batch, np.float64)) for batch in batches]
    forward, backward = NumberSums(), NumberSums()
    for part in parts:
        forward = forward + part
    for part in reversed(parts):
        backward = part + backward
    assert forward == backward
    assert forward.count == sum(map(len, batches))
    if forward.count:
        assert forward.mean is not None
        truth = sum((Fraction(x) for batch in batches for x in batch), Fraction(0)) / forward.count
        largest = max(abs(x) for batch in batches for x in batch)
        assert forward.mean == pytest.approx(float(truth), rel=1e-9, abs=1e-12 * largest)
