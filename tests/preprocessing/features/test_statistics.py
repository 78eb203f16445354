"""Fitting: the same bits in any order, and values against NumPy and arithmetic by hand."""

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Experiment, InputError, parse_experiment
from preprocessing.features import numbers as module
from preprocessing.features.fitted import Fitted
from preprocessing.features.statistics import Statistics, fit
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from tests.configs import TASKS_AND_SPLITS

CONFIG = (
    """
name: shop
data: {timestamp: time, request: request, user: user}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  item: {kind: categorical, side: item, vocabulary: {min_count: 2, max_size: 3}}
  city: {kind: categorical, side: user, hash_buckets: 10}
  tags: {kind: list, side: item, vocabulary: {}}
  history: {kind: list, side: user, shares: item}
  price: {kind: numeric, side: item}
  orders: {kind: numeric, side: user, log1p: true}
  stock: {kind: numeric, side: item, quantile_buckets: 4}
  age: {kind: numeric, side: item, log1p: true, quantile_buckets: 10}
"""
)
EXPERIMENT = parse_experiment(CONFIG)


def batch_of(experiment: Experiment = EXPERIMENT, **columns: list[Any]) -> pa.RecordBatch:
    """A validated batch; columns that are not given are null, labels 0 and 1 in turn."""
    size = len(next(iter(columns.values())))
    kinds = {name: column.kind for name, column in raw_columns(experiment).items()}
    defaults = {
        "click": [float(row % 2) for row in range(size)],
        "order": [0.0] * (size - 1) + [1.0],
        "time": [1] * size,
    }
    arrays = {
        name: pa.array(columns.get(name, defaults.get(name, [None] * size)), ARROW_TYPES[kind])
        for name, kind in kinds.items()
    }
    return pa.RecordBatch.from_pydict(arrays)


def fitted_on(*batches: pa.RecordBatch) -> Fitted:
    statistics = Statistics.empty(EXPERIMENT)
    for batch in batches:
        statistics.add(batch)
    return fit(EXPERIMENT, statistics)


def random_batches() -> list[pa.RecordBatch]:
    random = np.random.default_rng(5)

    def numbers(size: int) -> list[float | None]:
        scaled = random.gamma(1.0, 10.0 ** random.integers(-12, 15), size)
        return [None if random.random() < 0.1 else float(np.float32(value)) for value in scaled]

    def words(size: int) -> list[str]:
        return [f"w{random.integers(20)}" for _ in range(size)]

    sizes = [1, 2, 7, 30, 31, 64, 100, 3]
    return [
        batch_of(
            item=words(size),
            tags=[words(int(random.integers(4))) for _ in range(size)],
            price=numbers(size),
            orders=numbers(size),
            stock=[float(random.integers(5)) for _ in range(size)],
            age=numbers(size),
        )
        for size in sizes
    ]


BATCHES = random_batches()


