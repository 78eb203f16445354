"""The backbone: a function of its seed, heads and taps as promised, equal after reload, refused
when damaged.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.files import write_json
from preprocessing.features.transform import transform_outputs
from tests.tasks import TASKS, TOWERS
from tests.trainer.conftest import as_before_lists, change_json, one_line, variant
from trainer.backbone.fingerprint import model_fingerprint, settings_digest
from trainer.backbone.frozen_pass import feature_tensors, run_frozen
from trainer.backbone.layers.embedding import RowEmbedding
from trainer.backbone.model import (
    BIAS,
    build_backbone,
    inference_model,
    intercepts_of,
    read_tap,
)
from trainer.backbone.saving import job_fingerprint, load_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.bank import SLOT, KernelBank, domain_model
from trainer.kernels.kernel import KernelShape
from trainer.losses import Objectives, learned_scores

POSITION = "position"


@pytest.fixture(scope="module")
def model(experiment: Experiment, dataset: Dataset) -> keras.Model:
    return build_backbone(experiment, transform_outputs(experiment, dataset.fitted))


@pytest.fixture(scope="module")
def columns(dataset: Dataset) -> dict[str, Any]:
    return next(dataset.batches("test", 64))


def heads_of(model: keras.Model, columns: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        name: head.numpy()
        for name, head in model(
            {**feature_tensors(columns, model), **changed}, training=False
        ).items()
    }


def test_heads_have_the_promised_shapes(
    model: keras.Model, columns: dict[str, Any], experiment: Experiment
) -> None:
    shapes = {name: head.shape for name, head in heads_of(model, columns).items()}
    assert shapes == {
        "logits": (64, 2),
        "tower": (64, 2, experiment.backbone.tower_layers[-1]),
        "representation": (64, 2, experiment.backbone.expert_layers[-1]),
        "input": (64, 1, 53),
        BIAS: (64,),
    }
    assert TOWERS == ("ctr", "cvr")


def test_logits_are_a_linear_reading_of_the_tower_tap_in_the_order_of_tasks(
    model: keras.Model, columns: dict[str, Any]
) -> None:
    heads = heads_of(model, columns)
    for index, task in enumerate(TOWERS):
        kernel, bias = model.get_layer(f"{task}_logit").get_weights()
        np.testing.assert_allclose(
            heads["tower"][:, index] @ kernel[:, 0] + bias,
            heads["logits"][:, index],
            rtol=1e-5,
            atol=1e-6,
        )


def test_a_backbone_is_a_function_of_its_seed_whatever_was_built_before(
    experiment: Experiment, dataset: Dataset, model: keras.Model
) -> None:
    outputs = transform_outputs(experiment, dataset.fitted)
    again = model_fingerprint(build_backbone(experiment, outputs), "t")
    other = model_fingerprint(build_backbone(variant("seed=18"), outputs), "t")
    assert again == model_fingerprint(model, "t")
    assert other["tensors"].keys() == again["tensors"].keys()
    kernels = [path for path in again["tensors"] if path.endswith(("kernel", "table"))]
    assert all(other["tensors"][path] != again["tensors"][path] for path in kernels)


def test_no_two_weights_start_equal(model: keras.Model) -> None:
    starts = [
        weight.numpy().ravel()[:4].tobytes()
        for weight in model.weights
        if weight.path.endswith(("kernel", "table"))
    ]
    assert len(set(starts)) == len(starts)


def test_a_sequence_shares_the_table_of_its_items(
    model: keras.Model, experiment: Experiment
) -> None:
    names = {layer.name for layer in model.layers if isinstance(layer, RowEmbedding)}
    assert "embedding_shop_id" in names
    assert "embedding_history" not in names
    assert experiment.features["history"].shares == "shop_id"  # type: ignore[union-attr]


SEQUENCES = {"history": "shop_id", "viewed": "shop_id", "tastes": "cuisine"}
"""List features with attention, and whose table each shares: two share one."""


@pytest.fixture(scope="module")
def attentive(dataset: Dataset) -> tuple[keras.Model, dict[str, Any]]:
    """A backbone with several behaviour sequences, and a row of values for each of its inputs."""
    added = [
        f"features.{name}={{kind: list, side: user, shares: {shared}, max_length: 4, attention:"
        " true}"
        for name, shared in SEQUENCES.items()
        if name != "history"
    ]
    settings = variant(*added)
    outputs = transform_outputs(settings, dataset.fitted)
    random = np.random.default_rng(4)
    values = {
        name: (
            random.integers(
                0, min(output.size, 9), (64, output.length) if output.length else 64
            ).astype(np.int32)
            if output.size
            else random.standard_normal(64, np.float32)
        )
        for name, output in outputs.items()
    }
    for name in SEQUENCES:
        values[name][:8] = 0  # no history
    model = build_backbone(settings, outputs)
    for weight in model.weights:
        weight.assign(random.normal(0.0, 0.7, weight.shape))
    return model, values


def attention_by_definition(model: keras.Model, values: dict[str, Any], name: str) -> Any:
    """Pooled sequence ``[B, D]``, from the weights of the sequence's own attention and of the
    table it shares.
    """
    w = {weight.path: weight.numpy() for weight in model.weights}
    table = w[f"embedding_{SEQUENCES[name]}/table"]
    keys = table[values[name]]
    query = np.broadcast_to(table[values[SEQUENCES[name]]][:, None], keys.shape)
    hidden = np.concatenate([query, keys, query - keys, query * keys], axis=-1)
    hidden = np.maximum(
        hidden @ w[f"attention_{name}/score_0/kernel"] + w[f"attention_{name}/score_0/bias"], 0
    )
    scores = (
        np.exp(hidden @ w[f"attention_{name}/score_1/kernel"] + w[f"attention_{name}/score_1/bias"])
        * (values[name] > 0)[..., None]
    )
    return (scores * keys).sum(1) / np.maximum(scores.sum(1), 1e-30)


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_sequence_has_an_attention_of_its_own(
    name: str, attentive: tuple[keras.Model, dict[str, Any]]
) -> None:
    model, values = attentive
    pooled = keras.Model(
        model.input, {key: model.get_layer(f"attention_{key}").output for key in SEQUENCES}
    )
    before = {key: tensor.numpy() for key, tensor in pooled(values, training=False).items()}
    np.testing.assert_allclose(
        before[name], attention_by_definition(model, values, name), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(before[name][:8], 0)
    for weight in model.get_layer(f"attention_{name}").weights:
        weight.assign(-weight)
    after = pooled(values, training=False)
    assert [key for key in SEQUENCES if (before[key] != after[key].numpy()).any()] == [name]
    body_input = model(values, training=False)["input"].numpy()[:, 0]
    places = [
        start
        for start in range(body_input.shape[1] - 3)
        if (body_input[:, start : start + 4] == after[name].numpy()).all()
    ]
    assert len(places) == 1  # what the body reads holds each pooled sequence once


def test_a_backbone_with_several_sequences_survives_a_reload(
    attentive: tuple[keras.Model, dict[str, Any]], tmp_path: Path
) -> None:
    model, values = attentive
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_equal(
        {name: head.numpy() for name, head in reloaded(values, training=False).items()},
        {name: head.numpy() for name, head in model(values, training=False).items()},
    )
    assert model_fingerprint(reloaded, "t") == model_fingerprint(model, "t")


def test_features_may_be_called_what_layers_are_called(
    experiment: Experiment, dataset: Dataset, tmp_path: Path
) -> None:
    settings = experiment.model_copy(
        update={"backbone": experiment.backbone.model_copy(update={"dropout": 0.1})}
    )
    outputs, spec = transform_outputs(settings, dataset.fitted), settings.features["scene"]
    names = ("dropout", "experts", "ctr_logit", "topic_scene", "slot", "embedding_scene")
    settings = settings.model_copy(
        update={"features": {**settings.features, **dict.fromkeys(names, spec)}}
    )
    outputs |= {
        name: replace(outputs["scene"], name=name, table=name, feature=name) for name in names
    }
    frozen = inference_model(build_backbone(settings, outputs), settings)
    bank = KernelBank(
        2, KernelShape.of(settings.kernel, read_tap(frozen.output, settings.kernel.tap).shape[-1])
    )
    model = domain_model(frozen, bank)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert set(reloaded.input) == {*frozen.input, SLOT}
    assert set(names) < set(frozen.input)


def test_position_moves_its_own_logit_and_nothing_else(
    model: keras.Model, columns: dict[str, Any]
) -> None:
    before = heads_of(model, columns)
    after = heads_of(
        model, columns, **{POSITION: (columns[f"feature/{POSITION}"] % 5 + 2).astype(np.int32)}
    )
    assert (before.pop(BIAS) != after.pop(BIAS)).any()
    np.testing.assert_equal(after, before)


def test_inference_does_not_read_position(
    model: keras.Model, experiment: Experiment, columns: dict[str, Any]
) -> None:
    frozen = inference_model(model, experiment)
    assert set(model.input) - set(frozen.input) == {POSITION}
    assert set(model.output) - set(frozen.output) == {BIAS}
    assert not any(POSITION in weight.path for weight in frozen.weights)
    np.testing.assert_array_equal(
        heads_of(frozen, columns)["logits"], heads_of(model, columns)["logits"]
    )


def test_intercepts_move_the_logits_and_the_tap_of_them_alone(
    model: keras.Model, experiment: Experiment, columns: dict[str, Any]
) -> None:
    frozen, intercepts = inference_model(model, experiment), intercepts_of(model)
    assert intercepts is not None
    before, values = heads_of(frozen, columns), np.array([0.5, -2.0], np.float32)
    intercepts.assign(values)
    after = heads_of(frozen, columns)
    intercepts.assign(0.0 * values)
    np.testing.assert_allclose(after.pop("logits"), before.pop("logits") + values, atol=1e-6)
    np.testing.assert_equal(after, before)


def test_without_debias_position_is_a_feature_like_any_other(
    dataset: Dataset, columns: dict[str, Any]
) -> None:
    plain = variant("backbone.debias=null")
    model = inference_model(build_backbone(plain, transform_outputs(plain, dataset.fitted)), plain)
    assert POSITION in model.input
    assert BIAS not in model.output
    moved = heads_of(model, columns, **{POSITION: np.ones(64, np.int32)})
    assert (moved["logits"] != heads_of(model, columns)["logits"]).any()


@pytest.mark.parametrize(
    "settings", [(), ("tasks.ctr.loss_weight=0",)], ids=["ctr and ctcvr", "ctcvr alone"]
)
def test_every_part_of_both_towers_gets_a_gradient(
    settings: tuple[str, ...], model: keras.Model, columns: dict[str, Any]
) -> None:
    objectives = Objectives(variant(*settings))
    weights = [weight for weight in model.trainable_weights if POSITION not in weight.path]
    with tf.GradientTape() as tape:
        heads = model(feature_tensors(columns, model), training=True)
        loss = objectives.loss(learned_scores(TASKS, heads["logits"]), columns)
    for weight, gradient in zip(
        weights, tape.gradient(loss, [weight.value for weight in weights]), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path


def test_reload_in_safe_mode_gives_equal_scores(
    model: keras.Model, columns: dict[str, Any], tmp_path: Path
) -> None:
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_equal(heads_of(reloaded, columns), heads_of(model, columns))
    assert model_fingerprint(reloaded, "t") == model_fingerprint(model, "t")


def test_the_jobs_backbone_loads_in_safe_mode_frozen_with_its_fingerprint(
    job_dir: Path, experiment: Experiment, frozen: keras.Model, columns: dict[str, Any]
) -> None:
    job = Job(job_dir)
    whole = keras.saving.load_model(job.backbone / "model.keras", safe_mode=True)
    assert job_fingerprint(whole, job) == job.fingerprint()
    assert frozen.trainable_weights == []
    np.testing.assert_array_equal(
        heads_of(frozen, columns)["logits"], heads_of(whole, columns)["logits"]
    )
    np.testing.assert_equal(
        heads_of(load_frozen(job, experiment), columns), heads_of(frozen, columns)
    )


def test_stored_taps_are_the_heads_in_the_order_of_the_files(
    frozen: keras.Model, dataset: Dataset, columns: dict[str, Any], experiment: Experiment
) -> None:
    rows = run_frozen(frozen, dataset, "test", "tower", "test")
    heads = heads_of(frozen, columns)
    np.testing.assert_allclose(rows.taps[:64], heads["tower"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows.logits[:64], heads["logits"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows.columns["row/truth"][:64], columns["row/truth"])
    assert len(rows.logits) == dataset.rows("test")
    assert not any(name.startswith("feature/") for name in rows.columns)
    crossed = next(
        domain for domain in experiment.domains if domain.name == "region=r2,scene=search"
    )
    expected = (rows.columns["topic/region"] == 2) & (rows.columns["topic/scene"] == 2)
    np.testing.assert_array_equal(rows.domain_rows(crossed), np.flatnonzero(expected))
    assert expected.any()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


MODEL_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
    "no archive": lambda path: path.write_bytes(b"hello, world"),
}


@pytest.fixture
def backbone_copy(job_dir: Path, tmp_path: Path) -> Job:
    """A job with a copy of the backbone alone, without checkpoints."""
    shutil.copytree(
        job_dir / "backbone",
        tmp_path / "job" / "backbone",
        ignore=shutil.ignore_patterns("checkpoints"),
    )
    return Job(tmp_path / "job")


@pytest.mark.parametrize("damage", MODEL_DAMAGE.values(), ids=MODEL_DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(
    damage: Callable[[Path], object], backbone_copy: Job, experiment: Experiment
) -> None:
    damage(backbone_copy.backbone / "model.keras")
    with pytest.raises(InputError, match=r"model\.keras: not a saved backbone") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_weights_that_are_not_the_fingerprints_are_refused_by_name(
    backbone_copy: Job, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = backbone_copy.backbone / "model.keras"
    model = keras.saving.load_model(path)
    kernel = model.get_layer("cvr_logit").kernel
    kernel.assign(kernel + 1e-6)
    model.save(path)
    with pytest.raises(
        InputError, match="tensor 'cvr_logit/kernel' differs from the backbone's fingerprint"
    ) as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_a_transform_that_is_not_the_fingerprints_is_refused(
    backbone_copy: Job, experiment: Experiment
) -> None:
    vocabulary = backbone_copy.backbone / "transform" / "shop_id.txt"
    vocabulary.write_text(vocabulary.read_text() + "another\n")
    with pytest.raises(InputError, match=r"transform/shop_id\.txt: damaged") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_a_former_backbone_is_read_and_checked(backbone_copy: Job, experiment: Experiment) -> None:
    as_before_lists(backbone_copy)
    load_frozen(backbone_copy, experiment)
    vocabulary = backbone_copy.backbone / "transform" / "shop_id.txt"
    whole = vocabulary.read_text()
    vocabulary.write_text(whole + "another\n")
    with pytest.raises(InputError, match="is not the one that the backbone's fingerprint") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)
    vocabulary.write_text(whole)
    change_json(
        backbone_copy.backbone / "experiment.json",
        lambda content: content["features"]["history"].update(max_length=7),
    )
    with pytest.raises(InputError, match=r"experiment\.json: fitted for other settings"):
        load_frozen(backbone_copy, experiment)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "max_length": lambda content: content["features"]["history"].update(max_length=7),
    "oov_buckets": lambda content: content["features"]["shop_id"].update(oov_buckets=3),
    "time zone": lambda content: content["features"]["time"].update(time_zone="UTC-02:00"),
    "timestamp": lambda content: content["data"].update(timestamp="moment"),
    "body": lambda content: content["backbone"].update(experts=3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_settings_that_decide_scores_are_part_of_the_fingerprint(
    change: Callable[[dict[str, Any]], object], backbone_copy: Job, experiment: Experiment
) -> None:
    content = backbone_copy.raw_experiment()
    before = settings_digest(content)
    change(content)
    assert settings_digest(content) != before
    write_json(backbone_copy.backbone / "experiment.json", content)
    with pytest.raises(InputError, match=r"experiment\.json: damaged") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_settings_that_decide_no_score_are_not(backbone_copy: Job) -> None:
    content = backbone_copy.raw_experiment()
    before = settings_digest(content)
    content["finetune"]["epochs"] += 1
    content["evaluation"]["bootstrap"] += 1
    content["new"] = {"of": "a younger program"}
    assert settings_digest(content) == before


def test_the_architecture_is_part_of_the_fingerprint(
    backbone_copy: Job, experiment: Experiment
) -> None:
    """Of a backbone that is not zipped, whose config no checksum covers."""
    path = backbone_copy.backbone / "model.keras"
    keras.saving.load_model(path).save(path.with_name("model"), zipped=False)
    path.unlink()
    load_frozen(backbone_copy, experiment)
    config = path.with_name("model") / "config.json"
    whole = config.read_text()
    assert '"relu"' in whole
    config.write_text(whole.replace('"relu"', '"selu"', 1))
    with pytest.raises(InputError, match=r"the architecture .* differs from the backbone") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_a_job_without_finished_backbone_is_refused(
    backbone_copy: Job, experiment: Experiment
) -> None:
    (backbone_copy.backbone / "fingerprint.json").unlink()
    assert not backbone_copy.finished
    with pytest.raises(InputError, match=r"fingerprint\.json: not found") as error:
        load_frozen(backbone_copy, experiment)
    one_line(error)


def test_the_job_remembers_its_experiment(
    job_dir: Path, backbone_copy: Job, experiment: Experiment
) -> None:
    assert Job(job_dir).experiment() == experiment
    change_json(backbone_copy.backbone / "experiment.json", lambda content: content.update(seed=-1))
    with pytest.raises(InputError, match=r"experiment\.json: damaged") as error:
        backbone_copy.experiment()
    one_line(error)
    as_before_lists(backbone_copy)
    with pytest.raises(InputError, match=r"experiment\.json: not an experiment") as error:
        backbone_copy.experiment()
    one_line(error)
