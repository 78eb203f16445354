"""The one transform: values by hand, and Beam's way to them against the SavedModel's, bit for
bit.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2

from configs import Experiment, parse_experiment
from configs.topics import Topic
from configs.values import FIRST_SECOND, LAST_SECOND
from preprocessing.features.fitted import Fitted
from preprocessing.features.numbers import signed_log1p
from preprocessing.features.statistics import Statistics, fit
from preprocessing.features.topic import topic_index
from preprocessing.features.transform import Output, Transform, vocabulary_sizes
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from preprocessing.validation.coercion import coerce
from serving.wire.row_codec import encode_rows
from serving.wire.tensor_protos import decode
from tests.configs import TASKS_AND_SPLITS

CONFIG = (
    """
name: shop
data: {timestamp: time, request: request, user: user}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  user: {kind: categorical, side: user, vocabulary: {}, oov_buckets: 3}
  item: {kind: categorical, side: item, vocabulary: {}}
  city: {kind: categorical, side: user, hash_buckets: 7}
  history: {kind: list, side: user, shares: item, max_length: 3}
  tags: {kind: list, side: item, vocabulary: {}, oov_buckets: 2, max_length: 2}
  marks: {kind: list, side: item, hash_buckets: 5, max_length: 1}
  price: {kind: numeric, side: item, log1p: true}
  rating: {kind: numeric, side: item}
  plain: {kind: numeric, side: item, standardise: false}
  stock: {kind: numeric, side: item, quantile_buckets: 4}
  age: {kind: numeric, side: item, log1p: true, quantile_buckets: 100}
  here: {kind: timestamp, side: context, column: time, time_zone: America/New_York}
  there: {kind: timestamp, side: context, column: time, time_zone: "UTC+05:45", parts: [hour]}
