"""Kernels and their bank: zero-shot at the start, the identity slot, every way of routing alike,
one gradient through both graphs.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs import Experiment
from configs.training import Kernel
from tests.tasks import TASKS
from tests.trainer.conftest import NAMES, SHAPE, random_kernel, random_rows
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors
from trainer.backbone.input_scale import InputScale
from trainer.data.dataset import Dataset
from trainer.kernels.bank import SLOT, KernelBank, domain_model
from trainer.kernels.kernel import KernelShape, kernel_logits, stack
from trainer.kernels.scoring import score_rows
from trainer.losses import learned_scores, loss_by_group
from trainer.training.batch_schedule import DomainData
from trainer.training.joint_kernel_trainer import JointTrainer

DEEP = KernelShape((5, 4, 3, 1), "tanh", residual=True, tap="tower")
REPLACING = KernelShape((5, 4, 1), "relu", residual=False, tap="tower")
SHAPES = pytest.mark.parametrize(
    "shape", [SHAPE, DEEP, REPLACING], ids=["residual", "deep", "replacing"]
)

Floats = npt.NDArray[np.float32]


def filled_bank(shape: KernelShape, slots: int = 4) -> KernelBank:
    """A bank whose kernels are all at work."""
    bank = KernelBank(slots, shape)
    for slot in range(1, slots):
        bank.put(slot, random_kernel(shape, seed=slot))
    return bank


def one_kernel(shape: KernelShape, kernel: dict[str, Floats], rows: BackboneOutputs) -> Floats:
    """Logits ``[N, 2]`` of a kernel in NumPy, row by row and task by task, from its definition."""
    activation = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[shape.activation]
    out = np.empty_like(rows.logits)
    for row, task in np.ndindex(*out.shape):
        hidden = rows.taps[row, task]
        for layer, fan_in in enumerate(shape.widths[:-1]):
            hidden = (
                hidden @ kernel[f"weight_{layer}"][task] / np.sqrt(fan_in)
                + kernel[f"bias_{layer}"][task]
            )
            if layer < len(shape.widths) - 2:
                hidden = activation(hidden)
        out[row, task] = hidden[0] + (rows.logits[row, task] if shape.residual else 0.0)
    return out


def test_shape_of_the_settings() -> None:
    shape = KernelShape.of(
        Kernel(
            width=7, decoder_layers=(3,), activation="gelu", residual=False, tap="representation"
        ),
        11,
    )
    assert shape == KernelShape((11, 7, 3, 1), "gelu", residual=False, tap="representation")
    assert KernelShape.from_json(shape.to_json()) == shape
    assert shape.variables()["weight_1"] == (2, 7, 3)
    assert shape.variables()["bias_2"] == (2, 1)


def test_a_new_kernel_is_a_function_of_seed_and_domain_alone() -> None:
    first, again = SHAPE.initial(17, "region=r1"), SHAPE.initial(17, "region=r1")
    np.testing.assert_equal(first, again)
    for other in (SHAPE.initial(18, "region=r1"), SHAPE.initial(17, "region=r2")):
        assert (first["weight_0"] != other["weight_0"]).any()


def test_a_new_kernel_is_standard_normal_and_its_last_layer_zero() -> None:
    wide = KernelShape((100, 100, 100, 1), "relu", residual=True, tap="tower").initial(17, "all")
    for name in ("weight_0", "weight_1"):
        assert abs(wide[name].mean()) < 4 / np.sqrt(wide[name].size)
        assert abs(wide[name].var() - 1) < 4 * np.sqrt(2 / wide[name].size)
    assert not any(wide[name].any() for name in ("weight_2", "bias_0", "bias_1", "bias_2"))


@pytest.mark.parametrize("shape", [SHAPE, DEEP], ids=["residual", "deep"])
def test_a_new_kernel_is_bitwise_zero_shot(shape: KernelShape) -> None:
    rows = random_rows(33)
    kernel = shape.initial(17, "scene=home")
    taps, logits = rows.taps.transpose(1, 0, 2)[None], rows.logits.T[None]
    np.testing.assert_array_equal(
        kernel_logits(shape, stack([kernel]), taps, logits, 1.0)[0].numpy().T, rows.logits
    )
    bank = KernelBank(3, shape)
    bank.put(1, kernel)
    for slots in (np.ones(33, np.int32), np.arange(33, dtype=np.int32) % 2):
        np.testing.assert_array_equal(bank(rows.taps, rows.logits, slots), rows.logits)


@SHAPES
def test_kernel_logits_follow_the_definition(shape: KernelShape) -> None:
    rows = random_rows(9)
    kernels = [random_kernel(shape, seed) for seed in (1, 2)]
    taps, logits = (
        np.stack([part, part]) for part in (rows.taps.transpose(1, 0, 2), rows.logits.T)
    )
    out = kernel_logits(shape, stack(kernels), taps, logits, 1.0 if shape.residual else 0.0).numpy()
    for index, kernel in enumerate(kernels):
        np.testing.assert_allclose(
            out[index].T, one_kernel(shape, kernel, rows), rtol=1e-5, atol=1e-5
        )


@SHAPES
def test_slot_0_is_bitwise_the_backbone_whatever_stands_in_the_others(shape: KernelShape) -> None:
    rows, bank = random_rows(21), filled_bank(shape)
    slots = np.arange(21, dtype=np.int32) % 4
    np.testing.assert_array_equal(bank(rows.taps, rows.logits, np.zeros(21, np.int32)), rows.logits)
    np.testing.assert_array_equal(
        bank(rows.taps, rows.logits, slots).numpy()[slots == 0], rows.logits[slots == 0]
    )
    np.testing.assert_array_equal(bank.every_slot(rows.taps, rows.logits)[0], rows.logits)


@SHAPES
def test_uniform_batch_mixed_batch_and_every_slot_agree_with_the_definition(
    shape: KernelShape,
) -> None:
    rows, bank = random_rows(21), filled_bank(shape)
    slots = np.arange(21, dtype=np.int32) % 4
    mixed, every = (
        bank(rows.taps, rows.logits, slots).numpy(),
        bank.every_slot(rows.taps, rows.logits).numpy(),
    )
    for slot in (1, 2, 3):
        expected = one_kernel(shape, random_kernel(shape, seed=slot), rows)
        uniform = bank(rows.taps, rows.logits, np.full(21, slot, np.int32)).numpy()
        np.testing.assert_allclose(uniform, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            mixed[slots == slot], expected[slots == slot], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(every[slot], expected, rtol=1e-5, atol=1e-5)


def test_a_replacing_kernel_does_not_read_the_backbones_logit() -> None:
    rows, bank = random_rows(6), filled_bank(REPLACING)
    slots = np.array([1, 2, 3, 1, 2, 3], np.int32)
    np.testing.assert_array_equal(
        bank(rows.taps, rows.logits, slots), bank(rows.taps, rows.logits + 5.0, slots)
    )


def test_zero_rows() -> None:
    bank = filled_bank(SHAPE)
    empty = tf.zeros([0, 2, 5]), tf.zeros([0, 2])
    assert bank(*empty, tf.zeros([0], tf.int32)).shape == (0, 2)
    assert bank.every_slot(*empty).shape == (4, 0, 2)


@pytest.mark.parametrize("slot", [0, 4, -1])
def test_only_the_slots_from_1_on_can_be_written(slot: int) -> None:
    bank = filled_bank(SHAPE)
    with pytest.raises(ValueError, match="expected 1 to 3"):
        bank.put(slot, random_kernel(SHAPE, 1))


def test_put_changes_one_slot() -> None:
    bank = filled_bank(SHAPE)
    before = {name: variable.numpy() for name, variable in bank.bank.items()}
    bank.put(2, random_kernel(SHAPE, 9))
    for name, variable in bank.bank.items():
        np.testing.assert_array_equal(variable.numpy()[[0, 1, 3]], before[name][[0, 1, 3]])
        np.testing.assert_array_equal(variable.numpy()[2], random_kernel(SHAPE, 9)[name])


def test_bank_survives_save_and_reload(tmp_path: Path) -> None:
    rows, bank = random_rows(8), filled_bank(SHAPE)
    inputs = [keras.Input((2, 5)), keras.Input((2,)), keras.Input((), dtype="int32")]
    keras.Model(inputs, bank(*inputs)).save(tmp_path / "bank.keras")
    reloaded = keras.saving.load_model(tmp_path / "bank.keras", safe_mode=True)
    values = [rows.taps, rows.logits, np.arange(8, dtype=np.int32) % 4]
    np.testing.assert_array_equal(reloaded(values), bank(*values))


@pytest.fixture(scope="module")
def real_shape(experiment: Experiment, window: BackboneOutputs) -> KernelShape:
    return KernelShape.of(experiment.kernel, window.taps.shape[-1])


def first_batch(dataset: Dataset, experiment: Experiment, rows: int) -> dict[str, Any]:
    return next(dataset.batches(experiment.finetune.split, rows))


@pytest.fixture
def full_graph(frozen: keras.Model, real_shape: KernelShape) -> tuple[keras.Model, KernelBank]:
    """The second graph with its bank; kernels are put into the bank by the test."""
    bank = KernelBank(1 + len(NAMES), real_shape)
    return domain_model(frozen, bank), bank


def test_new_kernels_leave_the_full_graph_bitwise_at_zero_shot(
    experiment: Experiment,
    dataset: Dataset,
    frozen: keras.Model,
    full_graph: tuple[keras.Model, KernelBank],
) -> None:
    model, bank = full_graph
    for slot, name in enumerate(NAMES, 1):
        bank.put(slot, bank.shape.initial(experiment.seed, name))
    features = feature_tensors(first_batch(dataset, experiment, 64), frozen)
    zero_shot = frozen(features, training=False)["logits"]
    for slots in (np.full(64, 2, np.int32), np.arange(64, dtype=np.int32) % 4):
        np.testing.assert_array_equal(model({**features, SLOT: slots}), zero_shot)


def test_the_full_graph_trains_the_bank_alone(
    frozen: keras.Model, full_graph: tuple[keras.Model, KernelBank]
) -> None:
    model, bank = full_graph
    assert {weight.path for weight in model.trainable_variables} == {
        weight.path for weight in bank.weights
    }
    assert len(model.weights) == len(frozen.weights) + len(bank.weights)


def test_gradients_through_the_full_graph_equal_those_through_cached_taps(
    experiment: Experiment,
    dataset: Dataset,
    frozen: keras.Model,
    window: BackboneOutputs,
    full_graph: tuple[keras.Model, KernelBank],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same loss three ways: backbone and bank in one graph, the bank on stored taps, and the
    trainer's own step.
    """
    model, bank = full_graph
    shape, count, rows = bank.shape, len(NAMES), 600
    kernels = [random_kernel(shape, seed) for seed in range(count)]
    for slot, kernel in enumerate(kernels, 1):
        bank.put(slot, kernel)
    columns = first_batch(dataset, experiment, rows)
    domain = np.random.default_rng(0).integers(0, count, rows).astype(np.int32)

    def gradients(logits_of: Any) -> dict[str, Floats]:
        with tf.GradientTape() as tape:
            log_p = learned_scores(TASKS, logits_of())
            loss = tf.reduce_sum(
                loss_by_group(experiment.tasks, log_p, columns, tf.constant(domain), count)
            )
        found = tape.gradient(loss, {name: variable.value for name, variable in bank.bank.items()})
        return {name: tf.convert_to_tensor(gradient).numpy() for name, gradient in found.items()}

    full = gradients(lambda: model({**feature_tensors(columns, frozen), SLOT: domain + 1}))
    cached = gradients(lambda: bank(window.taps[:rows], window.logits[:rows], domain + 1))

    updates = experiment.finetune.model_copy(update={"regulariser": "none"})
    data = [DomainData(name, np.flatnonzero(domain == index)) for index, name in enumerate(NAMES)]
    trainer = JointTrainer(
        experiment.model_copy(update={"finetune": updates}), shape, data, kernels
    )
    trainer.step = trainer._step  # eager, so that the gradients can be caught on their way to Adam
    caught: dict[str, Floats] = {}

    def catch(gradients: dict[str, Any], *_: Any) -> None:
        caught.update(
            {name: tf.convert_to_tensor(gradient).numpy() for name, gradient in gradients.items()}
        )

    monkeypatch.setattr(trainer, "_apply", catch)
    trainer.train_batch(window, [part.rows for part in data])

    for name in shape.variables():
        assert np.abs(full[name][1:]).max() > 1e-4
        np.testing.assert_allclose(cached[name], full[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(caught[name], full[name][1:], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_kernel_on_standardised_inputs_is_the_same_kernel_on_raw_ones(tasks: int) -> None:
    rows = random_rows(50)
    rows = replace(rows, taps=(rows.taps[:, :tasks] * 0.03 + 2.0).astype(np.float32))
    scale = InputScale.of(rows.taps)
    every, kernel = np.arange(50), random_kernel(SHAPE, seed=5)
    standardised = replace(rows, scale=scale)
    expected = score_rows(SHAPE, kernel, standardised, every)
    raw = SHAPE.raw(kernel, scale)
    assert abs(expected - score_rows(SHAPE, kernel, rows, every)).max() > 0.1
    np.testing.assert_allclose(score_rows(SHAPE, raw, rows, every), expected, atol=1e-3)
    for name, values in SHAPE.standardised(raw, scale).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, kernel[name], rtol=1e-4, atol=1e-4)
