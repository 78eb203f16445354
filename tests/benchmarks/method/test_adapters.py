"""Adapters that leave the backbone frozen: their equations, their start at zero-shot, and that
they train as kernels do.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.method.adapters.bottleneck import Bottleneck
from benchmarks.method.adapters.last_layers import LastLayers
from benchmarks.method.adapters.lora import LoRA
from benchmarks.method.adapters.prompt import Prompt
from benchmarks.method.adapters.towers import TowerLayer, towers_of
from configs import Experiment, InputError
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import domains_of, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import build_backbone, inference_model
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import score_rows
from trainer.losses import Objectives, learned_scores
from trainer.training import kernel_training
from trainer.training.batch_schedule import DomainData
from trainer.training.joint_kernel_trainer import JointTrainer

KERNEL = sum(
    int(np.prod(size))
    for size in KernelShape((6, 6, 1), "relu", residual=True, tap="representation")
    .variables()
    .values()
)
TASKS = ("ctr", "cvr")
ADAPTERS: dict[str, Callable[[keras.Model], Any]] = {
    "last layer": lambda backbone: LastLayers.of(backbone, TASKS),
    "last two layers": lambda backbone: LastLayers.of(backbone, TASKS, 2),
    "bottleneck": lambda backbone: Bottleneck.of(backbone, TASKS, KERNEL),
    "lora": lambda backbone: LoRA.of(backbone, TASKS, rank=3, alpha=1.5),
    "prompt": lambda backbone: Prompt.of(backbone, TASKS),
}
TOWER_ADAPTERS = {name: make for name, make in ADAPTERS.items() if name != "prompt"}
EVERY = pytest.mark.parametrize("make", ADAPTERS.values(), ids=ADAPTERS)


@pytest.fixture(scope="module")
def backbone(job_dir: Path, experiment: Experiment) -> keras.Model:
    return load_frozen(Job(job_dir), experiment)


@pytest.fixture(scope="module")
def dataset(dataset_dir: Path, experiment: Experiment) -> Dataset:
    return Dataset.open(dataset_dir, experiment)


@pytest.fixture(scope="module")
def windows(backbone: keras.Model, dataset: Dataset) -> dict[str, BackboneOutputs]:
    """The fine-tuning split by tap."""
    return {
        tap: run_frozen(backbone, dataset, "finetune", tap, tap)
        for tap in ("tower", "representation", "input")
    }


def untrained(dataset: Dataset, *settings: str) -> keras.Model:
    experiment = variant(*settings)
    return inference_model(
        build_backbone(experiment, transform_outputs(experiment, dataset.fitted)), experiment
    )


def somewhere(adapter: Any, seed: int = 5, scale: float = 0.3) -> dict[str, Any]:
    """Weights none of which is where it starts."""
    generator = np.random.default_rng(seed)
    start = adapter.initial(17, "all")
    return {
        name: values + scale * generator.standard_normal(values.shape, np.float32)
        for name, values in start.items()
    }


def tower(depth: int, weight: list[Any], bias: list[Any]) -> TowerLayer:
    """A layer whose second task has the first one's numbers times ten."""
    stacked = [np.array([values, 10.0 * np.array(values)], np.float32) for values in (weight, bias)]
    return TowerLayer(
        stacked[0], stacked[1], keras.activations.relu if depth == 0 else keras.activations.linear
    )


# h = (1, 2) -> relu((1 - 2, 1 + 2) + (0, 1)) = (0, 4) -> 4 * 3 + 5 = 17; the second task: relu(10
# (-1, 3) + (0, 10)) = (0, 40) -> 1250
TOWERS = (tower(0, [[1, 1], [-1, 1]], [0, 1]), tower(1, [[2], [3]], [5]))
TAPS, LOGITS = tf.constant([[[[1.0, 2.0]], [[1.0, 2.0]]]]), tf.constant([[[17.0], [1250.0]]])


