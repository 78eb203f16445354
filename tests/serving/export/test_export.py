"""The SavedModel against the Keras path it was made from: through the C++ loader, through
TensorFlow's own, and over gRPC.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import grpc
import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.cli import run
from configs.files import write_json
from configs.section import parse_time_zone
from configs.topics import hours_of
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform, transform_outputs
from preprocessing.hashing import fingerprint64
from preprocessing.logs.schema import served_columns
from serving.client import Client
from serving.export import __main__ as command
from serving.export import version_writer as exporting
from serving.export.kernel_slots import Layout
from serving.export.version_writer import export
from serving.server.failures import status_of
from serving.server.servable import Servable
from serving.wire.errors import StatusError
from serving.wire.tensor_protos import encode
from serving.wire.tf_examples import example
from serving.wire.version_files import version_directories
from tests.serving import jobs
from tests.serving.conftest import NAME, serving
from tests.serving.jobs import add_kernel
from tests.tasks import TASKS
from tests.trainer.conftest import as_before_lists
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import predicted_rows, score_rows
from trainer.registry.kernel_registry import KernelStore

ACTIVE = (
    "all",
    "scene=home",
    "scene=search",
    "period=lunch",
    "region=r2",
    "region=r1,scene=home",
    "region=r2,scene=search",
)
ANSWERS = {
    "period=dinner": "all",
    "region=r2,scene=home": "region=r2",
    "scene=home,region=r2": "region=r2",
    "scene=home,region=r1": "region=r1,scene=home",
}
"""What answers a name that has no active kernel, or is spelt in another order. All kernels here
have the same gain, so the first topic of a cross comes first.
"""
OUTPUTS = ("ctr", "cvr", "ctcvr", "score")
ROWS = 60

Outputs = dict[str, np.ndarray]
Predict = Callable[..., Outputs]


@pytest.fixture(scope="module")
def fitted(experiment: Experiment) -> Fitted:
    return jobs.made_up(experiment)


@pytest.fixture(scope="module")
def loud_job(
    experiment: Experiment, fitted: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    return jobs.loud_job(tmp_path_factory.mktemp("loud"), experiment, fitted)


@pytest.fixture(scope="module")
def backbone(loud_job: Job, experiment: Experiment) -> keras.Model:
    return load_frozen(loud_job, experiment)


@pytest.fixture(scope="module")
def kernel_job(
    loud_job: Job,
    backbone: keras.Model,
    experiment: Experiment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Job:
    """The same with kernels for some domains."""
    job = Job(shutil.copytree(loud_job.folder, tmp_path_factory.mktemp("kernels") / "job"))
    shape = KernelShape.of(
        experiment.kernel, read_tap(backbone.output, experiment.kernel.tap).shape[-1]
    )
    for seed, domain in enumerate(ACTIVE):
        add_kernel(KernelStore(job), domain, shape, seed)
    return job


@pytest.fixture(scope="module")
def exported(kernel_job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(kernel_job, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def raw(experiment: Experiment) -> dict[str, np.ndarray]:
    """Raw rows as a client sends them: known, unknown and missing values in every column."""
    random = np.random.default_rng(2)
    drawn: dict[str, np.ndarray] = {}
    for column in served_columns(experiment):
        if column.kind == "timestamp":
            drawn[column.name] = random.integers(1_741_000_000, 1_742_000_000, ROWS)
        elif column.kind == "number":
            drawn[column.name] = np.where(
                random.random(ROWS) < 0.2, np.nan, random.gamma(2.0, 2.0, ROWS)
            ).astype(np.float32)
        else:
            values = {"scene": ["home", "search", "coupons"], "region": ["r1", "r2", "r3"]}.get(
                column.name,
                [
                    f"{'shop_id' if column.kind == 'strings' else column.name}{index}"
                    for index in range(14)
                ],
            )
            shape = (ROWS, 5) if column.kind == "strings" else ROWS
            drawn[column.name] = random.choice(np.array([*values, ""], object), shape)
    return drawn


def reference(
    job: Job, backbone: keras.Model, raw: dict[str, np.ndarray], domains: list[str]
) -> Outputs:
    """The Keras path: transform, frozen backbone, stored kernels; ``domains`` names each row's
    own.
    """
    experiment, store = job.experiment(), KernelStore(job)
    features = Transform(experiment, job.fitted()).features(
        {name: tf.constant(values) for name, values in raw.items()}
    )
    heads = backbone({name: features[name] for name in backbone.input}, training=False)
    logits = heads["logits"].numpy()
    for domain in set(domains) & set(store.active()):
        kernel = store.load(domain, store.active()[domain])
        rows = np.flatnonzero(np.array(domains) == domain)
        columns = {f"feature/{name}": tensor.numpy() for name, tensor in features.items()}
        data = BackboneOutputs(
            heads["logits"].numpy(), read_tap(heads, kernel.shape.tap).numpy(), columns
        )
        logits[rows] = score_rows(kernel.shape, kernel.weights, data, rows)
    return with_score(predicted_rows(TASKS, logits))


def with_score(predicted: Mapping[str, np.ndarray]) -> Outputs:
    """The predictions, and what a config without a score ranks a page by."""
    return {**predicted, "score": predicted["ctcvr"]}


def automatic(experiment: Experiment, raw: dict[str, np.ndarray]) -> list[str]:
    """What ``auto`` must serve each row by, worked out in plain Python."""
    served = []
    for row in range(len(raw["scene"])):
        period = experiment.topics["period"]
        hour = datetime.fromtimestamp(
            int(raw[period.column][row]), parse_time_zone(period.time_zone)
        ).hour
        found = {"scene": raw["scene"][row], "region": raw["region"][row]}
        found["period"] = next(
            (name for name, hours in period.hours.items() if hour in hours_of(hours)), ""
        )
        own = [
            f"{topic}={found[topic]}" for topic in experiment.topics
        ]  # in the config's order of topics
        crossed = [f"region={found['region']},scene={found['scene']}"]
        served.append(
            next((name for name in [*crossed, *own, "all"] if name in ACTIVE), "backbone")
        )
    return served


class InSession:
    """A SavedModel in a Session, by the loader that TensorFlow Serving uses."""

    def __init__(self, path: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self.signatures = tf.compat.v1.saved_model.loader.load(
                self._session, ["serve"], str(path)
            ).signature_def

    def __call__(self, signature: str, **inputs: Any) -> Outputs:
        definition = self.signatures[signature]
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run(
            {name: info.name for name, info in definition.outputs.items()}, feeds
        )

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def in_session(exported: Path) -> Iterator[InSession]:
    model = InSession(exported)
    yield model
    model.close()


@pytest.fixture(scope="module")
def in_python(exported: Path) -> Predict:
    module = tf.saved_model.load(str(exported))

    def predict(signature: str, **inputs: Any) -> Outputs:
        return {
            name: tensor.numpy()
            for name, tensor in module.signatures[signature](
                **{k: tf.constant(v) for k, v in inputs.items()}
            ).items()
        }

    predict.module = module  # its variables live as long as it does
    return predict


@pytest.fixture(scope="module", params=["in_session", "in_python"])
def predict(request: pytest.FixtureRequest) -> Predict:
    """The SavedModel by either loader."""
    loaded: Predict = request.getfixturevalue(request.param)
    return loaded


def names(served: np.ndarray) -> list[str]:
    return [name.decode() for name in served]


def assert_scores(received: Outputs, expected: Outputs, tolerance: float = 1e-6) -> None:
    for task in OUTPUTS:
        assert received[task].dtype == np.float32
        np.testing.assert_allclose(received[task], expected[task], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "domain",
    [
        *ACTIVE,
        "backbone",
        "period=dinner",
        "region=r2,scene=home",
        "scene=home,region=r2",
        "scene=home,region=r1",
    ],
)
def test_every_loader_gives_the_scores_of_the_keras_path(
    predict: Predict,
    kernel_job: Job,
    backbone: keras.Model,
    raw: dict[str, np.ndarray],
    domain: str,
) -> None:
    served = ANSWERS.get(domain, domain)
    received = predict("serving_default", domain=np.array([domain] * ROWS, object), **raw)
    assert names(received["served_domain"]) == [served] * ROWS
    assert_scores(received, reference(kernel_job, backbone, raw, [served] * ROWS))


@pytest.mark.parametrize("name", ["", "moon", "scene", "All", "all\n", "scene=home,scene=home"])
def test_a_name_that_nobody_has_is_auto(
    predict: Predict, raw: dict[str, np.ndarray], name: str
) -> None:
    received, automatic = (
        predict("serving_default", domain=np.array([domain] * ROWS, object), **raw)
        for domain in (name, "auto")
    )
    assert len(set(names(received["served_domain"]))) > 2
    assert received["served_domain"].tolist() == automatic["served_domain"].tolist()
    for task in OUTPUTS:
        assert received[task].tobytes() == automatic[task].tobytes()


def test_the_scores_of_the_domains_are_far_apart(
    in_python: Predict, raw: dict[str, np.ndarray]
) -> None:
    """Otherwise the tests of this file could not tell them apart."""
    scores = [
        in_python("serving_default", domain=np.array([name] * ROWS, object), **raw)["ctr"]
        for name in [*ACTIVE, "backbone"]
    ]
    for index, first in enumerate(scores):
        for second in scores[:index]:
            assert np.abs(first - second).mean() > 0.01


def test_auto_is_the_most_specific_active_domain(
    predict: Predict,
    kernel_job: Job,
    backbone: keras.Model,
    experiment: Experiment,
    raw: dict[str, np.ndarray],
) -> None:
    expected = automatic(experiment, raw)
    assert set(expected) == set(ACTIVE)
    received = predict("serving_default", domain=np.array(["auto"] * ROWS, object), **raw)
    assert names(received["served_domain"]) == expected
    assert_scores(received, reference(kernel_job, backbone, raw, expected))


def test_rows_of_different_domains_share_a_batch(
    predict: Predict, kernel_job: Job, backbone: keras.Model, raw: dict[str, np.ndarray]
) -> None:
    asked = [[*ACTIVE, "backbone", "period=dinner"][row % 9] for row in range(ROWS)]
    served = [ANSWERS.get(name, name) for name in asked]
    received = predict("serving_default", domain=np.array(asked, object), **raw)
    assert names(received["served_domain"]) == served
    assert_scores(received, reference(kernel_job, backbone, raw, served))


def test_all_domains_is_every_domain_side_by_side(
    predict: Predict, raw: dict[str, np.ndarray]
) -> None:
    together = predict("all_domains", **raw)
    domains = names(together["domains"])
    assert sorted(domains) == sorted([*ACTIVE, "backbone"])
    for column, domain in enumerate(domains):
        alone = predict("serving_default", domain=np.array([domain] * ROWS, object), **raw)
        for task in ("ctr", "ctcvr"):
            assert together[task].shape == (ROWS, len(domains))
            np.testing.assert_allclose(together[task][:, column], alone[task], rtol=0, atol=1e-6)


def one_user(
    experiment: Experiment, raw: dict[str, np.ndarray], row: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Every item for the user and the context of one row: as ``rank`` takes it, and as
    ``serving_default`` does.
    """
    items = {column.name for column in served_columns(experiment) if column.side == "item"}
    ranked = {
        name: values if name in items else values[row : row + 1] for name, values in raw.items()
    }
    return ranked, {
        name: values if name in items else np.repeat(values[row : row + 1], ROWS, axis=0)
        for name, values in raw.items()
    }


