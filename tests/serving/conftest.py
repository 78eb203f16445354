"""A tiny model with every kind of input, and a server over it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from serving.server.batching.batch_scheduler import Batcher
from serving.server.grpc_endpoint import Endpoint, Observe, start
from serving.server.health import Health
from serving.server.model_config import ModelConfig, VersionPolicy
from serving.server.model_manager import Models
from serving.server.model_versions import Model
from serving.server.prediction_service import Service
from serving.server.servable import Servable
from serving.wire.messages import PredictRequest
from serving.wire.tensor_protos import encode

NAME = "tiny"
MOST_BYTES = 1 << 20
USERS = ["u1", "u2", "u3"]
DOMAINS = ["all", "scene=home"]


class Tiny(tf.Module):
    """Scores that depend on every input, on a vocabulary and on the version."""

    def __init__(self, version: int) -> None:
        super().__init__()
        values = tf.lookup.KeyValueTensorInitializer(
            tf.constant(USERS), tf.range(len(USERS), dtype=tf.int64)
        )
        self.table = tf.lookup.StaticVocabularyTable(values, 1)
        self.weights = tf.Variable([0.1, 0.2, 0.3, 0.4])
        self.version = tf.Variable(version, dtype=tf.int64)

    @tf.function(autograph=False)
    def serve(self, **row: tf.Tensor) -> dict[str, tf.Tensor]:
        user = tf.gather(self.weights, self.table.lookup(row["user"]))
        clicks = tf.reduce_sum(
            tf.gather(self.weights, self.table.lookup(row["clicks"]))
            * tf.cast(row["clicks"] != "", tf.float32),
            1,
        )
        price = tf.where(tf.math.is_nan(row["price"]), -1.0, row["price"])
        ctr = tf.sigmoid(user + clicks + price + tf.cast(row["time"] % 24, tf.float32))
        known = tf.reduce_any(row["domain"][:, None] == tf.constant(DOMAINS), 1)
        version = tf.fill(tf.shape(ctr), self.version)
        return {
            "ctr": ctr,
            "served_domain": tf.where(known, row["domain"], "backbone"),
            "version": version,
        }

    @tf.function(autograph=False)
    def all_domains(self, user: tf.Tensor) -> dict[str, tf.Tensor]:
        score = tf.gather(self.weights, self.table.lookup(user))
        return {"ctr": tf.stack([score, 2 * score], 1), "domains": tf.constant(DOMAINS)}

    @tf.function(autograph=False)
    def rank(self, **row: tf.Tensor) -> dict[str, tf.Tensor]:
        shared = tf.zeros_like(row["price"], tf.int32)
        return self.serve(
            **{
                name: tensor if name == "price" else tf.gather(tensor, shared)
                for name, tensor in row.items()
            }
        )

    @tf.function(autograph=False)
    def odd(self, pair: tf.Tensor, half: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "sum": tf.reduce_sum(pair),
            "half": half,
            "name": tf.constant(b"a\0b\0"),
            "checked": tf.ensure_shape(pair, [1, 2]),
        }


def save(version: int, path: Path) -> Path:
    """Exports a version."""
    model = Tiny(version)
    spec = tf.TensorSpec
    row = {
        "user": spec([None], tf.string, "user"),
        "clicks": spec([None, None], tf.string, "clicks"),
        "price": spec([None], tf.float32, "price"),
        "time": spec([None], tf.int64, "time"),
        "domain": spec([None], tf.string, "domain"),
    }
    once = {
        name: info if name == "price" else spec([1, *info.shape[1:]], info.dtype, name)
        for name, info in row.items()
    }
    signatures = {
        "serving_default": model.serve.get_concrete_function(**row),
        "rank": model.rank.get_concrete_function(**once),
        "all_domains": model.all_domains.get_concrete_function(spec([None], tf.string, "user")),
        "odd": model.odd.get_concrete_function(
            spec([None, 2], tf.float32, "pair"), spec([None], tf.float16, "half")
        ),
    }
    tf.saved_model.save(model, str(path), signatures=signatures)
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """SavedModels of versions 9 and 10, to copy from."""
    base = tmp_path_factory.mktemp("exported")
    return {version: save(version, base / str(version)) for version in (9, 10)}


@pytest.fixture
def publish(exported: dict[int, Path]) -> Callable[[Path, int], None]:
    """Puts a version into a base path the way an exporter does: written aside, then renamed."""

    def put(base: Path, version: int) -> None:
        aside = base / f".{version}.part"
        shutil.copytree(exported[10 if version % 2 == 0 else 9], aside)
        aside.rename(base / str(version))

    return put


@pytest.fixture
def base(tmp_path: Path, publish: Callable[[Path, int], None]) -> Path:
    """A base path with version 9."""
    publish(tmp_path, 9)
    return tmp_path


class Slow:
    """A servable that takes its time."""

    def __init__(self, version: int, path: Path) -> None:
        self.version = version
        self.signatures: dict[str, Any] = {}
        self.row_wise = False
        self.entered, self.closed = threading.Event(), threading.Event()
        self.go = threading.Event()

    def predict(self, *arguments: object) -> dict[str, Any]:
        assert not self.closed.is_set()
        self.entered.set()
        self.go.wait(10)
        assert not self.closed.is_set()
        return {}

    def close(self) -> None:
        self.closed.set()


class Peer:
    """What a test talks to: stubs, the models behind them (``model`` is the first) and the lines
    they reported.
    """

    def __init__(
        self,
        *configs: ModelConfig,
        load: Callable[[int, Path], Servable] = Servable,
        batcher: Batcher | None = None,
        observe: Observe | None = None,
        labels_before_versions: bool = False,
        reload_root: Path | None = Path("/"),
        **endpoint: Any,
    ) -> None:
        self.lines: list[str] = []
        self.health = Health()
        self.models: Models[Servable] = Models(
            configs,
            load,
            self.lines.append,
            labels_before_versions=labels_before_versions,
            changed=self.health.show,
        )
        self.model: Model[Servable] = next(iter(self.models))
        self.problems = self.models.refresh()
        self.batcher = batcher
        self.service = Service(self.models, MOST_BYTES, batcher, reload_root=reload_root)
        self.server, port = start(
            self.service, Endpoint(**{"most_bytes": MOST_BYTES, **endpoint}), self.health, observe
        )
        self.target = f"127.0.0.1:{port}"
        self.channel = grpc.insecure_channel(self.target)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.management = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()
        self.server.stop(1).wait()
        if self.batcher:
            self.batcher.close()
        self.models.close()

    def predict(self, request: Message, timeout: float = 10) -> predict_pb2.PredictResponse:
        return self.prediction.Predict(request, timeout=timeout)

    def refused(self, request: Any, method: Any = None) -> tuple[str, str]:
        """The code and message that a request must get in place of an answer."""
        with pytest.raises(grpc.RpcError) as caught:
            (method or self.prediction.Predict)(request, timeout=10)
        return caught.value.code().name, caught.value.details()


@contextmanager
def serving(
    base: Path,
    *more: ModelConfig,
    policy: VersionPolicy = VersionPolicy(),  # noqa: B008
    **settings: Any,
) -> Iterator[Peer]:
    """A server of the model ``tiny`` in ``base``, and of more models."""
    peer = Peer(ModelConfig(NAME, base, policy), *more, **settings)
    try:
        yield peer
    finally:
        peer.close()


@pytest.fixture(scope="session")
def peer(exported: dict[int, Path]) -> Iterator[Peer]:
    """A server of version 10, for the tests that change nothing."""
    with serving(exported[10].parent) as running:
        yield running


def good_inputs(rows: int = 2) -> dict[str, Any]:
    """The inputs of ``serving_default``: ``rows`` rows, lists of two."""
    return {
        "user": encode([b"u1", b"nobody", b"u3"][:rows], tf.string.as_datatype_enum),
        "clicks": encode(
            [[b"u2", b""], [b"u3", b"u1"], [b"", b""]][:rows] or [[]], tf.string.as_datatype_enum
        ),
        "price": encode([0.25, float("nan"), -1.5][:rows], tf.float32.as_datatype_enum),
        "time": encode(
            [1700000000, 999999989, 999999984][:rows], tf.int64.as_datatype_enum, packed=True
        ),
        "domain": encode([b"all", b"scene=home", b"moon"][:rows], tf.string.as_datatype_enum),
    }


def good_request(rows: int = 2, **changed: Any) -> Message:
    """A request that is answered; ``changed`` replaces inputs, None leaves one out."""
    request = PredictRequest()
    request.model_spec.name = NAME
    for name, proto in {**good_inputs(rows), **changed}.items():
        if proto is not None:
            request.inputs[name].CopyFrom(proto)
    return request