def of_one(adapter: Any, weights: dict[str, Any], taps: Any = TAPS) -> list[float]:
    """Both logits of one row."""
    out = adapter.logits(
        {name: tf.constant(values[np.newaxis], tf.float32) for name, values in weights.items()},
        taps,
        LOGITS,
    )
    assert out.shape == (1, 2, 1)
    return [float(value) for value in out[0, :, 0]]


def test_last_layer_by_hand() -> None:
    adapter = LastLayers(TOWERS, 1)
    assert adapter.tap == "tower"
    hidden = tf.constant([[[[0.0, 4.0]], [[0.0, 40.0]]]])
    start = adapter.initial(0, "all")
    assert of_one(adapter, start, hidden) == pytest.approx([17, 1250], rel=1e-6)
    start["weight_0"][0, 1, 0] += 2**0.5 * 0.5  # W = 3.5 of the first task
    start["bias_0"][1, 0] -= 1.0
    assert of_one(adapter, start, hidden) == pytest.approx([19, 1249], rel=1e-6)


def test_last_two_layers_by_hand_and_one_of_three_runs_the_frozen_ones_before_it() -> None:
    for towers in (TOWERS, (tower(0, [[1, 0], [0, 1]], [0, 0]), *TOWERS)):
        adapter = LastLayers(towers, 2)
        assert adapter.tap == "representation"
        second = (
            1250.0 if len(towers) == 2 else 9350.0
        )  # second task of three layers: (10, 20) -> (0, 310) -> 30 * 310 + 50
        start = adapter.initial(0, "all")
        assert of_one(adapter, start) == pytest.approx([17, second], rel=1e-6)
        start["weight_0"][0, 0, 0] += (
            2**0.5 * 2
        )  # the first task's first hidden unit: 3 - 2 = 1, times 2
        start["bias_1"][0, 0] = 0.0
        assert of_one(adapter, start) == pytest.approx([14, second], rel=1e-6)


def test_bottleneck_by_hand() -> None:
    adapter = Bottleneck(TOWERS, 1)
    weights = adapter.initial(0, "all")
    assert of_one(adapter, weights) == pytest.approx([17, 1250], rel=1e-6)
    root = 2**0.5
    weights["down"] = np.array(
        [[[root], [root]], [[-root], [-root]]], np.float32
    )  # codes relu(3 - 1) = 2 and relu(-3 - 1) = 0
    weights["down_bias"] = np.array([[-1], [-1]], np.float32)
    weights["up"] = np.array([[[3, 1]], [[3, 1]]], np.float32)
    weights["up_bias"] = np.array([[0, 0], [1, 1]], np.float32)
    # first: h = (1, 2) + 2 (3, 1) = (7, 4) -> (3, 12) -> 6 + 36 + 5; second: h = (2, 3) -> 10 (0,
    # 6) -> 30 * 60 + 50
    assert of_one(adapter, weights) == pytest.approx([47, 1850], rel=1e-6)


def test_lora_by_hand() -> None:
    adapter = LoRA(TOWERS, rank=2, alpha=4.0)  # alpha / r = 2
    weights = adapter.initial(0, "all")
    assert of_one(adapter, weights) == pytest.approx([17, 1250], rel=1e-6)
    root = 2**0.5
    for name, values in weights.items():
        weights[name] = np.zeros_like(values)
    weights["a_0"][0] = np.array([[root, 0], [0, root]])
    weights["b_0"][0] = np.array(
        [[1, 0], [0, 0.5]]
    )  # first task's hidden layer: (-1, 4) + 2 (1, 1) = (1, 6) -> 2 + 18 + 5
    assert of_one(adapter, weights) == pytest.approx([25, 1250], rel=1e-6)
    weights["a_1"][1] = np.array([[0, 0], [root, 0]])
    weights["b_1"][1] = np.array([[0.25], [7]])  # second task's logit: 1250 + 2 * 40 * 0.25
    assert of_one(adapter, weights) == pytest.approx([25, 1270], rel=1e-6)


