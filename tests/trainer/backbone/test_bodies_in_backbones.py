"""A backbone around each body: a function of its seed, equal after reload, read by kernels,
served as it is judged.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment
from configs.files import write_json
from configs.training import Kernel
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform, transform_outputs
from preprocessing.logs.schema import Column
from serving.export.kernel_slots import Slots
from serving.export.serving_module import Recommender
from tests.tasks import TASKS
from tests.trainer.backbone.test_bodies import CASES, ROWS, crossed_by_hand, make_loud
from tests.trainer.conftest import random_kernel, variant
from trainer.backbone.fingerprint import model_fingerprint
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors
from trainer.backbone.model import build_backbone, read_tap
from trainer.backbone.saving import job_fingerprint, load_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.bank import SLOT, KernelBank, domain_model
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import predicted_rows, score_rows
from trainer.registry.kernel_manifest import JudgedRows, KernelManifest
from trainer.registry.kernel_registry import StoredKernel

BACKBONES = {
    **{name: (f"backbone.body={name}",) for name in CASES},
    "crosses": ("backbone.crosses=2", "backbone.dropout=0.2"),
}


class Built(NamedTuple):
    """A backbone with loud weights, and the same out of its job directory."""

    experiment: Experiment
    model: keras.Model
    frozen: keras.Model
    job: Job


@pytest.fixture(scope="module", params=BACKBONES.values(), ids=BACKBONES)
def built(
    request: pytest.FixtureRequest, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    experiment = variant(*request.param)
    model = build_backbone(experiment, transform_outputs(experiment, dataset.fitted))
    make_loud(model)
    job = Job(tmp_path_factory.mktemp("loud"))
    job.backbone.mkdir()
    model.save(job.backbone / "model.keras")
    dataset.fitted.save(str(job.backbone / "transform"))
    write_json(job.backbone / "experiment.json", experiment.model_dump(mode="json"))
    write_json(job.backbone / "fingerprint.json", job_fingerprint(model, job))
    return Built(experiment, model, load_frozen(job, experiment), job)


@pytest.fixture(scope="module")
def columns(dataset: Dataset) -> dict[str, Any]:
    return next(dataset.batches("test", ROWS))


def heads_of(model: keras.Model, columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: head.numpy()
        for name, head in model(feature_tensors(columns, model), training=False).items()
    }


@pytest.mark.parametrize("settings", BACKBONES.values(), ids=BACKBONES)
def test_a_backbone_is_a_function_of_its_seed_whatever_was_built_before(
    settings: tuple[str, ...], dataset: Dataset
) -> None:
    def tensors(*more: str) -> Any:
        experiment = variant(*settings, *more)
        return model_fingerprint(
            build_backbone(experiment, transform_outputs(experiment, dataset.fitted)), "t"
        )["tensors"]

    first, again, other = tensors(), tensors(), tensors("seed=18")
    assert first == again
    assert first.keys() == other.keys()
    drawn = [path for path in first if "bias" not in path]
    assert all(first[path] != other[path] for path in drawn)


def test_reload_in_safe_mode_is_bitwise(built: Built, columns: dict[str, Any]) -> None:
    whole = keras.saving.load_model(built.job.backbone / "model.keras", safe_mode=True)
    expected = heads_of(built.model, columns)
    np.testing.assert_equal(heads_of(whole, columns), expected)
    assert model_fingerprint(whole, "t") == model_fingerprint(built.model, "t")
    frozen = heads_of(built.frozen, columns)
    np.testing.assert_equal(frozen, {name: expected[name] for name in frozen})
    assert built.frozen.trainable_weights == []


def test_taps_have_one_width_for_both_tasks(built: Built, columns: dict[str, Any]) -> None:
    heads, settings = heads_of(built.frozen, columns), built.experiment.backbone
    shapes = {name: head.shape[1:] for name, head in heads.items()}
    towers, representations = (2, settings.tower_layers[-1]), (2, settings.expert_layers[-1])
    assert shapes == {
        "logits": (2,),
        "tower": towers,
        "representation": representations,
        "input": (1, 53),
    }


def test_the_input_tap_is_what_the_body_reads(built: Built, columns: dict[str, Any]) -> None:
    crosses = built.experiment.backbone.crosses
    w = {weight.path: weight.numpy() for weight in built.model.weights}
    embedded = next(op.input for op in built.model.operations if op.name.startswith("concatenate"))
    parts = keras.Model(built.model.input, embedded)(
        feature_tensors(columns, built.model), training=False
    )
    expected = crossed_by_hand(
        w, np.concatenate([part.numpy() for part in parts], axis=-1), crosses
    )
    np.testing.assert_allclose(
        heads_of(built.model, columns)["input"][:, 0], expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("tap", ["representation", "tower", "input", "representation+input+logits"])
def test_kernels_over_a_body_follow_their_definition(
    built: Built, columns: dict[str, Any], tap: str
) -> None:
    heads = heads_of(built.frozen, columns)
    taps = np.asarray(read_tap(heads, tap))
    shape = KernelShape.of(Kernel(tap=tap, width=4), taps.shape[-1])
    bank = KernelBank(3, shape)
    for slot in (1, 2):
        bank.put(slot, random_kernel(shape, slot))
    slots = np.arange(ROWS, dtype=np.int32) % 3
    scores = domain_model(built.frozen, bank)(
        {**feature_tensors(columns, built.frozen), SLOT: slots}
    ).numpy()
    expected = heads["logits"].copy()
    for slot in (1, 2):
        rows = np.flatnonzero(slots == slot)
        expected[rows] = score_rows(
            shape, random_kernel(shape, slot), BackboneOutputs(heads["logits"], taps, {}), rows
        )
        assert np.abs(expected[rows] - heads["logits"][rows]).mean() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def drawn(column: Column, fitted: Fitted) -> tf.Tensor:
    """Raw values as a client sends them: known, unknown and missing."""
    random = np.random.default_rng(len(column.name))
    if column.kind == "timestamp":
        return tf.constant(random.integers(1_741_000_000, 1_742_000_000, ROWS))
    if column.kind == "number":
        return tf.constant(
            np.where(random.random(ROWS) < 0.2, np.nan, random.gamma(2.0, 2.0, ROWS)), tf.float32
        )
    known = fitted.vocabularies["shop_id" if column.kind == "strings" else column.name]
    return tf.constant(
        random.choice(
            [*known[:20], "unseen", ""], (ROWS, 5) if column.kind == "strings" else ROWS
        ).tolist()
    )


def test_a_body_is_served_as_it_is_judged(built: Built) -> None:
    experiment, fitted = built.experiment, built.job.fitted()
    settings = experiment.kernel.model_copy(
        update={"tap": "representation"}
    )  # the one tap that moves scores as large as crosses give
    shape = KernelShape.of(settings, built.frozen.output[settings.tap].shape[-1])
    kernel = random_kernel(shape, 1)
    transform = Transform(experiment, fitted)
    manifest = KernelManifest(
        domain="all",
        version=1,
        backbone="b",
        shape=shape,
        finetune={},
        rows=JudgedRows(train=1, validation=1),
        validation={},
    )
    slots = Slots(
        list(experiment.domains),
        shape,
        3,
        [StoredKernel("all", 1, kernel, manifest)],
    )
    recommender = Recommender(experiment, transform, built.frozen, slots)
    raw = {column.name: drawn(column, fitted) for column in recommender.columns}
    signatures = recommender.signatures()
    heads = built.frozen(
        {name: transform.features(raw)[name] for name in built.frozen.input}, training=False
    )
    data = BackboneOutputs(heads["logits"].numpy(), heads[shape.tap].numpy(), {})
    expected = {
        "backbone": predicted_rows(TASKS, data.logits),
        "all": predicted_rows(TASKS, score_rows(shape, kernel, data, np.arange(ROWS))),
    }
    together = signatures["all_domains"](**raw)
    for index, domain in enumerate(name.decode() for name in together["domains"].numpy()):
        alone = signatures["serving_default"](domain=tf.constant([domain] * ROWS), **raw)
        for task in ("ctr", "cvr", "ctcvr"):
            assert np.isfinite(alone[task]).all()
            assert ((alone[task].numpy() >= 0) & (alone[task].numpy() <= 1)).all()
            np.testing.assert_allclose(alone[task], expected[domain][task], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            together["ctcvr"][:, index], expected[domain]["ctcvr"], rtol=0, atol=1e-5
        )
    assert np.abs(expected["all"]["ctr"] - expected["backbone"]["ctr"]).mean() > 0.01