"""
)
EXPERIMENT = parse_experiment(CONFIG)
VOCABULARY = (
    "anna",
    "7",
    "é",
    "\u2028",
    "a\0b",
    " anna",
    "\tx",
    "anna\x85",
    "-1",
    "\U0001f35c" * 20,
    "x" * 4096,
)
FITTED = Fitted(
    settings=Fitted.settings_of(EXPERIMENT),
    vocabularies={"user": VOCABULARY, "item": VOCABULARY[::-1], "tags": VOCABULARY[:3]},
    moments={"price": (1.5, 2.5), "rating": (3.7, 0.3), "plain": (9.9, 9.9)},
    boundaries={"stock": (-1.0, 0.0, 10.0), "age": tuple(float(value) for value in range(99))},
)
TRANSFORM = Transform(EXPERIMENT, FITTED)
SERVED = {name: column for name, column in raw_columns(EXPERIMENT).items() if column.served}
SPECS = {
    "string": tf.TensorSpec([None], tf.string),
    "strings": tf.TensorSpec([None, None], tf.string),
    "number": tf.TensorSpec([None], tf.float32),
    "timestamp": tf.TensorSpec([None], tf.int64),
}

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]


class Saved:
    """A transform saved as a SavedModel, loaded again, and called as a client calls it."""

    def __init__(self, transform: Transform, folder: Path) -> None:
        module = tf.Module()
        module.transform = transform
        specs = {
            name: tf.TensorSpec(SPECS[column.kind].shape, SPECS[column.kind].dtype, name=name)
            for name, column in raw_columns(transform.experiment).items()
            if column.served
        }

        def apply(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {f"feature/{name}": tensor for name, tensor in transform.features(raw).items()}

        tf.saved_model.save(
            module,
            str(folder),
            signatures={"serving_default": tf.function(apply).get_concrete_function(specs)},
        )
        self._module = tf.saved_model.load(str(folder))
        self._function = self._module.signatures["serving_default"]
        proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signature = proto.meta_graphs[0].signature_def["serving_default"]

    def __call__(self, tensors: dict[str, Any]) -> Arrays:
        """The outputs of raw tensors."""
        return {name: tensor.numpy() for name, tensor in self._function(**tensors).items()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(TRANSFORM, tmp_path_factory.mktemp("transform"))


def batch_of(rows: list[Row], experiment: Experiment = EXPERIMENT) -> pa.RecordBatch:
    """Validated rows as Beam has them; a moment is never missing there."""
    arrays = {}
    for name, column in raw_columns(experiment).items():
        if column.served:
            values = [row.get(name) for row in rows]
            arrays[name] = pa.array(
                [value or 0 for value in values] if name == "time" else values,
                ARROW_TYPES[column.kind],
            )
    return pa.RecordBatch.from_pydict(arrays)


def tensors_of(rows: list[Row], width: int = 1) -> dict[str, tf.Tensor]:
    """The same rows as a client sends them: missing text is empty, missing numbers are NaN,
    lists are padded to the longest.
    """
    tensors = {}
    for name, column in SERVED.items():
        values = [row.get(name) for row in rows]
        if column.kind == "strings":
            width = max([width, *(len(value or ()) for value in values)])
            tensors[name] = tf.constant(
                [[*(value or ()), *[""] * (width - len(value or ()))] for value in values],
                tf.string,
            )
        elif column.kind == "string":
            tensors[name] = tf.constant([value or "" for value in values], tf.string)
        elif column.kind == "number":
            tensors[name] = tf.constant(
                [math.nan if value is None else value for value in values], tf.float32
            )
        else:
            tensors[name] = tf.constant([value or 0 for value in values], tf.int64)
    return tensors


def assert_same_bits(received: Arrays, expected: Arrays) -> None:
    assert received.keys() == expected.keys()
    for name, array in expected.items():
        other = received[name]
        assert (other.dtype, other.shape) == (array.dtype, array.shape), name
        same = other.view(np.int32) == array.view(np.int32)
        assert same.all(), f"{name}: {other[~same][:3]} is not {array[~same][:3]}"


PATIENT = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a busy machine is no defect

HOSTILE_TEXT = [
    "a\nb",
    "anna\n",
    "anna\r",
    "\r\n",
    "\0",
    "anna\0",
    "Anna",
    "anna ",
    "home",
    "search",
    "25",
    "\ufeff",
    "x" * 4095,
    "y" * 4096,
]
PRESENT = st.sampled_from([*VOCABULARY, *HOSTILE_TEXT]) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=20
)
TEXT = st.none() | PRESENT
LISTS = st.none() | st.lists(PRESENT, max_size=6)
EXTREMES = [
    0.0,
    -0.0,
    1e-45,
    -1e-45,
    1.1754942e-38,
    1.1754944e-38,
    3.4028235e38,
    -3.4028235e38,
    -1.0,
    10.0,
    3.7,
    math.nextafter(1.0, 2.0),
]
FINITE = st.sampled_from([float(np.float32(value)) for value in EXTREMES]) | st.floats(
    width=32, allow_nan=False, allow_infinity=False
)
NUMBERS = st.none() | FINITE | st.sampled_from([math.nan, math.inf, -math.inf])
COUNTS = st.none() | st.integers(-5, 3_000).map(float)
SECONDS = (
    st.integers(0, 4_102_444_800)
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 1_710_053_999, 1_710_054_000])
)
BY_KIND = {"string": TEXT, "strings": LISTS, "number": NUMBERS, "timestamp": SECONDS}
HOSTILE_ROWS = st.lists(
    st.fixed_dictionaries(
        {name: BY_KIND[column.kind] for name, column in SERVED.items()} | {"age": COUNTS}
    ),
    min_size=1,
    max_size=6,
)


@settings(PATIENT, max_examples=120)
@given(rows=HOSTILE_ROWS, size=st.integers(1, 100), width=st.integers(0, 9))
def test_beam_and_the_saved_model_give_the_same_bits(
    saved: Saved, rows: list[Row], size: int, width: int
) -> None:
    batch = (rows * size)[:size]
    assert_same_bits(saved(tensors_of(batch, width)), TRANSFORM.apply_batch(batch_of(batch)))


@settings(PATIENT, max_examples=40)
@given(rows=HOSTILE_ROWS, copies=st.integers(1, 16))
def test_a_row_alone_has_the_bits_it_has_in_a_batch(
    saved: Saved, rows: list[Row], copies: int
) -> None:
    together = TRANSFORM.apply_batch(batch_of(rows * copies))
    for index, row in enumerate(rows):
        expected = {name: array[index : index + 1] for name, array in together.items()}
        assert_same_bits(TRANSFORM.apply_batch(batch_of([row])), expected)
        assert_same_bits(saved(tensors_of([row])), expected)


def test_a_slice_of_a_batch_has_the_bits_it_has_in_the_batch() -> None:
    rows = [
        {"user": f"u{row}", "tags": ["x"] * (row % 4), "price": float(row), "time": row * 10_000}
        for row in range(20)
    ]
    whole = TRANSFORM.apply_batch(batch_of(rows))
    part = TRANSFORM.apply_batch(batch_of(rows).slice(5, 7))
    assert_same_bits(part, {name: array[5:12] for name, array in whole.items()})


LOGGED = {
    "string": TEXT | st.just("") | st.integers(-(10**6), 10**6) | st.booleans(),
    "strings": st.none()
    | st.lists(TEXT | st.just(""), max_size=6)
    | st.lists(st.none() | st.integers(0, 50), max_size=6),
    "number": st.none() | FINITE | st.integers(-5, 3_000) | st.booleans(),
    "timestamp": st.integers(631_152_000, 4_102_444_800)
    | st.datetimes(datetime(1990, 1, 1), datetime(2099, 1, 1)).map(datetime.isoformat),
}


@settings(PATIENT, max_examples=60)
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: LOGGED[column.kind] for name, column in SERVED.items()}),
        min_size=1,
        max_size=5,
    )
)
def test_a_logged_row_that_the_client_replays_gets_what_training_saw(
    saved: Saved, rows: list[Row]
) -> None:
    """From the raw JSON values on: Beam's reading of them against the client's."""
    arrays = {}
    for name, column in SERVED.items():
        values, problems = coerce([row[name] for row in rows], column.kind)
        assert not any(mask.any() for _, mask in problems)
        arrays[name] = values
    inputs = {
        name: tf.constant(decode(proto))
        for name, proto in encode_rows(saved.signature, rows).items()
    }
    assert_same_bits(saved(inputs), TRANSFORM.apply_batch(pa.RecordBatch.from_pydict(arrays)))


NUMBERS_ALONE = parse_experiment(
    CONFIG.split("features:")[0] + "features: {price: {kind: numeric, side: item, log1p: true}, "
    "age: {kind: numeric, side: item, log1p: true, quantile_buckets: 100}}"
)


def counting_to(count: int) -> pa.RecordBatch:
    """Rows whose price and age are 1, 2, 3, ..."""
    numbers = pa.array(range(1, count + 1), pa.float32())
    clicks = pa.array([row % 2 for row in range(count)], pa.float32())
    return pa.RecordBatch.from_pydict(
        {"price": numbers, "age": numbers, "click": clicks, "order": clicks}
    )


def test_buckets_of_logarithms_do_not_depend_on_the_batch() -> None:
    """Boundaries are values of the data: a logarithm whose last bit moved with the batch would
    put rows into another bucket.
    """
    rows = counting_to(600)
    transform = Transform(
        NUMBERS_ALONE, fit(NUMBERS_ALONE, Statistics.empty(NUMBERS_ALONE).add(rows))
    )
    together = transform.apply_batch(rows)["feature/age"]
    alone = [transform.apply_batch(rows.slice(row, 1))["feature/age"][0] for row in range(600)]
    np.testing.assert_array_equal(alone, together)


def test_a_logarithm_at_the_mean_does_not_depend_on_the_batch() -> None:
    """There the last bit of the logarithm is all that is left of it."""
    rows = counting_to(64)
    logarithms = signed_log1p(tf.range(1, 65, dtype=tf.float64)).numpy()
    for row, mean in enumerate(logarithms):
        fitted = Fitted(
            Fitted.settings_of(NUMBERS_ALONE), {}, {"price": (float(mean), 1.0)}, {"age": ()}
        )
        transform = Transform(NUMBERS_ALONE, fitted)
        alone = transform.apply_batch(rows.slice(row, 1))["feature/price"]
        assert alone[0] == transform.apply_batch(rows)["feature/price"][row]


def column(name: str, *values: Any) -> list[Any]:
    """A feature's outputs for values of its raw column."""
    outputs: list[Any] = TRANSFORM.apply_batch(
        batch_of([{RAW.get(name, name): value} for value in values])
    )[f"feature/{name}"].tolist()
    return outputs