def test_prompt_is_added_to_what_the_body_reads(
    backbone: keras.Model, windows: dict[str, BackboneOutputs]
) -> None:
    """Against the backbone's own layers, in NumPy: mixture of experts (two of them, of two
    layers), tower, logit.
    """
    adapter, rows = Prompt.of(backbone, TASKS), np.arange(40)
    weights = somewhere(adapter, scale=1.0)

    def dense(x: Any, name: str) -> Any:
        kernel, bias = backbone.get_layer(name).get_weights()
        return x @ kernel + bias

    x = windows["input"].taps[rows, 0] + weights["prompt"]
    experts = backbone.get_layer("experts")(x).numpy()
    expected = []
    for task in TASKS:
        gate = np.exp(dense(x, f"{task}_gate"))
        mixed = np.einsum("be,bew->bw", gate / gate.sum(1, keepdims=True), experts)
        expected.append(
            dense(np.maximum(dense(mixed, f"{task}_tower_0"), 0), f"{task}_logit")[:, 0]
        )
    served = np.stack(expected, axis=1) + backbone.get_layer("intercepts").get_weights()[0]
    scored = score_rows(adapter, weights, windows["input"], rows)
    np.testing.assert_allclose(scored, served, rtol=1e-4, atol=1e-5)
    assert np.abs(scored - windows["input"].logits[rows]).max() > 0.01


@EVERY
def test_starts_exactly_at_zero_shot(
    make: Any, backbone: keras.Model, windows: dict[str, BackboneOutputs]
) -> None:
    adapter = make(backbone)
    data = windows[adapter.tap]
    rows = np.arange(len(data.logits))
    scored = score_rows(adapter, adapter.initial(17, "all"), data, rows)
    np.testing.assert_allclose(scored, data.logits, rtol=1e-5, atol=1e-5)
    assert np.abs(score_rows(adapter, somewhere(adapter), data, rows) - data.logits).max() > 0.01
    assert adapter.informed == ()


@pytest.mark.parametrize(
    "settings",
    [
        ("body=shared_bottom", "crosses=1"),
        ("body=esmm", "dropout=0.2"),
        ("body=ple", "tower_layers=[6,5]"),
    ],
)
def test_every_plain_body_can_be_adapted(settings: tuple[str, ...], dataset: Dataset) -> None:
    model = untrained(dataset, *(f"backbone.{setting}" for setting in settings))
    made = [make(model) for make in ADAPTERS.values()]
    for adapter in made:
        data = run_frozen(model, dataset, "test", adapter.tap, "test")
        scored = score_rows(adapter, adapter.initial(1, "all"), data, np.arange(100))
        np.testing.assert_allclose(scored, data.logits[:100], rtol=1e-5, atol=1e-5)


@EVERY
def test_many_groups_are_each_group_by_itself(
    make: Any, backbone: keras.Model, windows: dict[str, BackboneOutputs]
) -> None:
    adapter = make(backbone)
    data = windows[adapter.tap]
    kernels, parts = (
        [somewhere(adapter, seed) for seed in range(3)],
        [np.arange(7), np.arange(20, 27), np.arange(3, 10)],
    )
    out = adapter.logits(
        {name: tf.stack([kernel[name] for kernel in kernels]) for name in kernels[0]},
        tf.stack([data.taps[part].transpose(1, 0, 2) for part in parts]),
        tf.stack([data.logits[part].T for part in parts]),
    )
    for index, (kernel, part) in enumerate(zip(kernels, parts, strict=True)):
        np.testing.assert_allclose(
            out[index].numpy().T, score_rows(adapter, kernel, data, part), rtol=1e-5, atol=1e-5
        )


@EVERY
def test_parameters_are_counted_and_every_one_has_a_gradient(
    make: Any, backbone: keras.Model, windows: dict[str, BackboneOutputs]
) -> None:
    adapter = make(backbone)
    assert adapter.parameters == sum(values.size for values in adapter.initial(17, "all").values())
    data = windows[adapter.tap]
    weights = {name: tf.constant(values[np.newaxis]) for name, values in somewhere(adapter).items()}
    with tf.GradientTape() as tape:
        tape.watch(list(weights.values()))
        taps = tf.constant(data.taps[:500].transpose(1, 0, 2)[np.newaxis])
        out = tf.reduce_sum(
            adapter.logits(weights, taps, tf.constant(data.logits[:500].T[np.newaxis])) ** 2
        )
    for name, gradient in tape.gradient(out, weights).items():
        assert np.abs(gradient).max() > 0, name


