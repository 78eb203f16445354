"""Several steps in one call against the same steps one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import variant
from trainer.backbone.model import build_backbone, intercepts_of
from trainer.data.dataset import Dataset
from trainer.training.backbone_step import Learner


def learner_of(experiment: Experiment, dataset: Dataset) -> Learner:
    """Always the same."""
    keras.utils.set_random_seed(7)
    return Learner(
        build_backbone(experiment, transform_outputs(experiment, dataset.fitted)), experiment
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_in_one_call_are_the_steps_one_by_one(dataset: Dataset, precision: str) -> None:
    experiment = variant(f"backbone.precision={precision}")
    batches = dataset.shuffled_batches(experiment.pretrain.split, 100, seed=3).take(5).cache()
    one_by_one, together = (learner_of(experiment, dataset) for _ in range(2))
    expected = [float(one_by_one.step(batch)) for batch in batches]
    iterator, losses, rows = iter(batches), list[float](), 0
    for count in (2, 3):
        several, learned = together.steps(iterator, tf.constant(count))
        losses += several.numpy().tolist()
        rows += int(learned)
    assert together.steps.experimental_get_tracing_count() == 1
    assert rows == sum(len(batch["row/weight"]) for batch in batches)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    for ours, theirs in zip(together.model.weights, one_by_one.model.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_intercepts_are_no_part_of_what_is_learned(dataset: Dataset) -> None:
    experiment = variant()
    batches = dataset.shuffled_batches(experiment.pretrain.split, 100, seed=3).take(3).cache()
    plain, shifted = (learner_of(experiment, dataset) for _ in range(2))
    intercepts = intercepts_of(shifted.model)
    assert intercepts is not None
    intercepts.assign([3.0, -2.0])
    for batch in batches:
        np.testing.assert_allclose(shifted.step(batch), plain.step(batch), rtol=1e-5)
    np.testing.assert_array_equal(intercepts, [3.0, -2.0])
