"""The kernel whose delta enters before the tower: its equation, its start, and that it is the
kernel's encoder and decoder.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from benchmarks.method.adapters.tower_input import Enters, TowerInput
from benchmarks.method.adapters.towers import TowerLayer
from benchmarks.method.bench import Bench
from benchmarks.method.methods.tower_input import tower_input
from configs import Experiment, InputError
from configs.domains import ALL
from configs.training import Kernel
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import domains_of, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.model import build_backbone, inference_model, intercepts_of
from trainer.kernels.kernel import KernelShape, kernel_logits
from trainer.kernels.scoring import score_rows
from trainer.training import kernel_training
from trainer.training.batch_schedule import DomainData
from trainer.training.joint_kernel_trainer import JointTrainer

BOTH: tuple[Enters, ...] = ("tower", "both")
EVERY = pytest.mark.parametrize("enters", BOTH)

TASKS = ("ctr", "cvr")
SETTINGS = Kernel(width=6)

# h = (1, 2), one number of the input beside it -> tower relu((1 - 2, 1 + 2) + (0, 1)) = (0, 4) -> 2
# * 0 + 3 * 4 + 5 = 17. The second task's towers have ten times these numbers: relu(10 (-1, 3) + (0,
# 10)) = (0, 40) -> 20 * 0 + 30 * 40 + 50 = 1250.
TOWERS = tuple(
    TowerLayer(
        np.array([w, 10 * np.array(w)], np.float32),
        np.array([b, 10 * np.array(b)], np.float32),
        activation,
    )
    for w, b, activation in (
        ([[1, 1], [-1, 1]], [0, 1], keras.activations.relu),
        ([[2], [3]], [5], keras.activations.linear),
    )
)
TAPS, LOGITS = (
    tf.constant([[[[1.0, 2.0, 6.0]], [[1.0, 2.0, -6.0]]]]),
    tf.constant([[[17.0], [1250.0]]]),
)


@pytest.fixture(scope="module")
def bench(experiment: Experiment, logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The small experiment as a study keeps it."""
    return Bench(experiment, str(logs / "*.parquet"), tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def window(bench: Bench) -> BackboneOutputs:
    return bench.rows("finetune", "representation+input")


def somewhere(adapter: TowerInput, seed: int = 5) -> dict[str, npt.NDArray[np.float32]]:
    """Weights none of which is where it starts."""
    generator = np.random.default_rng(seed)
    return {
        name: values + generator.standard_normal(values.shape, np.float32)
        for name, values in adapter.initial(17, ALL).items()
    }


def of_one(adapter: TowerInput, weights: dict[str, Any]) -> list[float]:
    """Both logits of one row."""
    out = adapter.logits(
        {name: tf.constant(values[np.newaxis], tf.float32) for name, values in weights.items()},
        TAPS,
        LOGITS,
    )
    assert out.shape == (1, 2, 1)
    return [float(value) for value in out[0, :, 0]]


@EVERY
def test_by_hand(enters: Enters) -> None:
    """One code for each task, relu(sum of the tap / 9) = relu(3 / 9 * 3): 1 and, of a sum of -3,
    0.
    """
    adapter = TowerInput(
        TOWERS,
        KernelShape(
            (3, 1, 2 + (enters == "both")), "relu", residual=True, tap="representation+input"
        ),
    )
    weights = adapter.initial(0, ALL)
    assert of_one(adapter, weights) == pytest.approx([17, 1250], rel=1e-6)
    weights["weight_0"] = np.full(
        (2, 3, 1), 3**0.5 / 9, np.float32
    )  # the scale 1 / sqrt(3) makes it 1 / 9
    weights["weight_1"][:, 0, :2] = [6, 2]
    weights["bias_1"][1, :2] = [1, 1]
    # First: h = (1, 2) + (6, 2) = (7, 4) -> (3, 12) -> 6 + 36 + 5; second, code 0: h = (2, 3) -> 10
    # (0, 6) -> 30 * 60 + 50.
    assert of_one(adapter, weights) == pytest.approx([47, 1850], rel=1e-6)
    if enters == "both":
        weights["weight_1"][:, 0, 2] = 0.5
        weights["bias_1"][:, 2] = [-4, 3]
        assert of_one(adapter, weights) == pytest.approx([47 + 0.5 - 4, 1853], rel=1e-6)


@EVERY
@pytest.mark.parametrize("hidden", [(), (7,)])
def test_against_the_backbones_own_layers_in_numpy(
    enters: Enters, hidden: tuple[int, ...], bench: Bench, window: BackboneOutputs
) -> None:
    adapter = TowerInput.of(
        bench.backbone, TASKS, Kernel(width=5, decoder_layers=hidden, activation="tanh"), enters
    )
    assert adapter.shape.widths == (6 + 53, 5, *hidden, 6 + (enters == "both"))
    weights, rows = somewhere(adapter), np.arange(60)
    scored, expected = score_rows(adapter, weights, window, rows), np.empty((len(rows), 2))
    for task, name in enumerate(TASKS):
        x = window.taps[rows, task].astype(np.float64)
        h = x[:, :6]
        for layer in range(len(hidden) + 2):
            x = (
                x @ weights[f"weight_{layer}"][task] / np.sqrt(x.shape[1])
                + weights[f"bias_{layer}"][task]
            )
            x = np.tanh(x) if layer <= len(hidden) else x
        h = h + x[:, :6]
        for part, lowest in (("tower_0", 0.0), ("logit", -np.inf)):
            kernel, bias = bench.backbone.get_layer(f"{name}_{part}").get_weights()
            h = np.maximum(h @ kernel + bias, lowest)
        expected[:, task] = h[:, 0] + (x[:, 6] if enters == "both" else 0.0)
    expected += intercepts_of(bench.backbone).numpy()
    np.testing.assert_allclose(scored, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(scored - window.logits[rows]).max() > 0.1


@EVERY
def test_starts_at_zero_shot_as_a_kernel_does(
    enters: Enters, bench: Bench, window: BackboneOutputs
) -> None:
    adapter = TowerInput.of(bench.backbone, TASKS, SETTINGS, enters)
    start, kernel = adapter.initial(17, ALL), KernelShape.of(SETTINGS, 59).initial(17, ALL)
    np.testing.assert_array_equal(start["weight_0"], kernel["weight_0"])
    assert not start["weight_1"].any()
    scored = score_rows(adapter, start, window, np.arange(len(window.logits)))
    np.testing.assert_allclose(scored, window.logits, rtol=1e-5, atol=1e-5)
    assert adapter.informed == ("weight_0", "weight_1")
    assert adapter.parameters == 2 * (59 * 6 + 6 + 7 * (6 + (enters == "both")))


def test_both_with_no_vector_is_the_kernel(bench: Bench, window: BackboneOutputs) -> None:
    adapter = TowerInput.of(bench.backbone, TASKS, SETTINGS, "both")
    weights = somewhere(adapter)
    weights["weight_1"][..., :6], weights["bias_1"][..., :6] = 0.0, 0.0
    shape = KernelShape.of(SETTINGS, 59)
    kernel = weights | {
        "weight_1": weights["weight_1"][..., 6:],
        "bias_1": weights["bias_1"][..., 6:],
    }
    rows = np.arange(200)
    np.testing.assert_allclose(
        score_rows(adapter, weights, window, rows),
        score_rows(shape, kernel, window, rows),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_kernels_logit_is_what_its_decoder_gives() -> None:
    """The equation of the kernel that ``decoded`` was taken out of."""
    shape, generator = (
        KernelShape((4, 3, 1), "relu", residual=True, tap="tower"),
        np.random.default_rng(0),
    )
    weights = {
        name: generator.standard_normal((1, *size), np.float32)
        for name, size in shape.variables().items()
    }
    taps, logits = (
        generator.standard_normal((1, 2, 5, 4), np.float32),
        generator.standard_normal((1, 2, 5), np.float32),
    )
    code = np.maximum(taps @ weights["weight_0"] / 2.0 + weights["bias_0"][:, :, np.newaxis], 0.0)
    delta = (code @ weights["weight_1"] / np.sqrt(3.0) + weights["bias_1"][:, :, np.newaxis])[
        ..., 0
    ]
    np.testing.assert_allclose(
        kernel_logits(shape, weights, taps, logits, 1.0), logits + delta, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        kernel_logits(shape, weights, taps, logits, 0.0), delta, rtol=1e-5, atol=1e-6
    )


@EVERY
def test_joint_training_equals_training_one_by_one(
    enters: Enters, bench: Bench, window: BackboneOutputs
) -> None:
    adapter = TowerInput.of(bench.backbone, TASKS, SETTINGS, enters)
    experiment = variant("finetune.rate_power=0")
    domains = [DomainData("all", np.arange(300)), DomainData("scene=home", np.arange(500, 600))]
    joint = JointTrainer(
        experiment, adapter, domains, [somewhere(adapter, seed) for seed in range(2)]
    )
    alone = JointTrainer(experiment, adapter, domains[1:], [somewhere(adapter, 1)])
    for step in range(3):
        joint.train_batch(window, [domains[0].rows[step::3], domains[1].rows[step::3]])
        alone.train_batch(window, [domains[1].rows[step::3]])
    for name, values in joint.kernel(1).items():
        np.testing.assert_allclose(
            values, alone.kernel(0)[name], rtol=1e-4, atol=1e-5, err_msg=name
        )
        assert (values != somewhere(adapter, 1)[name]).any()


def test_the_study_method_honours_the_kernels_settings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)  # the last weights are kept
    experiment = variant("kernel.width=3", "kernel.decoder_layers=[4]", "finetune.epochs=1")
    found = tower_input(bench, experiment, ["test"], {"enters": "both"})
    assert found.keys() == {"", "all"}
    assert found[""].parameters == 2 * (59 * 3 + 3 + 3 * 4 + 4 + 4 * 7 + 7)
    data, home = bench.rows("test"), domains_of(experiment, "scene=home")[0]
    rows = data.domain_rows(home)
    assert found[""].logits["test"]["scene=home"].shape == (len(rows), 2)
    assert (
        np.abs(
            found[""].logits["test"]["scene=home"] - found["all"].logits["test"][ALL][rows]
        ).max()
        > 1e-4
    )
    assert np.abs(found["all"].logits["test"][ALL] - data.logits).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"enters": "logit"},
            "options of tower_input.enters: Input should be 'tower', 'both' or 'compressed'",
        ),
        ({"rank": 3}, "options of tower_input: 'rank' is for 'enters: compressed' alone"),
        ({"enters": "compressed", "rank": 7}, "rank: expected at most 6, the width of the"),
        ({"enter": "both"}, "options of tower_input: unknown key 'enter'; did you mean 'enters'?"),
    ],
)
def test_options_are_checked(
    options: dict[str, Any], said: str, bench: Bench, experiment: Experiment
) -> None:
    with pytest.raises(InputError) as error:
        tower_input(bench, experiment, ["test"], options)
    assert said in one_line(error)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tap": "input+representation"},
            "begins with 'representation', received 'input\\+representation'",
        ),
        ({"tap": "tower"}, "begins with 'representation', received 'tower'"),
        ({"residual": False}, "expected true and 'none', received false and 'none'"),
        ({"gate": "support"}, "expected true and 'none', received true and 'support'"),
    ],
)
def test_kernels_of_another_kind_are_refused(
    settings: dict[str, Any], said: str, bench: Bench
) -> None:
    with pytest.raises(InputError, match=said) as error:
        TowerInput.of(bench.backbone, TASKS, Kernel.model_validate(settings))
    one_line(error)


def test_towers_that_are_not_plain_are_refused(bench: Bench) -> None:
    experiment = variant("backbone.body=pepnet", "backbone.topics=[scene]")
    model = inference_model(
        build_backbone(experiment, transform_outputs(experiment, bench.dataset.fitted)), experiment
    )
    with pytest.raises(InputError, match="expected plain towers between") as error:
        TowerInput.of(model, TASKS, Kernel())
    one_line(error)
