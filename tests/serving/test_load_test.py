"""The load test sends what it says, as often as it says, and counts what went wrong."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tensorflow_serving.apis import model_pb2, predict_pb2

from configs.errors import InputError
from serving import load_test
from serving.client import Client
from serving.load_test import Load, encoded, load
from serving.tensors import decode
from tests.serving.conftest import NAME, Peer, good_request

ROWS: list[dict[str, object]] = [{"user": "u1", "time": 1, "price": 0.5, "label": 1}, {"user": "u2", "time": 2, "price": 0.25}]


def test_a_request_is_what_the_client_would_send(peer: Peer) -> None:
    with Client(peer.target, NAME) as client:
        expected = client.predict(ROWS, "all", ignore_unknown=True)
        made = {
            signature: encoded(client.signature(signature), model_pb2.ModelSpec(name=NAME, signature_name=signature), ROWS, "all")
            for signature in ("serving_default", "rank")
        }
        request = predict_pb2.PredictRequest.FromString(made["serving_default"])
        assert decode(peer.predict(request).outputs["ctr"]).tolist() == [answer["ctr"] for answer in expected]
        ranked = predict_pb2.PredictRequest.FromString(made["rank"])
        assert decode(ranked.inputs["user"]).tolist() == [b"u1"] and decode(ranked.inputs["price"]).tolist() == [0.5, 0.25]


def test_answers_and_refusals_are_counted(peer: Peer) -> None:
    answered = load(peer.target, good_request().SerializeToString(), 3, 0.3, warm_up=0.0)
    assert len(answered.latencies_ms) >= 3 and not answered.errors and answered.seconds >= 0.3
    refused = load(peer.target, good_request(price=None).SerializeToString(), 2, 0.2, warm_up=0.0)
    assert not refused.latencies_ms and set(refused.errors) == {"INVALID_ARGUMENT"}


def test_figures_are_percentiles_and_a_rate() -> None:
    figures = Load(2.0, [float(value) for value in range(101)]).figures()
    assert figures == {"p50_ms": 50.0, "p99_ms": 99.0, "requests_per_s": 50.5, "requests": 101, "errors": {}}
    assert Load(1.0).figures()["p50_ms"] is None
    whole = Load(1.0, [1.0], Counter(INTERNAL=2))
    whole.add(Load(3.0, [3.0], Counter(INTERNAL=1, UNAVAILABLE=1)))
    assert whole.figures() == {
        "p50_ms": 2.0,
        "p99_ms": pytest.approx(2.98),
        "requests_per_s": 0.5,
        "requests": 2,
        "errors": {"INTERNAL": 3, "UNAVAILABLE": 1},
    }


def test_the_command(peer: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests = tmp_path / "rows.jsonl"
    requests.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    flags = ["--target", peer.target, "--model_name", NAME, "--requests", str(requests), "--threads=2", "--seconds=0.2"]
    with pytest.raises(SystemExit) as ended:
        load_test.main([*flags, "--domain=all", "--rows=1"])
    printed = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and printed["rows"] == 1 and printed["threads"] == 2 and printed["requests"] > 0
    with pytest.raises(InputError, match="no domain"):
        load_test.main(flags)
    requests.write_text("")
    with pytest.raises(InputError, match="no rows"):
        load_test.main([*flags, "--domain=all"])