def test_parameters_by_hand(backbone: keras.Model) -> None:
    """The small backbone: representation 6 wide, tower 6, body's input 53."""
    counted = {name: make(backbone).parameters for name, make in ADAPTERS.items()}
    assert KERNEL == 2 * (6 * 6 + 6 + 6 + 1) == 98
    assert counted == {
        "last layer": 2 * (6 + 1),
        "last two layers": 2 * (6 * 6 + 6 + 6 + 1),
        "bottleneck": 2 * (6 * 3 + 3 + 3 * 6 + 6),  # of widths 2, 3, 4: 64, 90, 116
        "lora": 2 * 3 * (6 + 6 + 6 + 1),
        "prompt": 53,
    }
    assert Bottleneck.of(backbone, TASKS, 1).width == 1


@pytest.mark.parametrize(
    "make", [ADAPTERS["bottleneck"], ADAPTERS["lora"]], ids=["bottleneck", "lora"]
)
def test_a_random_start_is_a_function_of_seed_and_domain(make: Any, backbone: keras.Model) -> None:
    adapter = make(backbone)
    start = adapter.initial(17, "all")
    np.testing.assert_equal(adapter.initial(17, "all"), start)
    for other in (adapter.initial(18, "all"), adapter.initial(17, "scene=home")):
        assert any((other[name] != values).any() for name, values in start.items())


@EVERY
def test_joint_training_equals_training_one_by_one(
    make: Any, backbone: keras.Model, windows: dict[str, BackboneOutputs]
) -> None:
    adapter = make(backbone)
    data = windows[adapter.tap]
    experiment = variant("finetune.rate_power=0", "finetune.regulariser=none")
    domains = [DomainData("all", np.arange(300)), DomainData("scene=home", np.arange(500, 600))]
    joint = JointTrainer(
        experiment, adapter, domains, [somewhere(adapter, seed) for seed in range(2)]
    )
    alone = JointTrainer(experiment, adapter, domains[1:], [somewhere(adapter, 1)])
    for step in range(3):
        joint.train_batch(data, [domains[0].rows[step::3], domains[1].rows[step::3]])
        alone.train_batch(data, [domains[1].rows[step::3]])
    for name, values in joint.kernel(1).items():
        np.testing.assert_allclose(
            values, alone.kernel(0)[name], rtol=1e-4, atol=1e-5, err_msg=name
        )
        assert (values != somewhere(adapter, 1)[name]).any()