RAW = {"here_hour": "time", "here_weekday": "time", "there_hour": "time"}


def test_ids_are_padding_then_out_of_vocabulary_then_the_vocabulary_in_order() -> None:
    assert column("user", None, "", *VOCABULARY) == [0, 0, *range(4, 4 + len(VOCABULARY))]
    assert column("item", *VOCABULARY) == [*range(1 + len(VOCABULARY), 1, -1)]
    unknown = column("user", *(f"unknown {index}" for index in range(200)))
    assert set(unknown) == {1, 2, 3}
    assert column("item", "unknown", "Anna", "anna\n", "anna\r", "anna\0") == [1] * 5


def test_hashed_ids_never_change() -> None:
    """They are stored in datasets and embedding tables: 1 + FarmHash Fingerprint64 modulo the
    number of buckets.
    """
    assert column("city", None, "", "a", "b", "c", "São Paulo", "x" * 4096) == [0, 0, 6, 3, 6, 1, 1]
    assert column("marks", ["a", "b"], [], None) == [[5], [0], [0]]


def test_a_list_shares_the_ids_of_its_feature_and_is_cut_or_padded() -> None:
    anna, seven = column("item", "anna", "7")
    lists = [["anna"], ["7", "anna"], ["7", "unknown", "anna", "7"], [], None]
    assert column("history", *lists) == [
        [anna, 0, 0],
        [seven, anna, 0],
        [seven, 1, anna],
        [0, 0, 0],
        [0, 0, 0],
    ]


