"""Crossed features: ids by hand, both ways to them bit for bit, and what a config may not say."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from configs import Experiment, InputError, parse_experiment
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform, transform_outputs
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
  user_item: {kind: cross, side: item, columns: [user, item], hash_buckets: 1_000_003, dimension: 3}
  user: {kind: categorical, side: user, vocabulary: {}}
  three: {kind: cross, side: item, columns: [item, user, city], hash_buckets: 5}
"""
)
EXPERIMENT = parse_experiment(CONFIG)
FITTED = Fitted(
    settings=Fitted.settings_of(EXPERIMENT),
    vocabularies={"user": ("anna", "7")},
    moments={},
    boundaries={},
)
TRANSFORM = Transform(EXPERIMENT, FITTED)
ROWS: list[dict[str, str | None]] = [
    {"user": "anna", "item": "i1", "city": "x"},
    {"user": "ann", "item": "ai1", "city": "x"},  # the same letters, joined
    {"user": "i1", "item": "anna", "city": "x"},  # the other way round
    {"user": None, "item": "i1", "city": "x"},
    {"user": "anna", "item": "", "city": "x"},
    {"user": "anna", "item": "i1", "city": None},
    {"user": "é\0", "item": " \u2028", "city": "\t"},
    {"user": "anna", "item": "i1", "city": "y"},
]
NAMES = ("user", "item", "city")
BATCH = pa.RecordBatch.from_pydict(
    {name: pa.array([row[name] for row in ROWS], ARROW_TYPES["string"]) for name in NAMES}
)


def tensors() -> dict[str, tf.Tensor]:
    return {name: tf.constant([row[name] or "" for row in ROWS], tf.string) for name in NAMES}


def test_an_id_is_one_and_the_hash_of_the_joined_values() -> None:
    ids = TRANSFORM.features(tensors())["user_item"].numpy()
    expected = [
        1 + tf.strings.to_hash_bucket_fast(text, 1_000_003).numpy()
        for text in ("anna\x1fi1", "ann\x1fai1", "i1\x1fanna")
    ]
    assert ids[:3].tolist() == expected
    assert len(set(expected)) == 3
    assert ids[3:5].tolist() == [0, 0]
    assert ids[5] == ids[7] == ids[0] > 0  # the city is no part of it
    assert ids.dtype == np.int32


def test_a_cross_is_missing_where_one_of_its_columns_is() -> None:
    ids = TRANSFORM.features(tensors())["three"].numpy()
    assert (ids == 0).tolist() == [False, False, False, True, True, True, False, False]
    assert ids.max() <= 5


def test_batches_and_the_graph_give_the_same_bits() -> None:
    arrays, outputs = TRANSFORM.apply_batch(BATCH), TRANSFORM.features(tensors())
    for name in ("user_item", "three"):
        np.testing.assert_array_equal(arrays[f"feature/{name}"], outputs[name].numpy())
        assert arrays[f"feature/{name}"].dtype == np.int32


def test_a_saved_transform_gives_the_same_ids(tmp_path: Path) -> None:
    module = tf.Module()
    module.transform = TRANSFORM
    function = tf.function(
        lambda user, item, city: TRANSFORM.features({"user": user, "item": item, "city": city})
    )
    spec = {name: tf.TensorSpec([None], tf.string, name=name) for name in NAMES}
    tf.saved_model.save(
        module,
        str(tmp_path),
        signatures={"serving_default": function.get_concrete_function(**spec)},
    )
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](**tensors())
    np.testing.assert_array_equal(served["user_item"], TRANSFORM.features(tensors())["user_item"])


def test_features_whose_columns_are_not_all_given_are_left_out() -> None:
    assert set(TRANSFORM.features({"user": tf.constant(["anna"])})) == {"user"}
    assert set(
        TRANSFORM.features({name: column for name, column in tensors().items() if name != "city"})
    ) == {"user", "user_item"}


def test_the_table_is_as_large_as_the_config_says() -> None:
    outputs = transform_outputs(EXPERIMENT, FITTED)
    assert [
        (outputs[name].kind, outputs[name].size, outputs[name].table)
        for name in ("user_item", "three")
    ] == [
        ("id", 1_000_004, "user_item"),
        ("id", 6, "three"),
    ]


def test_a_column_is_of_the_side_of_a_feature_of_its_own() -> None:
    sides = {name: column.side for name, column in raw_columns(EXPERIMENT).items() if column.served}
    assert sides == {"user": "user", "item": "item", "city": "item"}


def changed(text: str, replacement: str) -> Experiment:
    assert text in CONFIG
    return parse_experiment(CONFIG.replace(text, replacement))


@pytest.mark.parametrize(
    ("text", "replacement", "message"),
    [
        ("[user, item]", "[user]", r"features\.user_item.*columns.*at least 2"),
        ("[user, item]", "[user, user]", "'columns' names 'user' twice"),
        ("[user, item]", "[user, click]", "column 'click' is a label"),
        ("[user, item]", "[user, time]", "column 'time' is read as .* elsewhere"),
        ("[user, item]", "[user, a-b]", "column 'a-b' cannot name an input"),
        ("hash_buckets: 5", "hash_buckets: 2147483647", "hash_buckets.*less than 2147483647"),
        ("hash_buckets: 5", "vocabulary: {}", "hash_buckets"),
        ("hash_buckets: 5", "hash_buckets: 5, column: user", "column"),
    ],
)
def test_what_a_cross_cannot_be(text: str, replacement: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        changed(text, replacement)
    assert "\n" not in str(error.value)
