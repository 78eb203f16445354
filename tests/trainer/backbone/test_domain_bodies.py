"""The multi-domain bodies: their equations, what a topic moves, and the whole path from
pre-training to the exported signatures.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import ConfigError, Experiment
from configs.training import Backbone
from preprocessing.features.topic import topic_index
from preprocessing.features.transform import Transform, transform_outputs
from preprocessing.logs.schema import served_columns
from serving.export.supported_ops import check_stock, read_meta_graph
from serving.export.version_writer import export
from tests.tasks import TASKS, TOWERS
from tests.trainer.conftest import SHAPE, one_line, random_kernel, variant
from trainer.backbone.bodies.builder import Build, TaskHead
from trainer.backbone.bodies.hamur import hamur
from trainer.backbone.bodies.pepnet import pepnet
from trainer.backbone.bodies.star import star
from trainer.backbone.fingerprint import model_fingerprint
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors
from trainer.backbone.model import build_backbone
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import predicted_rows, score_rows
from trainer.registry.kernel_registry import KernelStore
from trainer.training.pretrain import pretrain

BODIES = {"star": "[scene]", "pepnet": "[scene, period]", "hamur": "[period]"}
ROWS, WIDTH = 40, 5

Array = np.ndarray


def experiment_of(body: str, *settings: str) -> Experiment:
    return variant(f"backbone.body={body}", f"backbone.topics={BODIES[body]}", *settings)


class Small:
    """A body by itself over x ``[B, 5]`` and two topics of three indices; all its weights are
    random where ``loud``.
    """

    def __init__(
        self,
        body: Callable[[Any, Build], list[TaskHead]],
        topics: tuple[str, ...],
        loud: bool = True,
    ) -> None:
        settings = Backbone(
            embedding_dimension=2,
            experts=2,
            expert_layers=(4, 3),
            tower_layers=(4, 3),
            topics=topics,
        )
        x = keras.Input((WIDTH,))
        inputs = {name: keras.Input((), dtype="int32", name=name) for name in topics}
        heads = body(x, Build(settings, TOWERS, inputs, dict.fromkeys(topics, 3), count(0, 5)))
        self.model = keras.Model([x, *inputs.values()], [list(head) for head in heads])
        generator = np.random.default_rng(1)
        for weight in self.model.weights if loud else ():
            signs = 1 if "variance" in weight.path else generator.choice([-1, 1], weight.shape)
            weight.assign(generator.uniform(0.3, 0.9, weight.shape) * signs)
        self.x = generator.standard_normal((ROWS, WIDTH), np.float32)
        self.topics = [generator.integers(0, 3, ROWS).astype(np.int32) for _ in topics]
        self.weights = {
            weight.path: weight.numpy().astype(np.float64) for weight in self.model.weights
        }

    def heads(self) -> list[list[Any]]:
        """For each task: representation, tower, logit."""
        heads: list[list[Any]] = self.model([self.x, *self.topics], training=False)
        return heads

    def dense(self, name: str, z: Any) -> Any:
        return z @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def mlp(self, name: str, z: Any) -> Any:
        for depth in (0, 1):
            z = relu(self.dense(f"{name}_{depth}", z))
        return z

    def normalised(self, name: str, z: Any, domain: Any) -> Any:
        own = {part: self.weights[f"{name}/{part}"] for part in ("gamma", "beta")}
        of = {
            part: self.weights[f"{name}/{part}"][domain]
            for part in ("domain_gamma", "domain_beta", "moving_mean", "moving_variance")
        }
        z = (z - of["moving_mean"]) / np.sqrt(of["moving_variance"] + 1e-3)
        return own["gamma"] * of["domain_gamma"] * z + own["beta"] + of["domain_beta"]


def relu(z: Any) -> Any:
    return np.maximum(z, 0)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def assert_heads(small: Small, expected: list[list[Any]]) -> None:
    for received, wanted in zip(small.heads(), expected, strict=True):
        for tensor, array in zip(received, wanted, strict=True):
            assert np.ptp(array) > 0
            np.testing.assert_allclose(tensor, array, rtol=1e-4, atol=1e-4)


def test_star_by_its_equations() -> None:
    small = Small(star, ("scene",))
    weights, (domain,) = small.weights, small.topics
    auxiliary = np.concatenate([weights["domain_scene/table"][domain], small.x], axis=1)
    first = small.normalised("partitioned_normalization", small.x.astype(np.float64), domain)

    def layer(name: str, depth: int, z: Any) -> Any:
        kernel = (
            weights[f"{name}/kernel_{depth}"] * weights[f"{name}/domain_kernel_{depth}"][domain]
        )
        bias = weights[f"{name}/bias_{depth}"] + weights[f"{name}/domain_bias_{depth}"][domain]
        return np.einsum("bi,bij->bj", z, kernel) + bias

    expected = []
    for task in ("ctr", "cvr"):
        representation = relu(layer(f"{task}_bottom", 1, relu(layer(f"{task}_bottom", 0, first))))
        tower = relu(layer(f"{task}_tower", 1, relu(layer(f"{task}_tower", 0, representation))))
        logit = layer(f"{task}_logit", 0, tower) + small.dense(
            f"{task}_auxiliary_logit", small.mlp(f"{task}_auxiliary", auxiliary)
        )
        expected.append([representation, tower, logit])
    assert_heads(small, expected)


def pepnet_by_hand(small: Small, x: Any, epnet_x: Any, prior_x: Any) -> list[list[Any]]:
    """PEPNet of x, with what its gates read of x given apart."""
    domain = np.concatenate(
        [
            small.weights[f"domain_{name}/table"][index]
            for name, index in zip(("scene", "period"), small.topics, strict=True)
        ],
        1,
    )
    prior = np.concatenate([prior_x, domain], axis=1)

    def gate(name: str, z: Any) -> Any:
        return 2 * sigmoid(small.dense(f"{name}_gate", relu(small.dense(f"{name}_hidden", z))))

    x = x * gate("epnet", np.concatenate([domain, epnet_x], axis=1))
    kernels, biases = (
        [small.weights[f"experts/{part}_{depth}"] for depth in (0, 1)]
        for part in ("kernel", "bias")
    )
    experts = relu(np.stack(np.split(x @ kernels[0], 2, axis=1)) + biases[0][:, None])
    experts = relu(experts @ kernels[1] + biases[1][:, None])
    heads = []
    for task in ("ctr", "cvr"):
        share = np.exp(small.dense(f"{task}_gate", x))
        mixture = np.einsum("ebw,be->bw", experts, share / share.sum(axis=1, keepdims=True))
        hidden = representation = mixture * gate(f"{task}_ppnet_0", prior)
        for depth in (0, 1):
            hidden = relu(small.dense(f"{task}_tower_{depth}", hidden)) * gate(
                f"{task}_ppnet_{depth + 1}", prior
            )
        heads.append([representation, hidden, small.dense(f"{task}_logit", hidden)])
    return heads


def test_pepnet_by_its_equations() -> None:
    small = Small(pepnet, ("scene", "period"))
    assert_heads(small, pepnet_by_hand(small, small.x, small.x, small.x))


def test_no_gradient_goes_back_through_what_pepnets_gates_read() -> None:
    small = Small(pepnet, ("scene", "period"))
    with tf.GradientTape() as tape:
        x = tf.constant(small.x)
        tape.watch(x)
        heads = small.model([x, *map(tf.constant, small.topics)], training=False)
        loss = tf.add_n([tf.reduce_sum(logit) for _, _, logit in heads])
    received = tape.gradient(loss, x)
    step, x = 1e-6, small.x.astype(np.float64)
    for column in range(WIDTH):
        up, down = x.copy(), x.copy()
        up[:, column] += step
        down[:, column] -= step
        logits = [
            sum(logit[:, 0] for _, _, logit in pepnet_by_hand(small, moved, x, x))
            for moved in (up, down)
        ]
        np.testing.assert_allclose(
            received[:, column], (logits[0] - logits[1]) / (2 * step), rtol=1e-3, atol=1e-3
        )


def hamur_by_hand(small: Small, with_adapters: bool = True) -> list[list[Any]]:
    (domain,) = small.topics
    instance = np.concatenate([small.weights["domain_scene/table"][domain], small.x], axis=1)
    core = small.dense("hyper_core", relu(small.dense("hyper_hidden", instance))).reshape(-1, 2, 2)
    hidden = small.x
    for depth in (0, 1):
        hidden = relu(small.dense(f"bottom_{depth}", hidden))
        part = {
            name: small.weights[f"adapter_{depth}/{name}"]
            for name in ("u_0", "v_0", "bias_0", "u_1", "v_1", "bias_1")
        }
        narrow = sigmoid(
            np.einsum("bi,ij,bjk,kl->bl", hidden, part["u_0"], core, part["v_0"]) + part["bias_0"]
        )
        wide = (
            np.einsum("bi,ij,bjk,kl->bl", narrow, part["u_1"], core, part["v_1"]) + part["bias_1"]
        )
        hidden = hidden + small.normalised(f"domain_norm_{depth}", wide, domain) * with_adapters
    towers = {task: small.mlp(f"{task}_tower", hidden) for task in ("ctr", "cvr")}
    return [[hidden, tower, small.dense(f"{task}_logit", tower)] for task, tower in towers.items()]


def test_hamur_by_its_equations() -> None:
    small = Small(hamur, ("scene",))
    assert_heads(small, hamur_by_hand(small))


def test_hamur_starts_as_its_plain_bottom() -> None:
    small = Small(hamur, ("scene",), loud=False)
    assert_heads(small, hamur_by_hand(small, with_adapters=False))


@pytest.mark.parametrize(
    ("body", "topics", "said"),
    [
        ("star", "[]", "body 'star' reads exactly one topic, received none"),
        ("star", "[scene, period]", "body 'star' reads exactly one topic, received scene, period"),
        ("hamur", "[]", "body 'hamur' reads exactly one topic, received none"),
        ("pepnet", "[]", "body 'pepnet' reads at least one topic, received none"),
        ("pepnet", "[scene, scene]", "'scene' is named twice"),
        (
            "pepnet",
            "[scene, weather]",
            "'weather' is no topic; the config has: scene, period, region",
        ),
        ("mmoe", "[scene]", "body 'mmoe' reads no topic, received scene"),
    ],
)
def test_topics_that_the_body_cannot_read_are_refused(body: str, topics: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        variant(f"backbone.body={body}", f"backbone.topics={topics}")
    assert one_line(error).endswith(f"backbone.topics: {said}")


@pytest.fixture(scope="module", params=BODIES)
def body(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def experiment_(body: str) -> Experiment:
    return experiment_of(body)


@pytest.fixture(scope="module")
def job(
    experiment_: Experiment, dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    """The body's job after pre-training, with a kernel for a domain."""
    job = Job(tmp_path_factory.mktemp(experiment_.backbone.body))
    pretrain(experiment_, dataset_dir, job)
    tap = load_frozen(job, experiment_).output[SHAPE.tap]
    shape = KernelShape((tap.shape[-1], 4, 1), "relu", True, SHAPE.tap)
    settings = {"split": "finetune", "regulariser": "none", "beta": 0.0, "validation": "validation"}
    manifest = {
        "shape": shape.to_json(),
        "rows": {"train": 1, "validation": 1},
        "finetune": settings,
        "activated": True,
        "validation": {},
    }
    store = KernelStore(job)
    store.activate("scene=home", store.add("scene=home", random_kernel(shape, 5), manifest))
    return job


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


