"""The gates of every body, by name, and how they mix the experts of a row."""

import keras
import numpy as np
import pytest

from configs import Experiment
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import variant
from trainer.backbone.expert_gates import expert_gates, gate_weights
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.model import build_backbone
from trainer.data.dataset import Dataset

EXPERTS = {"experts": 2, "shared_experts": 3, "levels": 2}
BODIES = {
    "mmoe": "[]",
    "ple": "[]",
    "pepnet": "[scene]",
    "shared_bottom": "[]",
    "esmm": "[]",
    "star": "[scene]",
    "hamur": "[scene]",
}


def experiment_of(body: str) -> Experiment:
    more = [f"backbone.{name}={value}" for name, value in EXPERTS.items()] if body == "ple" else []
    return variant(f"backbone.body={body}", f"backbone.topics={BODIES[body]}", *more)


@pytest.mark.parametrize("body", BODIES)
def test_every_mixture_is_known_with_as_many_experts_as_it_has(body: str, dataset: Dataset) -> None:
    experiment = experiment_of(body)
    model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
    softmax = keras.activations.get("softmax")
    mixtures = {
        layer.name: layer.units
        for layer in model.layers
        if isinstance(layer, keras.layers.Dense) and layer.activation is softmax
    }
    gates = expert_gates(experiment.backbone, experiment.tasks.towers)
    assert {name: len(gate.experts) for name, gate in gates.items()} == mixtures
    assert bool(gates) == (body in ("mmoe", "ple", "pepnet"))


def test_the_experts_of_ple_are_named_in_the_order_in_which_they_are_mixed() -> None:
    experiment = experiment_of("ple")
    gates = expert_gates(experiment.backbone, ("view", "buy"))
    shared = ("shared 1", "shared 2", "shared 3")
    assert gates["buy_gate_1"] == ("buy", ("buy 1", "buy 2", *shared))
    every = ("view 1", "view 2", "buy 1", "buy 2", *shared)
    assert gates["shared_gate_0"] == (None, every)
    assert "shared_gate_1" not in gates


def test_weights_are_those_by_which_the_model_mixes(
    experiment: Experiment, dataset: Dataset, frozen: keras.Model
) -> None:
    features = feature_tensors(next(dataset.batches("test", 200)), frozen)
    gates = expert_gates(experiment.backbone, experiment.tasks.towers)
    weights = gate_weights(frozen, gates, features)
    parts = {name: frozen.get_layer(name).output for name in ("experts", *gates)} | {
        "representation": frozen.output["representation"]
    }
    found = keras.Model(frozen.input, parts)(features, training=False)
    for place, name in enumerate(gates):
        assert weights[name].shape == (200, experiment.backbone.experts)
        np.testing.assert_allclose(weights[name].sum(axis=1), 1.0, rtol=1e-5)
        mixed = (found["experts"].numpy() * weights[name][..., np.newaxis]).sum(axis=1)
        np.testing.assert_allclose(
            mixed, found["representation"].numpy()[:, place], rtol=1e-4, atol=1e-5
        )
