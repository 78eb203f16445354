"""What a model reads, and what is permuted together: features, topics of a body, keys of memory."""

import keras
import numpy as np

from configs import Experiment
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import variant
from trainer.backbone.model import build_backbone, inference_model
from trainer.data.dataset import Dataset
from trainer.explanation.inputs import Input, inputs_of, memory_parts


def inputs_for(experiment: Experiment, dataset: Dataset) -> dict[str, Input]:
    outputs = transform_outputs(experiment, dataset.fitted)
    model = inference_model(build_backbone(experiment, outputs), experiment)
    found = inputs_of(experiment, experiment.topics, experiment.memory, model)
    return {one.name: one for one in found}


def test_every_part_of_the_transform_is_of_one_input(
    experiment: Experiment, dataset: Dataset, frozen: keras.Model
) -> None:
    found = inputs_of(experiment, experiment.topics, None, frozen)
    assert [one.name for one in found] == list(experiment.features)
    parts = [part for one in found for part in one.about.parts]
    outputs = transform_outputs(experiment, dataset.fitted)
    assert parts == [f"feature/{name}" for name in outputs]
    unread = [one.name for one in found if not one.about.read]
    assert unread == ["position"]  # the debias feature, which is read in training alone


def test_topics_of_a_body_go_with_the_features_of_their_column(dataset: Dataset) -> None:
    body = ("backbone.body=pepnet", "backbone.topics=[scene, period, region]")
    found = inputs_for(variant(*body, "topics.period.column=timestamp"), dataset)
    scene = found["scene+topic/scene"].about
    assert (scene.kind, scene.parts) == ("feature", ("feature/scene", "topic/scene"))
    time = found["time+topic/period"].about
    assert time.parts == ("feature/time_hour", "feature/time_weekday", "topic/period")
    assert not {"scene", "topic/scene", "time", "topic/period"} & set(found)


def test_keys_of_memory_stand_by_themselves_and_say_what_they_share(
    memory_experiment: Experiment, dataset: Dataset
) -> None:
    found = inputs_for(memory_experiment, dataset)
    keys = {name: one.about for name, one in found.items() if one.about.kind == "memory"}
    assert list(keys) == ["memory/user", "memory/shop", "memory/shop_scene"]
    assert keys["memory/shop_scene"].shares == ("shop_id", "scene", "memory/shop")
    assert found["user_id"].about.shares == ("memory/user",)
    assert found["rating"].about.shares == ()


def test_what_is_remembered_is_cut_by_key(memory_experiment: Experiment) -> None:
    memory = memory_experiment.memory
    assert memory is not None
    numbers = np.arange(2 * memory.width(2), dtype=np.float32).reshape(2, -1)
    parts = memory_parts(memory, numbers)
    assert list(parts) == ["memory/user", "memory/shop", "memory/shop_scene"]
    np.testing.assert_array_equal(parts["memory/shop"], numbers[:, 3:6])
    np.testing.assert_array_equal(np.concatenate(list(parts.values()), axis=1), numbers)