def test_training_lowers_the_loss_and_moves_every_weight(
    experiment_: Experiment, dataset: Dataset, job: Job
) -> None:
    fresh = build_backbone(experiment_, transform_outputs(experiment_, dataset.fitted))
    trained = keras.saving.load_model(job.backbone / "model.keras", safe_mode=True)
    for before, after in zip(fresh.weights, trained.weights, strict=True):
        assert before.path == after.path
        assert (before.numpy() != after.numpy()).any(), before.path
    history = json.loads((job.backbone / "history.json").read_text())
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert max(entry["validation"]["ctr_auc"] for entry in history) > 0.55


def test_checkpoints_hold_moving_moments(experiment_: Experiment, job: Job) -> None:
    model = keras.saving.load_model(job.backbone / "model.keras")
    stored = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(job.checkpoints / "latest")))
    for index, variable in enumerate(model.variables):
        saved = stored.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE")
        assert saved.shape == variable.shape
        assert "moving" not in variable.path or np.ptp(saved) > 0


def test_a_backbone_is_a_function_of_its_seed_and_no_two_weights_start_equal(
    experiment_: Experiment, dataset: Dataset
) -> None:
    outputs = transform_outputs(experiment_, dataset.fitted)
    model, again = build_backbone(experiment_, outputs), build_backbone(experiment_, outputs)
    assert model_fingerprint(model, "t") == model_fingerprint(again, "t")
    drawn = [weight.numpy().ravel()[:4] for weight in model.weights]
    starts = [values.tobytes() for values in drawn if np.ptp(values) > 0]
    assert len(set(starts)) == len(starts) > 10


