"""The load test sends what it says, as often as it says, and counts what went wrong."""

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from configs.errors import InputError
from serving.client import Client
from serving.load_test import Load, encoded, load, offer
from serving.load_test import __main__ as command
from serving.load_test.open_loop import arrivals
from serving.wire.tensor_protos import decode
from tests.serving.conftest import NAME, Peer, Slow, good_request, serving

ROWS: list[dict[str, object]] = [
    {"user": "u1", "time": 1700000001, "price": 0.5, "label": 1},
    {"user": "u2", "time": 1700000002, "price": 0.25},
]


def test_a_request_is_what_the_client_would_send(peer: Peer) -> None:
    with Client(peer.target, NAME) as client:
        expected = client.predict(ROWS, "all", ignore_unknown=True)
        made = {
            signature: encoded(
                client.signature(signature),
                NAME,
                signature,
                ROWS,
                "all",
            )
            for signature in ("serving_default", "rank")
        }
        request = predict_pb2.PredictRequest.FromString(made["serving_default"])
        assert decode(peer.predict(request).outputs["ctr"]).tolist() == [
            answer["ctr"] for answer in expected
        ]
        ranked = predict_pb2.PredictRequest.FromString(made["rank"])
        assert decode(ranked.inputs["user"]).tolist() == [b"u1"] and decode(
            ranked.inputs["price"]
        ).tolist() == [0.5, 0.25]


def test_answers_and_refusals_are_counted(peer: Peer) -> None:
    answered = load(peer.target, good_request().SerializeToString(), 3, 0.3, warm_up=0.0)
    assert len(answered.latencies_ms) >= 3 and not answered.errors and answered.seconds >= 0.3
    refused = load(peer.target, good_request(price=None).SerializeToString(), 2, 0.2, warm_up=0.0)
    assert not refused.latencies_ms and set(refused.errors) == {"INVALID_ARGUMENT"}


def test_figures_are_percentiles_and_a_rate() -> None:
    figures = Load(2.0, [float(value) for value in range(101)]).figures()
    assert figures == {
        "p50_ms": 50.0,
        "p90_ms": 90.0,
        "p99_ms": 99.0,
        "p99_9_ms": pytest.approx(99.9),
        "requests_per_s": 50.5,
        "requests": 101,
        "errors": {},
    }
    assert Load(1.0).figures()["p50_ms"] is None
    whole = Load(1.0, [1.0], Counter(INTERNAL=2))
    whole.add(Load(3.0, [3.0], Counter(INTERNAL=1, UNAVAILABLE=1)))
    assert whole.figures() == {
        "p50_ms": 2.0,
        "p90_ms": pytest.approx(2.8),
        "p99_ms": pytest.approx(2.98),
        "p99_9_ms": pytest.approx(2.998),
        "requests_per_s": 0.5,
        "requests": 2,
        "errors": {"INTERNAL": 3, "UNAVAILABLE": 1},
    }


def test_moments_are_drawn_beforehand() -> None:
    np.testing.assert_allclose(arrivals(4, 1.0, "constant", 0), [0.0, 0.25, 0.5, 0.75])
    drawn = arrivals(100, 20.0, "poisson", 1)
    gaps = np.diff(drawn)
    assert (gaps >= 0).all() and drawn[-1] < 20.0 and 1800 < len(drawn) < 2200
    assert 0.8 < gaps.std() / gaps.mean() < 1.2  # exponential: the standard deviation is the mean
    np.testing.assert_array_equal(drawn, arrivals(100, 20.0, "poisson", 1))
    assert (
        len(arrivals(100, 20.0, "poisson", 2)) != len(drawn)
        or (arrivals(100, 20.0, "poisson", 2) != drawn).any()
    )


def test_requests_are_offered_whatever_the_server_does(base: Path) -> None:
    """One request at a time, each held for long: a closed loop would have sent two and called
    both equally slow.
    """
    with serving(base, load=Slow) as slow:
        threading.Timer(0.6, lambda: slow.model.acquire().__enter__().go.set()).start()
        moments = np.linspace(0.0, 0.5, 11)
        measured = offer(
            slow.target,
            [good_request().SerializeToString()],
            moments,
            0.55,
            warm_up=0.01,
            connections=2,
        )
    assert (
        len(measured.latencies_ms) == 10 and not measured.errors
    )  # the first was due in the warm-up
    assert (
        sorted(measured.latencies_ms)[-1] - sorted(measured.latencies_ms)[0] > 300
    )  # those due first waited longest
    assert measured.seconds > 0.55
    assert measured.figures()["offered_per_s"] == pytest.approx(10 / 0.54)


def test_refusals_are_counted_by_code(peer: Peer) -> None:
    good, bad = good_request().SerializeToString(), good_request(price=None).SerializeToString()
    measured = offer(peer.target, [good, bad], np.linspace(0.0, 0.2, 9), 0.2)
    assert dict(measured.errors) == {"INVALID_ARGUMENT": 4} and len(measured.latencies_ms) == 5


@pytest.fixture
def flags(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(command, "_WARM_UP", 0.05)
    requests = tmp_path / "rows.jsonl"
    requests.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return [
        "--target",
        peer.target,
        "--model_name",
        NAME,
        "--requests",
        str(requests),
        "--threads=2",
        "--seconds=0.2",
    ]


def printed(flags: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as ended:
        command.main(flags)
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_the_command(flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, result = printed([*flags, "--domain=all", "--rows=1"], capsys)
    assert code == 0 and result["requests"] > 0
    assert (result["rows"], result["different_requests"], result["threads"]) == (1, 2, 2)
    assert printed([*flags, "--domain=all"], capsys)[1]["different_requests"] == 1
    with pytest.raises(InputError, match="no domain"):
        command.main(flags)
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(InputError, match="no rows"):
        command.main([*flags, "--domain=all"])


def test_a_sweep_of_rates_and_its_picture(
    flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "sweep.png"
    code, result = printed(
        [*flags, "--domain=all", "--rates=20,40", "--arrivals=constant", f"--plot={picture}"],
        capsys,
    )
    assert code == 0 and [run["requests"] for run in result["runs"]] == [4, 8]
    assert [run["offered_per_s"] for run in result["runs"]] == [
        pytest.approx(20),
        pytest.approx(40),
    ]
    assert all(run["p50_ms"] <= run["p99_9_ms"] for run in result["runs"])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--plot=a.png"], "name rates with --rates"),
        (["--rate=5", "--plot=a.gif"], "must end in .png"),
        (["--rate=5", "--plot=none/a.png"], "no such directory"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_before_the_load(
    flags: list[str], wrong: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        command.main([*flags, "--domain=all", *wrong])


def test_a_picture_needs_matplotlib(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        InputError,
        match=r"--plot needs matplotlib: pip install matplotlib",
    ):
        command.main([*flags, "--domain=all", "--rate=5", "--plot=a.png"])


@pytest.mark.parametrize("rates", ["", "0", "5,-1", "many", "inf"])
def test_rates_are_positive_numbers(
    flags: list[str], rates: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([*flags, f"--rates={rates}"])
    assert ended.value.code == 2 and "must be requests a second" in capsys.readouterr().err