@pytest.mark.parametrize("domain", ["all", "region=r1,scene=home", "backbone", "moon", "auto"])
def test_rank_gives_the_scores_of_its_rows_written_out(
    predict: Predict, experiment: Experiment, raw: dict[str, np.ndarray], domain: str
) -> None:
    for row in (0, 7, 31):
        ranked, written_out = one_user(experiment, raw, row)
        received = predict("rank", domain=np.array([domain], object), **ranked)
        expected = predict(
            "serving_default", domain=np.array([domain] * ROWS, object), **written_out
        )
        assert list(received["served_domain"]) == list(expected["served_domain"])
        assert_scores(received, expected, tolerance=1e-6)


def test_rank_routes_by_topics_of_items_too(
    loud_job: Job, backbone: keras.Model, raw: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """A topic may be cut by an item's column; its rows are then of different domains."""
    job = Job(shutil.copytree(loud_job.folder, tmp_path / "job"))
    settings = job.experiment().model_dump(mode="json")
    settings["features"]["scene"]["side"] = "item"
    write_json(job.backbone / "experiment.json", settings)
    as_before_lists(job)
    shape = KernelShape.of(
        job.experiment().kernel, read_tap(backbone.output, job.experiment().kernel.tap).shape[-1]
    )
    for seed, domain in enumerate(ACTIVE):
        add_kernel(KernelStore(job), domain, shape, seed)
    model = InSession(export(job, tmp_path / "models"))
    ranked, written_out = one_user(job.experiment(), raw, 3)
    received = model("rank", domain=np.array(["auto"], object), **ranked)
    assert ranked["scene"].shape == (ROWS,)
    assert len(set(names(received["served_domain"]))) > 2
    assert names(received["served_domain"]) == automatic(job.experiment(), written_out)
    assert_scores(
        received, model("serving_default", domain=np.array(["auto"] * ROWS, object), **written_out)
    )
    model.close()


def test_rank_refuses_items_of_different_number(
    predict: Predict, experiment: Experiment, raw: dict[str, np.ndarray]
) -> None:
    ranked, _ = one_user(experiment, raw, 0)
    with pytest.raises(tf.errors.InvalidArgumentError):
        predict(
            "rank", domain=np.array(["all"], object), **{**ranked, "rating": ranked["rating"][:1]}
        )


def test_examples_are_the_rows_they_were_made_of(
    predict: Predict, raw: dict[str, np.ndarray]
) -> None:
    """Features that an example leaves out are missing, lists are of any length, and a timestamp
    that is not there is 0.
    """
    history = np.array(
        [[*filter(None, row), *[""] * list(row).count("")] for row in raw["history"]], object
    )
    sent = {
        **raw,
        "history": history,
        "timestamp": np.where(np.arange(ROWS) % 5 == 0, 0, raw["timestamp"]),
    }
    rows = [
        {
            name: values[row].tolist() if name == "history" else values[row]
            for name, values in sent.items()
        }
        for row in range(ROWS)
    ]
    plain = [
        {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    plain = [
        {name: value for name, value in row.items() if (name, value) != ("timestamp", 0)}
        for row in plain
    ]
    serialized = np.array([example(row) for row in plain], object)
    assert len({len(row["history"]) - row["history"].count("") for row in rows}) > 2
    asked = np.array([[*ACTIVE, "auto", "moon"][row % 9] for row in range(ROWS)], object)
    received = predict("examples", examples=serialized, domain=asked)
    expected = predict("serving_default", domain=asked, **sent)
    assert list(received["served_domain"]) == list(expected["served_domain"])
    assert_scores(received, expected, tolerance=0.0)


@pytest.mark.parametrize("damaged", [b"no example", b"\xff\xff"])
def test_an_example_that_is_not_one_is_refused(exported: Path, damaged: bytes) -> None:
    """TensorFlow quotes the example in its message, UTF-8 or not."""
    servable = Servable(1, exported)
    inputs = {"examples": encode([damaged], STRING), "domain": encode([b"all"], STRING)}
    with pytest.raises((StatusError, tf.errors.OpError)) as caught:
        servable.predict("examples", inputs)
    assert status_of(caught.value).code is grpc.StatusCode.INVALID_ARGUMENT
    assert "Could not parse example input" in status_of(caught.value).message
    servable.close()


@pytest.mark.parametrize("domain", ["backbone", "scene=home", "auto"])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_are_scored_as_in_a_batch(
    predict: Predict, raw: dict[str, np.ndarray], domain: str, rows: int
) -> None:
    some = {name: values[:rows] for name, values in raw.items()}
    received = predict("serving_default", domain=np.array([domain] * rows, object), **some)
    whole = predict("serving_default", domain=np.array([domain] * ROWS, object), **raw)
    assert {name: values.shape for name, values in received.items()} == dict.fromkeys(
        [*OUTPUTS, "served_domain"], (rows,)
    )
    assert names(received["served_domain"]) == names(whole["served_domain"][:rows])
    assert_scores(received, {task: whole[task][:rows] for task in OUTPUTS})
    side_by_side = predict("all_domains", **some)
    assert side_by_side["ctr"].shape == side_by_side["ctcvr"].shape == (rows, 1 + len(ACTIVE))


def test_the_width_of_a_padded_list_does_not_matter(
    predict: Predict, raw: dict[str, np.ndarray]
) -> None:
    domain = np.array(["all"] * ROWS, object)
    padded = np.concatenate([raw["history"], np.full((ROWS, 30), "", object)], axis=1)
    assert_scores(
        predict("serving_default", domain=domain, **{**raw, "history": padded}),
        predict("serving_default", domain=domain, **raw),
    )


FLOAT, INT64, STRING = (dtype.as_datatype_enum for dtype in (tf.float32, tf.int64, tf.string))


def test_signatures_are_as_documented(in_session: InSession, experiment: Experiment) -> None:
    strings = (
        "user_id",
        "segment",
        "city_tier",
        "device",
        "shop_id",
        "cuisine",
        "price_level",
        "scene",
        "region",
    )
    numbers = ("user_orders", "rating", "shop_orders_last_day", "delivery_minutes", "discount")
    features = {**dict.fromkeys(strings, (STRING, [-1])), **dict.fromkeys(numbers, (FLOAT, [-1]))}
    features |= {"history": (STRING, [-1, -1]), "timestamp": (INT64, [-1])}
    once = dict.fromkeys(
        ("user_id", "segment", "city_tier", "device", "scene", "region", "domain"), (STRING, [1])
    )
    once |= {"user_orders": (FLOAT, [1]), "history": (STRING, [1, -1]), "timestamp": (INT64, [1])}
    scores = {**dict.fromkeys(OUTPUTS, (FLOAT, [-1])), "served_domain": (STRING, [-1])}
    expected = {
        "serving_default": ({**features, "domain": (STRING, [-1])}, scores),
        "rank": ({**features, **once}, scores),
        "examples": ({"examples": (STRING, [-1]), "domain": (STRING, [-1])}, scores),
        "all_domains": (
            features,
            {
                **dict.fromkeys(("ctr", "ctcvr", "score"), (FLOAT, [-1, -1])),
                "domains": (STRING, [-1]),
            },
        ),
    }

    def described(infos: Any) -> dict[str, tuple[int, list[int]]]:
        return {
            name: (info.dtype, [dim.size for dim in info.tensor_shape.dim])
            for name, info in infos.items()
        }

    public = {
        name: signature
        for name, signature in in_session.signatures.items()
        if not name.startswith("__")
    }
    assert {
        name: (described(signature.inputs), described(signature.outputs))
        for name, signature in public.items()
    } == expected
    assert experiment.backbone.debias.feature == "position"
    assert all(
        signature.method_name == "tensorflow/serving/predict" for signature in public.values()
    )


def test_every_weight_is_stored_once(
    exported: Path, backbone: keras.Model, kernel_job: Job
) -> None:
    stored = tf.train.load_checkpoint(str(exported / "variables" / "variables"))
    shapes = {
        name: shape
        for name, shape in stored.get_variable_to_shape_map().items()
        if not name.startswith("_CHECKPOINTABLE")
    }
    sizes = sum(int(np.prod(shape)) for shape in shapes.values() if shape)
    kernel = sum(
        int(np.prod(size))
        for size in KernelStore(kernel_job).load("all", 1).shape.variables().values()
    )
    slots = 16
    table = 2 * (1 + len(kernel_job.experiment().domains)) + slots
    assert (
        sizes
        == sum(int(np.prod(weight.shape)) for weight in backbone.weights) + slots * kernel + table
    )
    files = sum(path.stat().st_size for path in (exported / "variables").iterdir())
    assert 4 * sizes < files < 4 * sizes + 100_000
    assert not any("position" in weight.path for weight in backbone.weights)


def test_without_an_active_kernel_the_backbone_is_served(
    loud_job: Job, backbone: keras.Model, raw: dict[str, np.ndarray], tmp_path: Path
) -> None:
    model = InSession(export(loud_job, tmp_path))
    expected = reference(loud_job, backbone, raw, ["backbone"] * ROWS)
    for domain in ("backbone", "auto", "all", "scene=home"):
        received = model("serving_default", domain=np.array([domain] * ROWS, object), **raw)
        assert set(names(received["served_domain"])) == {"backbone"}
        assert_scores(received, expected)
    together = model("all_domains", **raw)
    assert names(together["domains"]) == ["backbone"]
    np.testing.assert_allclose(together["ctcvr"][:, 0], expected["ctcvr"], rtol=0, atol=1e-6)
    model.close()


def test_kernels_that_replace_the_logit_and_read_another_tap(
    loud_job: Job, backbone: keras.Model, raw: dict[str, np.ndarray], tmp_path: Path
) -> None:
    job = Job(shutil.copytree(loud_job.folder, tmp_path / "job"))
    shape = KernelShape((backbone.output["tower"].shape[-1], 5, 4, 1), "tanh", False, "tower")
    for seed, domain in enumerate(("all", "scene=home")):
        add_kernel(KernelStore(job), domain, shape, seed)
    model = InSession(export(job, tmp_path / "models"))
    for served in (
        ["backbone"] * ROWS,
        ["all"] * ROWS,
        ["all", "scene=home", "backbone"] * (ROWS // 3),
    ):
        assert_scores(
            model("serving_default", domain=np.array(served, object), **raw),
            reference(job, backbone, raw, served),
        )
    model.close()


def test_gated_kernels_look_up_the_user_of_every_row(
    loud_job: Job, backbone: keras.Model, fitted: Fitted, raw: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """By both loaders' signatures: one domain, a mixed batch, and every domain side by side."""
    experiment = loud_job.experiment()
    job = Job(shutil.copytree(loud_job.folder, tmp_path / "job"))
    plain = KernelShape.of(
        experiment.kernel, read_tap(backbone.output, experiment.kernel.tap).shape[-1]
    )
    shape = replace(
        plain, user="user_id", support=transform_outputs(experiment, fitted)["user_id"].size
    )
    for seed, domain in enumerate(("all", "scene=home")):
        add_kernel(KernelStore(job), domain, shape, seed)
    model = InSession(export(job, tmp_path / "models"))
    for served in (
        ["backbone"] * ROWS,
        ["all"] * ROWS,
        ["all", "scene=home", "backbone"] * (ROWS // 3),
    ):
        received = model("serving_default", domain=np.array(served, object), **raw)
        assert_scores(received, reference(job, backbone, raw, served), tolerance=1e-5)
    together = model("all_domains", **raw)
    for column, domain in enumerate(names(together["domains"])):
        expected = reference(job, backbone, raw, [domain] * ROWS)
        for task in ("ctr", "ctcvr"):
            np.testing.assert_allclose(together[task][:, column], expected[task], rtol=0, atol=1e-5)
    somebody_else = {**raw, "user_id": np.roll(raw["user_id"], 1)}
    assert np.abs(together["ctr"] - model("all_domains", **somebody_else)["ctr"]).max() > 0.01
    model.close()


def test_kernels_of_different_shapes_are_refused_by_name(
    kernel_job: Job, backbone: keras.Model, tmp_path: Path
) -> None:
    job = Job(shutil.copytree(kernel_job.folder, tmp_path / "job"))
    add_kernel(
        KernelStore(job),
        "region=r1",
        KernelShape((backbone.output["tower"].shape[-1], 3, 1), "relu", True, "tower"),
        0,
    )
    with pytest.raises(InputError, match="different shapes") as caught:
        export(job, tmp_path / "models")
    assert "'region=r1' has" in str(caught.value)
    assert "'all' has" in str(caught.value)
    assert not (tmp_path / "models").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports in no time: what is written does not matter, only that it appears."""

    def write(aside: Path, *arguments: Any) -> tuple[Layout, dict[str, int]]:
        (aside / "saved_model.pb").write_bytes(b"whole")
        return Layout(KernelShape((1, 1), "relu", True, "tower"), 16), {}

    monkeypatch.setattr(exporting, "_write_all", write)
    monkeypatch.setattr(exporting, "_write_extra", lambda *arguments: None)
    monkeypatch.setattr(exporting, "_reason", lambda *arguments: "asked for")


@pytest.mark.usefixtures("quick")
def test_versions_count_up_and_never_change(loud_job: Job, tmp_path: Path) -> None:
    models = tmp_path / "new" / "models"
    assert export(loud_job, models) == models / "1"
    assert export(loud_job, models, 7) == models / "7"
    assert export(loud_job, models) == models / "8"
    with pytest.raises(
        InputError, match="7: exists already; a version never changes, choose another --version"
    ):
        export(loud_job, models, 7)
    assert sorted(path.name for path in models.iterdir()) == ["1", "7", "8"]
    assert (models / "1").stat().st_mode & 0o777 == 0o755


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "failure", [RuntimeError("disk full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_a_failed_export_leaves_nothing(
    loud_job: Job, tmp_path: Path, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(aside: Path, *arguments: Any) -> None:
        (aside / "saved_model.pb").write_bytes(b"half")
        raise failure

    export(loud_job, tmp_path)
    monkeypatch.setattr(exporting, "_write_all", fail)
    with pytest.raises(type(failure)):
        export(loud_job, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.usefixtures("quick")
def test_a_killed_export_leaves_nothing_that_a_server_would_load(
    loud_job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process cleans nothing up, at whatever step before the last."""
    seen = []

    def die(self: Path, target: Path) -> None:
        seen.append((sorted(path.name for path in self.iterdir()), target.name))
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", die)
        killed.setattr(shutil, "rmtree", lambda *arguments, **settings: None)
        with pytest.raises(KeyboardInterrupt):
            export(loud_job, tmp_path)
    assert seen == [(["assets.extra", "saved_model.pb"], "1")]  # complete before it appears
    assert len(list(tmp_path.iterdir())) == 1
    assert version_directories(tmp_path) == {}
    assert export(loud_job, tmp_path) == tmp_path / "1"
    assert version_directories(tmp_path) == {1: tmp_path / "1"}


def test_a_job_without_a_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the step that writes it first"):
        export(Job(tmp_path / "job"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_base_path_that_is_a_file_is_refused(loud_job: Job, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(InputError, match="models"):
        export(loud_job, tmp_path / "models")


def test_a_base_path_that_no_server_could_load_is_refused(loud_job: Job, tmp_path: Path) -> None:
    """TensorFlow takes the paths of variables for patterns."""
    with pytest.raises(InputError, match=r"models\[1\]: expected a folder without"):
        export(loud_job, tmp_path / "models[1]")
    assert not (tmp_path / "models[1]").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "models"], "--job-dir"),
        (["--job-dir", "nowhere"], "--output"),
        (
            ["--job-dir", "nowhere", "--output", "models", "--version", "0"],
            "expected an integer from 1 on, received 0",
        ),
        (["--job-dir", "nowhere", "--output", "models", "--version", "one"], "--version"),
        (
            ["--job-dir", "nowhere", "--output", "models", "--slots", "0"],
            "expected an integer from 1 on, received 0",
        ),
    ],
)
def test_the_command_refuses_bad_flags_in_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["export", *arguments])
    with pytest.raises(SystemExit) as caught:
        run(command.main)
    printed = capsys.readouterr().err
    assert (caught.value.code, printed.count("\n")) == (2, 1)
    assert said in printed


@pytest.mark.parametrize("version", [-1, 0, True, 2.5, "3"])
def test_a_version_that_is_no_number_from_1_on_is_refused(version: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--version: expected an integer from 1 on"):
        command.export(tmp_path, tmp_path / "models", version)
    assert not (tmp_path / "models").exists()


def test_logged_rows_over_grpc_get_the_trainers_own_scores(
    experiment: Experiment, logs: Path, dataset_dir: Path, job_dir: Path, models_dir: Path
) -> None:
    """From the log's Parquet rows through client, server and SavedModel, against the dataset
    through backbone and kernels.
    """
    job = Job(job_dir)
    store = KernelStore(job)
    active = sorted(store.active())
    assert len(active) >= 2
    data = run_frozen(
        load_frozen(job, experiment),
        Dataset.open(dataset_dir, experiment),
        "test",
        experiment.kernel.tap,
        "test",
    )
    place = {key: row for row, key in enumerate(data.columns["row/truth"].tolist())}
    table = pq.read_table(
        sorted(logs.glob("*.parquet")),
        filters=[("timestamp", ">=", experiment.splits["test"].start)],
    ).slice(0, 400)
    rows = np.array(
        [
            place[key]
            for key in fingerprint64(table.column("impression_id").cast(pa.string())).tolist()
        ]
    )
    sent = [{**row, "timestamp": row["timestamp"].isoformat()} for row in table.to_pylist()]
    expected = {"backbone": with_score(predicted_rows(TASKS, data.logits[rows]))}
    for domain in active[:2]:
        kernel = store.load(domain, store.active()[domain])
        logits = score_rows(kernel.shape, kernel.weights, data, rows)
        expected[domain] = with_score(predicted_rows(TASKS, logits))
    with serving(models_dir) as peer, Client(peer.target, NAME) as client:
        for domain, scores in expected.items():
            answers = client.predict(sent, domain, ignore_unknown=True)
            assert {answer["served_domain"] for answer in answers} == {domain}
            for task in OUTPUTS:
                np.testing.assert_allclose(
                    [answer[task] for answer in answers], scores[task], rtol=0, atol=1e-5
                )