def test_a_list_with_a_vocabulary_of_its_own() -> None:
    assert column("tags", ["anna", "7", "é"], ["é"]) == [[3, 4], [5, 0]]
    assert column("tags", ["-1", "anna"])[0][0] in (1, 2)


def test_numbers_are_logarithms_and_standard_scores_with_missing_at_the_mean() -> None:
    assert column("price", math.e - 1, None, -(math.e - 1)) == pytest.approx(
        [(1 - 1.5) / 2.5, 0.0, (-1 - 1.5) / 2.5], rel=1e-6
    )
    assert column("rating", 3.7, 4.0, 3.1, None) == pytest.approx(
        [0.0, 1.0, -2.0, 0.0], rel=1e-5, abs=1e-6
    )
    assert column("rating", 1e30, -1e30, math.inf, -math.inf, math.nan) == [
        10.0,
        -10.0,
        0.0,
        0.0,
        0.0,
    ]
    numbers = [float(np.float32(1e30)), -2.5]
    mean = float(np.float32(FITTED.moments["plain"][0]))
    assert column("plain", *numbers, None) == [*numbers, mean]
    older = Transform(EXPERIMENT, replace(FITTED, version=1)).apply_batch(
        batch_of([{"plain": None}])
    )
    assert older["feature/plain"].tolist() == [0.0], "what an older backbone has learned from"


def test_a_moment_that_no_log_may_hold_is_missing() -> None:
    second = int(datetime(2024, 1, 1, 5, tzinfo=UTC).timestamp())
    first, last = FIRST_SECOND, LAST_SECOND
    outside = [0, -1, first - 1, last + 1, second * 1_000, 2**62]
    hours = TRANSFORM.features({"time": tf.constant([second, first, last, *outside], tf.int64)})
    assert (hours["here_hour"].numpy() > 0).tolist() == [True] * 3 + [False] * len(outside)
    topic = Topic(column="time", hours={"night": "00-05"})
    index = topic_index(topic, tf.constant([second, *outside], tf.int64))
    assert index.numpy().tolist() == [1, *[0] * len(outside)]