def test_reload_in_safe_mode_gives_equal_scores(
    experiment_: Experiment, dataset: Dataset, job: Job, columns: dict[str, Any], tmp_path: Path
) -> None:
    frozen = load_frozen(job, experiment_)
    assert {f"topic/{name}" for name in experiment_.backbone.topics} <= set(frozen.input)
    frozen.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_equal(heads_of(reloaded, columns), heads_of(frozen, columns))
    before = [weight.numpy() for weight in frozen.weights]
    frozen(feature_tensors(columns, frozen), training=True)
    np.testing.assert_equal(
        [weight.numpy() for weight in frozen.weights], before
    )  # frozen statistics stay


def test_every_topic_the_body_reads_moves_the_logits_of_its_rows_alone(
    experiment_: Experiment, job: Job, columns: dict[str, Any]
) -> None:
    frozen = load_frozen(job, experiment_)
    before = heads_of(frozen, columns)["logits"]
    for topic in experiment_.backbone.topics:
        moved = columns[f"topic/{topic}"].copy()
        moved[::2] = (moved[::2] + 1) % (1 + len(experiment_.topics[topic].names))
        after = heads_of(frozen, columns, **{f"topic/{topic}": moved})["logits"]
        moved_logits = before[::2] != after[::2]
        assert moved_logits.any(axis=1).all()  # of every row; one of two may round to the same
        assert moved_logits.mean() > 0.95
        np.testing.assert_allclose(before[1::2], after[1::2], rtol=0, atol=1e-6)


