"""What the reload and fuzz sections rely on: mixed answers are found out, and malformed requests
are what they say they are.
"""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from benchmarks.reliability import peers, reload
from benchmarks.reliability.malformed import METHODS, PREDICT, malformed
from benchmarks.reliability.malformed_http import malformed_http
from benchmarks.reliability.versioned import NAME, ROWS, request, save, whole_version
from serving.server.batching.batch_scheduler import Batcher
from serving.server.batching.batching_parameters import Parameters
from serving.server.model_config import ModelConfig
from serving.server.rest.rest_api import http_server
from serving.server.servable_loader import load
from tests.serving.conftest import Peer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base path with version 1 of the model whose outputs name their version."""
    base = tmp_path_factory.mktemp("versioned")
    save(1, base / "1")
    return base


@pytest.fixture(scope="module", params=["alone", "batched"])
def peer(base: Path, request: pytest.FixtureRequest) -> Iterator[Peer]:
    batcher = Batcher(Parameters()) if request.param == "batched" else None
    running = Peer(ModelConfig(NAME, base), load=load, batcher=batcher, reload_root=base)
    yield running
    running.close()


def test_an_answer_of_one_version_is_whole_and_any_mixture_is_not(peer: Peer) -> None:
    good = peer.predict(request())
    assert whole_version(good) == 1
    for name in good.outputs:
        mixed = predict_pb2.PredictResponse.FromString(good.SerializeToString())
        values = next(
            values
            for field, values in mixed.outputs[name].ListFields()
            if field.name.endswith("_val")
        )
        values[ROWS // 2] = b"8" if name == "name" else 8
        assert whole_version(mixed) is None, name
    good.model_spec.version.value = 8
    assert whole_version(good) is None


def test_malformed_requests_are_drawn_from_the_seed() -> None:
    assert list(malformed(1, 40)) == list(malformed(1, 40)) != list(malformed(2, 40))
    assert {sent.method for sent in malformed(1, 400)} >= set(METHODS)


def test_malformed_requests_are_answered_as_they_should_be(peer: Peer, base: Path) -> None:
    good = peer.predict(request())
    seen = set()
    for sent in malformed(11, 320, base):
        try:
            peer.channel.unary_unary(sent.method)(sent.data, timeout=10)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        assert code in sent.codes, sent
        seen.add(code)
    assert seen >= {
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "INTERNAL",
        "UNIMPLEMENTED",
        "PERMISSION_DENIED",
        "UNKNOWN",
        "RESOURCE_EXHAUSTED",
    }
    assert peer.predict(request()) == good and PREDICT in METHODS


def test_a_change_of_versions_counts_once_the_new_one_answers() -> None:
    seen: list[int | None] = [1, 1]
    waits: list[float] = []

    def publish() -> int:
        seen.extend([1, 2])
        return 2

    memory: list[float] = []
    reload._change([publish, lambda: 3], 0.3, seen, waits, memory, lambda: 5.0)
    assert len(waits) == 1 and memory == [5.0]  # version 3 never answered


def test_growth_counts_from_the_tenth_change() -> None:
    assert not reload._growth([1.0] * 10)
    figures = reload._growth([1.0] * 9 + [200.0] + [190.0, 203.0, 201.0])
    assert figures["memory_growth_percent"] == pytest.approx(1.5)
    assert figures["memory_after_all_changes_mib"] == 201.0


def test_malformed_http_requests_are_answered_as_they_should_be(peer: Peer, base: Path) -> None:
    with http_server("127.0.0.1", 0, peer.service, {}) as port:
        asked = peers.Peer(peer.target, port, peers.Served.versioned(base))
        good = asked.good_answers()
        for number, sent in enumerate(malformed_http(5, 160)):
            counted = asked.judge(good, number, sent)
            assert len(counted) == 1, (sent, counted)
