"""Encodings of numbers, against what the papers say, worked out in NumPy."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import itertools

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import parse_experiment
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.feature_kind import Constants
from preprocessing.features.fitted import Fitted
from preprocessing.features.kinds.registry import features_of
from tests.configs import TASKS_AND_SPLITS
from trainer.backbone.layers.number_encoding import Periodic, PiecewiseLinear, SoftBuckets

CONFIG = (
    "name: x\ndata: {timestamp: time, request: request, user: user}\n"
    + TASKS_AND_SPLITS
    + "features:\n  price: {kind: numeric, side: item, encoding: piecewise_linear, bins: 4}\n"
)
EXPERIMENT = parse_experiment(CONFIG)
NUMBERS = st.floats(-1e6, 1e6, width=32)


def by_the_paper(value: float | None, edges: list[float], pieces: int) -> list[float]:
    """Equation 1 of Gorishniy et al. 2022, the ends cut; and whether the number is missing."""
    if value is None:
        return [0.0] * pieces + [1.0]
    filled = [
        min(max((value - low) / (high - low), 0.0), 1.0) for low, high in itertools.pairwise(edges)
    ]
    return filled + [0.0] * (pieces - len(filled) + 1)


@settings(deadline=None, max_examples=60)
@given(seen=st.lists(NUMBERS, max_size=40), asked=st.lists(st.none() | NUMBERS, min_size=1))
def test_a_number_fills_the_pieces_below_it(seen: list[float], asked: list[float | None]) -> None:
    feature = features_of(EXPERIMENT)["price"]
    statistic = feature.statistic()
    assert statistic
    statistic.add(pa.RecordBatch.from_pydict({"price": pa.array(seen, pa.float32())}))
    found = statistic.fit()
    assert found.boundaries is not None
    edges = list(found.boundaries)
    assert edges == sorted(set(edges))
    assert len(edges) <= 5
    fitted = Fitted.of(EXPERIMENT, {"price": found})
    batch = pa.RecordBatch.from_pydict({"price": pa.array(asked, pa.float32())})
    constants = Constants(fitted, {}, {})
    (position,) = feature.batch(BatchColumns(batch), constants).values()
    encoded = PiecewiseLinear(4)(tf.constant(position)).numpy()
    expected = [by_the_paper(value, edges, 4) for value in asked]
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


def test_waves_have_the_frequencies_that_are_learned() -> None:
    layer = Periodic(3, seed=1)
    numbers = np.array([-2.0, 0.0, 0.7], np.float32)
    encoded = layer(tf.constant(numbers)).numpy()
    angles = 2 * np.pi * numbers[:, np.newaxis] * layer.weights[0].numpy()
    expected = np.concatenate([np.sin(angles), np.cos(angles), numbers[:, np.newaxis]], axis=1)
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


def test_soft_buckets_add_up_and_move() -> None:
    layer = SoftBuckets(5, seed=1)
    encoded = layer(tf.constant([-10.0, 0.0, 10.0])).numpy()
    np.testing.assert_allclose(encoded.sum(axis=1), 1.0, atol=1e-6)
    assert np.abs(encoded[0] - encoded[2]).max() > 0.1


@pytest.mark.parametrize(
    "layer", [PiecewiseLinear(4), Periodic(3, seed=5), SoftBuckets(6, seed=5)], ids=str
)
def test_a_layer_comes_back_from_its_config(layer: tf.keras.layers.Layer) -> None:
    number = tf.constant([0.5, -1.0])
    first = layer(number)
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(again(number), first)  # seeds are part of it
    assert layer.compute_output_shape((2,)) == tuple(first.shape)