def test_pretrained_bodies_are_evaluated(
    experiment_: Experiment, dataset_dir: Path, job: Job
) -> None:
    result = evaluate(experiment_, dataset_dir, job)
    assert result.overall["ctr"]["auc"].backbone > 0.5
    assert result.domains["scene=home"].tasks["ctr"]["auc"].kernel != "undefined"


def raw_rows(experiment: Experiment) -> Iterator[tuple[str, Array]]:
    generator = np.random.default_rng(2)
    known = {"scene": ["home", "search", "coupons", ""], "region": ["r1", "r2", "r3"]}
    for column in served_columns(experiment):
        if column.kind == "timestamp":
            yield column.name, generator.integers(1_741_000_000, 1_742_000_000, ROWS)
        elif column.kind == "number":
            yield column.name, generator.gamma(2.0, 2.0, ROWS).astype(np.float32)
        else:
            shape = (ROWS, 4) if column.kind == "strings" else ROWS
            yield (
                column.name,
                generator.choice(
                    np.array(known.get(column.name, ["1", "2", "u7", ""]), object), shape
                ),
            )


def test_the_exported_signatures_give_the_scores_of_the_keras_path(
    experiment_: Experiment, job: Job, tmp_path: Path
) -> None:
    path = export(job, tmp_path)
    check_stock(read_meta_graph(path))
    loaded = tf.saved_model.load(str(path))
    raw = {name: tf.constant(values) for name, values in raw_rows(experiment_)}
    transform, frozen = Transform(experiment_, job.fitted()), load_frozen(job, experiment_)
    topics = {
        f"topic/{name}": topic_index(topic, raw[topic.column])
        for name, topic in experiment_.topics.items()
    }
    outputs = {**transform.features(raw), **topics}
    heads = frozen({name: outputs[name] for name in frozen.input}, training=False)
    zero_shot = predicted_rows(TASKS, heads["logits"].numpy())
    for topic in experiment_.backbone.topics:
        assert len(set(topics[f"topic/{topic}"].numpy().tolist())) > 1
    received = loaded.signatures["serving_default"](domain=tf.constant(["backbone"] * ROWS), **raw)
    together = loaded.signatures["all_domains"](**raw)
    domains = together["domains"].numpy().tolist()
    for task in ("ctr", "ctcvr"):
        np.testing.assert_allclose(received[task], zero_shot[task], rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            together[task][:, domains.index(b"backbone")], zero_shot[task], rtol=0, atol=1e-6
        )

    kernel = KernelStore(job).load("scene=home", 1)
    rows = BackboneOutputs(heads["logits"].numpy(), heads[SHAPE.tap].numpy(), {})
    expected = predicted_rows(
        TASKS, score_rows(kernel.shape, kernel.weights, rows, np.arange(ROWS))
    )
    for asked in (["scene=home"] * ROWS, ["scene=home", "backbone"] * (ROWS // 2)):
        home = np.array([name == "scene=home" for name in asked])
        received = loaded.signatures["serving_default"](domain=tf.constant(asked), **raw)
        np.testing.assert_allclose(
            received["ctr"], np.where(home, expected["ctr"], zero_shot["ctr"]), rtol=0, atol=1e-6
        )
    empty = loaded.signatures["serving_default"](
        domain=tf.constant([], tf.string), **{name: values[:0] for name, values in raw.items()}
    )
    assert empty["ctcvr"].shape == (0,)