@EVERY
def test_training_lowers_the_loss_and_leaves_the_backbone(
    make: Any,
    backbone: keras.Model,
    windows: dict[str, BackboneOutputs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where clicks are the reverse of what the backbone learned. The last weights are kept, since
    no validation score is defined.
    """
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)
    adapter, names = make(backbone), ("all", "scene=home")
    experiment = variant(
        "finetune.regulariser=none", "finetune.rates=constant", "finetune.learning_rate=0.03"
    )
    data, before = windows[adapter.tap], backbone.get_weights()
    clicks = data.columns["label/click"]
    reverse = {"label/click": 1 - clicks, "label/conversion": np.zeros_like(clicks)}
    data = dataclasses.replace(data, columns=data.columns | reverse)
    domains = domains_of(experiment, *names)
    found = kernel_training.train_kernels(experiment, adapter, data, data, domains)
    trained = [kernel.weights for kernel in found]
    np.testing.assert_equal(backbone.get_weights(), before)
    for domain, weights in zip(domains, trained, strict=True):
        rows = data.domain_rows(domain)
        columns = {f"label/{name}": data.labels(name)[rows] for name in ("click", "conversion")} | {
            "row/weight": data.weights[rows]
        }
        start, end = (
            float(Objectives(experiment).loss(learned_scores(experiment.tasks, logits), columns))
            for logits in (data.logits[rows], score_rows(adapter, weights, data, rows))
        )
        assert end < start - 0.1
    (warm, *_) = kernel_training.train_kernels(
        experiment, adapter, data, data, domains[1:], start=trained[0]
    )
    assert warm.weights.keys() == trained[0].keys()


@pytest.mark.parametrize("count", [0, 3])
def test_layers_that_towers_do_not_have_are_refused(count: int, backbone: keras.Model) -> None:
    with pytest.raises(InputError, match=f"expected 1 to 2, received {count}") as error:
        LastLayers.of(backbone, TASKS, count)
    one_line(error)


def test_a_rank_below_one_is_refused(backbone: keras.Model) -> None:
    with pytest.raises(InputError, match="rank of at least 1, received 0") as error:
        LoRA.of(backbone, TASKS, rank=0)
    one_line(error)


def two_heads(tower_name: str, layer: Callable[..., Any]) -> keras.Model:
    x = keras.Input((3,), name="x")
    hidden = [layer(name=f"{task}_{tower_name}")(x) for task in TASKS]
    logits = [
        keras.layers.Dense(1, name=f"{task}_logit")(h)
        for task, h in zip(TASKS, hidden, strict=True)
    ]
    heads = {
        "logits": keras.ops.concatenate(logits, -1),
        "representation": keras.ops.stack([x, x], axis=1),
    }
    return keras.Model({"x": x}, heads, name="made_up")


@pytest.mark.parametrize("make", TOWER_ADAPTERS.values(), ids=TOWER_ADAPTERS)
def test_towers_that_are_not_plain_are_refused(make: Any, dataset: Dataset) -> None:
    made_up = [
        (
            two_heads("tower_0", lambda name: keras.layers.LayerNormalization(name=name)),
            "dense layer 'ctr_tower_0', found LayerNorm",
        ),
        (
            two_heads("head_0", lambda name: keras.layers.Dense(3, name=name)),
            "expected plain towers between",
        ),
        (
            untrained(dataset, "backbone.body=pepnet", "backbone.topics=[scene]"),
            "expected plain towers between",
        ),
    ]
    for model, message in made_up:
        with pytest.raises(InputError, match=message) as error:
            make(model)
        one_line(error)


def test_towers_are_read_in_order(dataset: Dataset) -> None:
    model = untrained(dataset, "backbone.tower_layers=[7, 5]")
    towers = towers_of(model, TASKS)
    assert [(layer.fan_in, layer.fan_out) for layer in towers] == [(6, 7), (7, 5), (5, 1)]
    np.testing.assert_array_equal(towers[1].weight[1], model.get_layer("cvr_tower_1").kernel)


def test_a_body_that_reads_topics_has_no_prompt(dataset: Dataset) -> None:
    with pytest.raises(
        InputError, match="expected a body without topics, it reads topic/scene"
    ) as error:
        Prompt.of(untrained(dataset, "backbone.body=pepnet", "backbone.topics=[scene]"), TASKS)
    one_line(error)


def test_a_prompt_leaves_the_backbone_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    """Cutting a model in two adds to its layers' history; it must still run and be saved alone."""
    model = untrained(dataset)
    before = run_frozen(model, dataset, "test", "input", "test")
    Prompt.of(model, TASKS)
    model.save(tmp_path / "model.keras")
    for same in (model, keras.saving.load_model(tmp_path / "model.keras", compile=False)):
        after = run_frozen(same, dataset, "test", "input", "test")
        np.testing.assert_allclose(after.logits, before.logits, rtol=1e-5, atol=1e-6)
        prompt = Prompt.of(same, TASKS)
        scored = score_rows(prompt, prompt.initial(1, "all"), after, np.arange(100))
        np.testing.assert_allclose(scored, before.logits[:100], rtol=1e-5, atol=1e-5)