def test_buckets_include_their_lower_boundary_and_0_is_missing() -> None:
    assert column("stock", -5.0, -1.0, -0.5, 0.0, 9.5, 10.0, 1e30, None, math.nan) == [
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        0,
        0,
    ]


def test_hour_and_weekday_in_each_features_own_zone() -> None:
    friday, sunday = (
        datetime(2024, 3, 8, 23, 30, tzinfo=UTC),
        datetime(2024, 3, 10, 7, 0, tzinfo=UTC),
    )  # New York: 18:30, and 03:00 after 01:59
    moments = [int(moment.timestamp()) for moment in (friday, sunday)]
    assert column("here_hour", *moments, moments[1] - 1, 0, -5, None) == [19, 4, 2, 0, 0, 0]
    assert column("here_weekday", *moments, 0) == [5, 7, 0]
    assert column("there_hour", *moments) == [6, 13]  # 05:15 and 12:45


def test_outputs_say_their_kind_table_size_and_length() -> None:
    size = len(VOCABULARY)
    assert TRANSFORM.outputs == {
        output.name: output
        for output in (
            Output("user", "user", "id", "user", 1 + 3 + size),
            Output("item", "item", "id", "item", 1 + 1 + size),
            Output("city", "city", "id", "city", 1 + 7),
            Output("history", "history", "ids", "item", 1 + 1 + size, 3),
            Output("tags", "tags", "ids", "tags", 1 + 2 + 3, 2),
            Output("marks", "marks", "ids", "marks", 1 + 5, 1),
            Output("price", "price", "number", "price"),
            Output("rating", "rating", "number", "rating"),
            Output("plain", "plain", "number", "plain"),
            Output("stock", "stock", "id", "stock", 5),
            Output("age", "age", "id", "age", 101),
            Output("here_hour", "here", "id", "here_hour", 25),
            Output("here_weekday", "here", "id", "here_weekday", 8),
            Output("there_hour", "there", "id", "there_hour", 25),
        )
    }
    assert vocabulary_sizes(TRANSFORM.outputs) == {
        name: output.size for name, output in TRANSFORM.outputs.items() if output.size
    }


@settings(PATIENT, max_examples=30)
@given(rows=HOSTILE_ROWS)
def test_every_output_is_what_its_description_says(rows: list[Row]) -> None:
    arrays = TRANSFORM.apply_batch(batch_of(rows))
    assert set(arrays) == {f"feature/{name}" for name in TRANSFORM.outputs}
    for name, output in TRANSFORM.outputs.items():
        array = arrays[f"feature/{name}"]
        assert array.shape == ((len(rows), output.length) if output.kind == "ids" else (len(rows),))
        if output.kind == "number":
            assert array.dtype == np.float32
            assert np.isfinite(array).all()
        else:
            assert array.dtype == np.int32
            assert ((array >= 0) & (array < output.size)).all()


def test_no_rows(saved: Saved) -> None:
    nothing = TRANSFORM.apply_batch(batch_of([]))
    assert {name: len(array) for name, array in nothing.items()} == dict.fromkeys(nothing, 0)
    empty = {
        name: tf.zeros([0] * SPECS[column.kind].shape.rank, SPECS[column.kind].dtype)
        for name, column in SERVED.items()
    }
    assert_same_bits(saved(empty), nothing)


def test_a_saved_transform_needs_none_of_the_files_it_was_made_from(tmp_path: Path) -> None:
    def outputs() -> Iterator[Arrays]:
        transform = Transform(EXPERIMENT, FITTED)
        yield transform.apply_batch(batch_of([{"user": "anna", "time": 1}]))
        saved = Saved(transform, tmp_path / "first")
        del transform
        (tmp_path / "first").rename(tmp_path / "moved")
        yield saved(tensors_of([{"user": "anna", "time": 1}]))

    expected, received = outputs()
    assert_same_bits(received, expected)