@pytest.mark.parametrize("sample", [20, 100_000])
@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(len(BATCHES))),
    groups=st.lists(st.integers(0, 3), min_size=8, max_size=8),
    data=st.data(),
)
def test_any_order_of_adds_and_merges_gives_the_same_bits(
    sample: int, order: list[int], groups: list[int], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SAMPLE", sample)
        parts = [Statistics.empty(EXPERIMENT) for _ in range(4)]
        for index in order:
            parts[groups[index]].add(BATCHES[index])
        while len(parts) > 1:
            first = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
            second = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
            parts.append(first.merge(pickle.loads(pickle.dumps(second))))  # noqa: S301 - what Beam does between workers
        assert parts[0].rows == sum(batch.num_rows for batch in BATCHES)
        assert fit(EXPERIMENT, parts[0]).files() == fitted_on(*BATCHES).files()


def test_moments_against_numpy() -> None:
    moments = fitted_on(*BATCHES).moments
    for name, function, precision in (
        ("price", np.asarray, 1e-12),
        ("orders", np.log1p, 1e-6),
    ):  # logarithms have 24 bits
        values = function(
            np.array(
                [
                    value
                    for batch in BATCHES
                    for value in batch.column(name).to_pylist()
                    if value is not None
                ]
            )
        )
        np.testing.assert_allclose(moments[name], (values.mean(), values.std()), rtol=precision)


def test_moments_keep_the_sign_of_negative_numbers_through_log1p() -> None:
    mean, deviation = fitted_on(batch_of(orders=[None, -np.expm1(2.0), np.expm1(4.0)])).moments[
        "orders"
    ]
    assert mean == pytest.approx(1.0, rel=1e-6)
    assert deviation == pytest.approx(3.0, rel=1e-6)


def test_moments_of_a_small_spread_around_a_large_mean() -> None:
    values = np.array([1e5, 1e5 + 1, 1e5 + 2], np.float32)
    mean, deviation = fitted_on(
        batch_of(price=[float(value) for value in values[:1]]), batch_of(price=values[1:].tolist())
    ).moments["price"]
    assert (mean, deviation) == (1e5 + 1, pytest.approx(np.sqrt(2 / 3), rel=1e-9))


def test_the_largest_numbers_do_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    mean, deviation = fitted_on(batch_of(price=[largest, -largest, 0.0])).moments["price"]
    assert (mean, deviation) == (0.0, pytest.approx(largest * np.sqrt(2 / 3)))


@pytest.mark.parametrize("value", [0.0, 7.5, -1e30])
def test_a_constant_column(value: float) -> None:
    fitted = fitted_on(batch_of(price=[value] * 50, stock=[value] * 50))
    assert fitted.moments["price"] == (float(np.float32(value)), 1.0)
    outputs = Transform(EXPERIMENT, fitted).apply_batch(
        batch_of(price=[value, value], stock=[value, None])
    )
    assert outputs["feature/price"].tolist() == [0.0, 0.0]
    same, missing = outputs["feature/stock"].tolist()
    assert missing == 0
    assert same > 0


def test_an_empty_column() -> None:
    fitted = fitted_on(batch_of(price=[None, None]))
    assert fitted.vocabularies == {"item": (), "tags": ()}
    assert fitted.moments == {"price": (0.0, 1.0), "orders": (0.0, 1.0)}
    assert fitted.boundaries == {"stock": (), "age": ()}
    outputs = Transform(EXPERIMENT, fitted).apply_batch(
        batch_of(item=["a", None], price=[2.0, None], stock=[2.0, None])
    )
    assert outputs["feature/item"].tolist() == [1, 0]
    assert outputs["feature/price"].tolist() == [2.0, 0.0]
    assert outputs["feature/stock"].tolist() == [1, 0]


def test_vocabularies_are_by_frequency_then_value_and_cut_by_count_and_size() -> None:
    first = batch_of(item=["b", "a", "c", "c", "once", None, "e", "e", "d", "d"])
    second = batch_of(item=["b", "c", "a", "", None])
    assert fitted_on(first, second).vocabularies["item"] == (
        "c",
        "a",
        "b",
    )  # d and e are cut: 3 at most; 'once': 2 at least


def test_lists_count_every_element() -> None:
    fitted = fitted_on(batch_of(tags=[["x", "x", "y"], [], None, ["y", "x", "", None]]))
    assert fitted.vocabularies["tags"] == ("x", "y")


def test_a_shared_list_has_no_vocabulary_of_its_own_and_adds_nothing_to_the_other() -> None:
    fitted = fitted_on(batch_of(item=["a", "a"], history=[["b", "b"], ["b"]]))
    assert fitted.vocabularies == {"item": ("a",), "tags": ()}


@pytest.mark.parametrize("value", ["a\nb", "\n", "a\r", "\r\n"])
def test_values_that_a_line_cannot_hold_stay_out_of_vocabulary(value: str) -> None:
    fitted = fitted_on(batch_of(item=[value, value, "a", "a"], tags=[[value], [], [], []]))
    assert fitted.vocabularies == {"item": ("a",), "tags": ()}
    ids = Transform(EXPERIMENT, fitted).apply_batch(batch_of(item=[value, "a"]))["feature/item"]
    assert ids.tolist() == [1, 2]


def test_quantile_buckets_hold_equal_shares() -> None:
    values = [float(value) for value in np.random.default_rng(0).permutation(1000)]
    fitted = fitted_on(batch_of(stock=values, age=values))
    transform = Transform(EXPERIMENT, fitted)
    outputs = transform.apply_batch(batch_of(stock=values, age=values))
    for name, buckets in (("stock", 4), ("age", 10)):
        assert len(fitted.boundaries[name]) == buckets - 1
        shares = np.bincount(outputs[f"feature/{name}"], minlength=buckets + 1) / 1000
        assert shares[0] == 0
        np.testing.assert_allclose(shares[1:], 1 / buckets, atol=0.002)


def test_quantile_buckets_of_skewed_data() -> None:
    values = [0.0] * 950 + [float(value) for value in range(1, 51)]
    boundaries = fitted_on(batch_of(stock=values, age=values)).boundaries
    # Nearly all rows have one value: it has a bucket of its own, and the rest share the others.
    assert boundaries["stock"] == (1.0, 18.0, 35.0)
    assert list(boundaries["age"]) == sorted(set(boundaries["age"]))
    assert len(boundaries["age"]) == 9


@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 5.0, -3.0]) | st.floats(-9, 9), min_size=2)
)
def test_a_number_that_varies_leaves_buckets_that_vary(values: list[float]) -> None:
    values = [float(np.float32(value)) for value in values]
    nobody = [0.0] * len(values)
    batch = batch_of(stock=values, price=values, click=nobody, order=nobody)
    fitted = fitted_on(batch)
    outputs = Transform(EXPERIMENT, fitted).apply_batch(batch)
    for name in ("stock", "price"):
        assert (len(set(outputs[f"feature/{name}"].tolist())) > 1) == (len(set(values)) > 1)
    assert len(fitted.boundaries["stock"]) < 4


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e9])
@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6])
def test_numbers_of_any_scale_are_standardised(scale: float, offset: float) -> None:
    drawn = scale * (offset + np.random.default_rng(0).standard_normal(1_000))
    values = [float(value) for value in drawn.astype(np.float32)]
    mean, deviation = fitted_on(batch_of(price=values)).moments["price"]
    assert mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9 * scale)
    assert deviation == pytest.approx(np.std(values), rel=1e-6)
    assert fitted_on(batch_of(price=[values[0]] * 7)).moments["price"][1] == 1.0


