"""The HTTP port answers as TensorFlow Serving's does, and outlives its peers."""

import base64
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.rest import json_tensors, listener
from serving.server.rest.rest_api import http_server
from serving.wire.errors import StatusError
from serving.wire.messages import PredictRequest, SignatureDef
from serving.wire.tensor_protos import decode, encode
from tests.serving.conftest import NAME, Peer, good_inputs, good_request, serving

ROWS = [
    {"user": "u1", "clicks": ["u2", ""], "price": 0.25, "time": 1700000000, "domain": "all"},
    {"user": {"b64": base64.b64encode(b"nobody").decode()}, "clicks": ["u3", "u1"], "price": 7,
     "time": 999999989, "domain": "scene=home"},
]  # fmt: skip
Ask = Callable[..., tuple[int, Any]]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def ask(port: int, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text.startswith(b"{") else text.decode()


@pytest.fixture(scope="module")
def port(peer: Peer) -> Iterator[int]:
    with http_server("127.0.0.1", 0, peer.service, {}) as port:
        yield port


@pytest.fixture
def scores(peer: Peer) -> dict[str, list[Any]]:
    """What gRPC answers to ``ROWS``."""
    price = encode([0.25, 7.0], tf.float32.as_datatype_enum)
    outputs = peer.predict(good_request(2, price=price)).outputs
    return {
        "ctr": list(outputs["ctr"].float_val),
        "served_domain": [text.decode() for text in outputs["served_domain"].string_val],
        "version": list(outputs["version"].int64_val),
    }


# ---- predictions


def test_rows_are_answered_in_rows(port: int, scores: dict[str, list[Any]]) -> None:
    status, answer = ask(port, f"/v1/models/{NAME}:predict", {"instances": ROWS})
    assert status == 200 and answer.keys() == {"predictions"}
    assert [row.keys() for row in answer["predictions"]] == [scores.keys()] * 2
    for name, values in scores.items():
        received = [row[name] for row in answer["predictions"]]
        if name == "ctr":
            assert np.float32(received).tolist() == np.float32(values).tolist()
        else:
            assert received == values


def test_columns_are_answered_in_columns(port: int, scores: dict[str, list[Any]]) -> None:
    body = {"signature_name": "serving_default", "inputs": columns(ROWS)}
    status, answer = ask(port, f"/V1/models/{NAME}/versions/10:predict", body)
    assert status == 200 and answer.keys() == {"outputs"}
    assert np.float32(answer["outputs"].pop("ctr")).tolist() == np.float32(scores["ctr"]).tolist()
    assert answer["outputs"] == {name: scores[name] for name in ("served_domain", "version")}


def test_signatures_of_one_input_and_of_outputs_that_are_no_rows(port: int) -> None:
    path = f"/v1/models/{NAME}:predict"
    status, answer = ask(port, path, {"signature_name": "all_domains", "inputs": ["u1", "u2"]})
    assert status == 200 and answer["outputs"]["domains"] == ["all", "scene=home"]
    status, answer = ask(port, path, {"signature_name": "all_domains", "instances": ["u1"]})
    assert status == 400 and "inconsistent batch sizes" in answer["error"]
    once = {"user": ["u1"], "clicks": [["u2"]], "price": [0.25, float("nan")],
            "time": [1700000000], "domain": ["all"]}  # fmt: skip
    status, answer = ask(port, path, {"signature_name": "rank", "inputs": once})
    assert status == 200 and len(answer["outputs"]["ctr"]) == 2


BAD: list[Any] = [
    (b"", 400, "JSON Parse error"),
    (b"[1", 400, "JSON Parse error"),
    (b"\xff{}", 400, "JSON Parse error"),
    (b"[" * 200_000, 400, "JSON Parse error"),
    ([], 400, "Is not object"),
    ({}, 400, "Missing 'inputs' or 'instances' key"),
    ({"inputs": {}, "instances": []}, 400, "only one of"),
    ({"instances": []}, 400, "at least one value"),
    ({"instances": {"a": 1}}, 400, "list/array"),
    ({"instances": ["u1"]}, 400, "plain list"),
    ({"instances": [*ROWS, "u1"]}, 400, "element: 2"),
    ({"instances": [{"user": "u1"}]}, 400, "only the keys"),
    ({"instances": [ROWS[0] | {"cost": 1}]}, 400, "only the keys"),
    ({"instances": [ROWS[0] | {"price": "1"}]}, 400, "not of expected type: DT_FLOAT"),
    ({"instances": [ROWS[0] | {"price": None}]}, 400, "not of expected type: DT_FLOAT"),
    ({"instances": [ROWS[0] | {"price": True}]}, 400, "not of expected type: DT_FLOAT"),
    ({"instances": [ROWS[0] | {"price": (1 << 24) + 1}]}, 400, "loss of precision"),
    ({"instances": [ROWS[0] | {"price": 1e39}]}, 400, "loss of precision"),
    ({"instances": [ROWS[0] | {"price": 10**400}]}, 400, "loss of precision"),
    ({"instances": [ROWS[0] | {"time": 1.5}]}, 400, "not of expected type: DT_INT64"),
    ({"instances": [ROWS[0] | {"time": 1 << 63}]}, 400, "not of expected type: DT_INT64"),
    ({"instances": [ROWS[0] | {"user": 3}]}, 400, "not of expected type: DT_STRING"),
    ({"instances": [ROWS[0] | {"user": {"b64": "?"}}]}, 400, "not of expected type: DT_STRING"),
    ({"instances": [ROWS[0] | {"user": {"b65": "aa"}}]}, 400, "not of expected type: DT_STRING"),
    (b'{"instances": [{"user": "\\ud800"}]}', 400, "only the keys"),
    ({"instances": [ROWS[0], ROWS[1] | {"clicks": ["u1"]}]}, 400, "unexpected size"),
    ({"instances": [ROWS[0] | {"user": ["u1"]}]}, 400, "must have shape"),
    ({"inputs": columns(ROWS) | {"price": [0.5] * 3}}, 400, ""),
    ({"inputs": {"user": ["u1"]}}, 400, "Missing named input"),
    ({"inputs": ["u1"]}, 400, "plain value/list"),
    ({"signature_name": 3, "instances": ROWS}, 400, "must be a string"),
    ({"signature_name": "nope", "instances": ROWS}, 400, "not found in signature def"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=range(len(BAD)))
def test_bad_bodies(port: int, body: Any, status: int, words: str) -> None:
    code, answer = ask(port, f"/v1/models/{NAME}:predict", body, "POST")
    assert code == status and words in answer["error"]


def test_paths_and_methods(port: int) -> None:
    good = {"instances": ROWS}
    for path, body, status, words in (
        ("/v1/models/nope:predict", good, 404, "Servable not found"),
        (f"/v1/models/{NAME}/versions/3:predict", good, 404, "Servable not found"),
        (f"/v1/models/{NAME}/versions/{9 * 10**18}0:predict", good, 400, "Failed to convert"),
        (f"/v1/models/{NAME}/labels/nope:predict", good, 400, "Unrecognized servable version"),
        (f"/v1/models/{NAME}:classify", good, 400, "Expected classification signature"),
        (f"/v1/models/{NAME}:regress", {"signature_name": "x"}, 400, "not found"),
        (f"/v1/models/{NAME}:explain", good, 400, "Malformed request: POST"),
        ("/v1/models", None, 400, "Missing model name"),
        ("/v1/", None, 400, "Malformed request: GET"),
        (f"/v1/models/{NAME}/metadata/x", None, 400, "Malformed request: GET"),
        ("/v1/models/%ff", None, 400, "Failed to decode"),
        ("/", None, 404, "not found"),
        ("/v2/x", good, 404, "not found"),
    ):
        code, answer = ask(port, path, body)
        assert (code, words in answer["error"]) == (status, True), (path, answer)
    for method in ("PUT", "DELETE", "PATCH"):
        assert ask(port, f"/v1/models/{NAME}", None, method)[0] == 400
    assert ask(port, f"/v1/models/{NAME[:2]}%{ord(NAME[2]):x}{NAME[3:]}")[0] == 200


def test_metadata(port: int) -> None:
    """What the probes of the deployment ask for."""
    status, answer = ask(port, f"/v1/models/{NAME}/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": NAME, "signature_name": "", "version": "10"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "rank", "all_domains", "odd"} <= signatures.keys()
    price = signatures["serving_default"]["inputs"]["price"]
    assert price["dtype"] == "DT_FLOAT"
    assert price["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert signatures["rank"]["method_name"] == "tensorflow/serving/predict"
    assert ask(port, f"/v1/models/{NAME}/versions/10/metadata")[0] == 200
    assert ask(port, f"/v1/models/{NAME}/versions/3/metadata")[0] == 404
    assert ask(port, "/v1/models/nope/metadata")[0] == 404


def test_labels(base: Path) -> None:
    with serving(base) as peer, http_server("127.0.0.1", 0, peer.service, {}) as port:
        peer.models._labels = {NAME: {"stable": 9, "a b": 9}}
        for label in ("stable", "a%20b"):
            status, answer = ask(
                port, f"/v1/models/{NAME}/labels/{label}:predict", {"instances": ROWS}
            )
            assert status == 200 and answer["predictions"][0]["version"] == 9
        assert ask(port, f"/v1/models/{NAME}/labels/stable/metadata")[0] == 200
        assert ask(port, f"/v1/models/{NAME}/labels/other/metadata")[0] == 400
        # the stock server does not look at the label here, and tells of every version
        assert ask(port, f"/v1/models/{NAME}/labels/other")[0] == 200


def test_metadata_is_missing_while_nothing_is_loaded(tmp_path: Path) -> None:
    with serving(tmp_path) as peer, http_server("127.0.0.1", 0, peer.service, {}) as port:
        assert ask(port, f"/v1/models/{NAME}/metadata")[0] == 404


def test_a_prediction_that_takes_too_long(peer: Peer) -> None:
    with http_server("127.0.0.1", 0, peer.service, {}, seconds=0.0) as port:
        assert ask(port, f"/v1/models/{NAME}:predict", {"instances": ROWS})[0] == 504


DTYPES = {
    "string": st.text() | st.binary().map(lambda b: {"b64": base64.b64encode(b).decode()}),
    "float32": st.floats(width=32) | st.integers(-(1 << 24) + 1, (1 << 24) - 1),
    "float64": st.floats() | st.integers(-(1 << 53) + 1, (1 << 53) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
    "int8": st.integers(-128, 127),
    "bool": st.booleans(),
}


@pytest.mark.parametrize("name", DTYPES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_is_read_is_what_is_written(name: str, data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 3))
    size = data.draw(st.integers(0, 3))
    value = st.lists(
        st.lists(DTYPES[name], min_size=size, max_size=size), min_size=rows, max_size=rows
    )
    sent = json.loads(json.dumps(data.draw(value)))
    dtype = tf.as_dtype(name)
    signature = SignatureDef()
    signature.inputs["x"].dtype = dtype.as_datatype_enum
    for document in ({"inputs": {"x": sent}}, {"instances": [{"x": row} for row in sent]}):
        request = PredictRequest()
        by_row = json_tensors.fill_inputs(request, document, signature.inputs)
        array = decode(request.inputs["x"])
        assert array.shape == (rows, size)
        output = encode(array, dtype.as_datatype_enum)
        answer = json.loads(json_tensors.answer({"x_bytes": output}, by_row=by_row))
        received = answer["predictions" if by_row else "outputs"]
        if name == "string":
            plain = [
                [base64.b64decode(v["b64"]) if isinstance(v, dict) else v.encode() for v in row]
                for row in sent
            ]
            assert [[base64.b64decode(v["b64"]) for v in row] for row in received] == plain
        else:
            np.testing.assert_array_equal(
                np.array(received, dtype.as_numpy_dtype), np.array(sent, dtype.as_numpy_dtype)
            )


def test_text_that_is_no_unicode_is_refused() -> None:
    signature = SignatureDef()
    signature.inputs["x"].dtype = tf.string.as_datatype_enum
    with pytest.raises(StatusError, match="INVALID_ARGUMENT"):
        json_tensors.fill_inputs(PredictRequest(), {"inputs": ["\ud800"]}, signature.inputs)


# ---- peers


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def test_connections_are_bounded_and_come_back(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    handle = lambda method, path, body: (200, "text/plain", b"ok")  # noqa: E731
    with listener.listening(
        "127.0.0.1", 0, handle, lines.append, threads=1, most_connections=3
    ) as port:
        kept = [connected(port) for _ in range(3)]
        time.sleep(0.2)
        with connected(port) as refused:
            assert refused.recv(100).startswith(b"HTTP/1.0 503 ")
        for connection in kept:
            connection.close()
        deadline = time.monotonic() + 5
        while ask(port, "/")[0] == 503:
            assert time.monotonic() < deadline
        assert ask(port, "/") == (200, "ok")
    assert not lines


def test_who_sends_for_ever_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_LONGEST_READ", 0.3)
    handle = lambda method, path, body: (200, "text/plain", b"ok")  # noqa: E731
    with (
        listener.listening("127.0.0.1", 0, handle, print, threads=1) as port,
        connected(port) as slow,
        pytest.raises((ConnectionError, BrokenPipeError)),
    ):
        for _ in range(100):
            slow.sendall(b"G")
            time.sleep(0.1)


def test_peers_that_hang_up_leave_no_traceback(
    peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    with http_server("127.0.0.1", 0, peer.service, {}, report=lines.append) as port:
        for sent in (
            b"",
            b"GET",
            b"GET /v1/models/tiny HTTP/1.1\r\n\r\n",
            b"POST /v1/models/tiny:predict HTTP/1.1\r\nContent-Length: 100\r\n\r\nxx",
            b"\x16\x03\x01\x02\x00\x01\xff",
            b"POST /v1/models/tiny:predict HTTP/1.1\r\n" + b"a: b\r\n" * 200,
        ):
            connection = connected(port)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(sent)
            connection.close()  # with a reset
        assert ask(port, f"/v1/models/{NAME}")[0] == 200
        time.sleep(0.3)
    assert "Traceback" not in capfd.readouterr().err and not lines


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", b"411"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: -1\r\n", b"411"),
        (b"Content-Length: 99999999999999999999\r\n", b"413"),
        (b"Content-Length: 16777217\r\n", b"413"),
    ],
)
def test_bodies_have_a_known_length(port: int, headers: bytes, status: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(b"POST /v1/models/tiny:predict HTTP/1.1\r\n" + headers + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 " + status)


def test_a_failure_of_our_own_is_one_line(peer: Peer) -> None:
    lines: list[str] = []

    def fails() -> bytes:
        raise RuntimeError("odd")

    with http_server(
        "127.0.0.1", 0, peer.service, {"/metrics": fails}, report=lines.append
    ) as port:
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            ask(port, "/metrics")
        assert ask(port, f"/v1/models/{NAME}")[0] == 200
    assert lines == ["HTTP request failed: RuntimeError: odd"]


def test_good_inputs_are_those_of_the_rows() -> None:
    """The rows above say what the tests' good request says."""
    assert decode(good_inputs()["time"]).tolist() == [row["time"] for row in ROWS]