def test_a_list_s_vocabulary_is_of_what_is_read() -> None:
    short = parse_experiment(CONFIG, ["features.tags.max_length=2"])
    statistics = Statistics.empty(short).add(
        batch_of(short, tags=[["a", "b", "never read"], ["c"], [], ["b", "a", "d"]])
    )
    assert fit(short, statistics).vocabularies["tags"] == ("a", "b", "c")


def test_quantiles_of_a_sample_stay_near_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLE", 2_000)
    values = np.random.default_rng(0).gamma(1.0, 10.0, 20_000).astype(np.float32)
    parts = [
        batch_of(stock=[float(value) for value in part]) for part in np.split(np.sort(values), 20)
    ]
    boundaries = fitted_on(*parts).boundaries["stock"]
    ranks = [np.mean(values < boundary) for boundary in boundaries]
    np.testing.assert_allclose(ranks, [0.25, 0.5, 0.75], atol=0.04)


@pytest.mark.parametrize(
    ("columns", "column", "label"),
    [
        ({"price": [0.0, 1.0, 0.0, 1.0]}, "price", "click"),
        ({"stock": [0.0, 0.0, 0.0, 1.0]}, "stock", "order"),
        ({"item": ["0", "1", "0", "1"]}, "item", "click"),
        ({"item": ["0", "true", "False", "1.0"]}, "item", "click"),
        ({"price": [1.0, 0.0, 1.0, 0.0]}, "price", "click"),
        ({"item": ["N", "Y", "N", "Y"]}, "item", "click"),
        ({"city": [None, None, None, "berlin"]}, "city", "order"),
    ],
)
def test_a_column_equal_to_a_label_is_refused_by_both_names(
    columns: dict[str, list[Any]], column: str, label: str
) -> None:
    with pytest.raises(
        InputError, match=f"column '{column}' equals label '{label}' on all 4 pre-training rows"
    ):
        fitted_on(batch_of(**columns))


@pytest.mark.parametrize(
    "prices", [[0.0, 1.0, None, 1.0], [0.0, 1.0, 0.0, 0.5], [1.0, 0.0, 1.0, 1.0]]
)
def test_a_column_almost_equal_to_a_label_is_a_feature(prices: list[float | None]) -> None:
    assert fitted_on(batch_of(price=prices)).moments["price"][0] != 0.0


def test_one_batch_without_the_label_frees_the_column() -> None:
    leak, sound = batch_of(price=[0.0, 1.0]), batch_of(price=[3.0, 4.0])
    merged = Statistics.empty(EXPERIMENT).add(leak).merge(Statistics.empty(EXPERIMENT).add(sound))
    assert fit(EXPERIMENT, merged).moments["price"][0] == 2.0


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to fit the transform on"):
        fit(EXPERIMENT, Statistics.empty(EXPERIMENT))
