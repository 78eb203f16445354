"""The embedded server answers as TensorFlow Serving does: scores, codes, versions, status; and
nothing a peer sends stops it.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from configs import InputError
from serving.client import Client
from serving.server import main
from serving.server.model_versions import State
from serving.server.servable import Servable
from serving.wire.messages import ModelSpec, PredictRequest, TensorProto
from serving.wire.request_log import logged_requests
from serving.wire.tensor_protos import decode, encode
from serving.wire.version_files import version_directories
from tests.conftest import ROOT
from tests.serving.conftest import MOST_BYTES, NAME, Peer, Slow, good_inputs, good_request, serving
from tests.serving.wire.test_tensor_protos import proto

# ---- answers


@pytest.mark.parametrize("rows", [1, 3])
def test_scores_equal_the_loaded_saved_model(
    peer: Peer, exported: dict[int, Path], rows: int
) -> None:
    loaded = tf.saved_model.load(str(exported[10])).signatures["serving_default"]
    expected = loaded(
        **{name: tf.constant(decode(message)) for name, message in good_inputs(rows).items()}
    )
    response = peer.predict(good_request(rows))
    assert set(response.outputs) == {"ctr", "served_domain", "version"}
    for name, value in expected.items():
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs[name]), value.numpy())
    assert (
        len(response.outputs["ctr"].float_val) == rows
        and not response.outputs["ctr"].tensor_content
    )
    assert response.model_spec == model_pb2.ModelSpec(
        name=NAME, version={"value": 10}, signature_name="serving_default"
    )


def test_another_signature_scalars_and_rare_types(peer: Peer) -> None:
    request = PredictRequest(model_spec={"name": NAME, "signature_name": "odd"})
    request.inputs["pair"].CopyFrom(encode([[1.0, 2.0]], tf.float32.as_datatype_enum))
    request.inputs["half"].CopyFrom(encode([0.5], tf.float16.as_datatype_enum))
    outputs = peer.predict(request).outputs
    assert (
        decode(outputs["sum"]) == 3.0
        and decode(outputs["name"]).item() == b"a\0b\0"
        and decode(outputs["half"]).tolist() == [0.5]
    )


def test_output_filter(peer: Peer) -> None:
    request = good_request()
    request.output_filter.append("version")
    assert set(peer.predict(request).outputs) == {"version"}
    request.output_filter.append("ctrr")
    assert peer.refused(request) == (
        "INVALID_ARGUMENT",
        (
            "output tensor alias not found in signature: ctrr Outputs expected to be in the set"
            " {ctr,served_domain,version}."
        ),
    )
    request.output_filter[:] = ["ctr", "ctr"]
    assert peer.refused(request) == ("INVALID_ARGUMENT", "duplicate output tensor alias: ctr")


def test_zero_rows_get_zero_rows(peer: Peer) -> None:
    empty = {
        name: proto(tf.as_dtype(message.dtype), *[0] * len(message.tensor_shape.dim))
        for name, message in good_inputs().items()
    }
    response = peer.predict(good_request(**empty))
    assert decode(response.outputs["ctr"]).shape == (0,)


def test_metadata_is_the_signatures_of_the_saved_model(peer: Peer) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": NAME}, metadata_field=["signature_def"]
    )
    response = peer.prediction.GetModelMetadata(request, timeout=10)
    assert response.model_spec.version.value == 10
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    with peer.model.acquire() as servable:
        assert dict(found.signature_def) == servable.signatures
    inputs = found.signature_def["serving_default"].inputs
    assert {name: tf.as_dtype(info.dtype).name for name, info in inputs.items()} == {
        "user": "string",
        "clicks": "string",
        "price": "float32",
        "time": "int64",
        "domain": "string",
    }
    assert [dim.size for dim in inputs["clicks"].tensor_shape.dim] == [-1, -1]

    get = peer.prediction.GetModelMetadata
    request.metadata_field[:] = ["weights"]
    assert peer.refused(request, get) == (
        "INVALID_ARGUMENT",
        "Metadata field weights is not supported",
    )
    request.metadata_field[:] = []
    assert peer.refused(request, get)[0] == "INVALID_ARGUMENT"
    assert (
        peer.refused(
            get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), get
        )[0]
        == "INVALID_ARGUMENT"
    )


# ---- refusals


def test_inputs_that_do_not_match_the_signature(peer: Peer) -> None:
    all_inputs = "clicks,domain,price,time,user"
    price = good_inputs()["price"]
    code, message = peer.refused(good_request(price=None))
    assert code == "INVALID_ARGUMENT" and message == (
        "input size does not match signature: 4!=5 len({clicks,domain,time,user}) != len({"
        + all_inputs
        + "}). Sent extra: {}. Missing but required: {price}."
    )
    code, message = peer.refused(good_request(cost=price))
    assert code == "INVALID_ARGUMENT" and message.endswith(
        "Sent extra: {cost}. Missing but required: {}."
    )
    code, message = peer.refused(good_request(cost=price, price=None))
    assert code == "INVALID_ARGUMENT" and message.endswith(
        "Sent extra: {cost}. Missing but required: {price}."
    )


DOUBLES = encode([0.25, 1.0], tf.float64.as_datatype_enum)


@pytest.mark.parametrize(
    ("name", "message", "words"),
    [
        ("price", DOUBLES, "input price must be DT_FLOAT, received DT_DOUBLE"),
        ("price", TensorProto(), "received DT_INVALID"),
        ("price", TensorProto(dtype=999), "received 999"),
        (
            "price",
            proto(tf.float32, 2, 1, float_val=[1, 2]),
            r"shape \[-1\] \(-1: any\), received \[2, 1\]",
        ),
        ("price", proto(tf.float32, float_val=[1]), r"received \[\]"),
        ("clicks", proto(tf.string, 2, string_val=[b"a", b"b"]), r"shape \[-1, -1\]"),
        (
            "price",
            proto(tf.float32, 3, float_val=[1, 2, 3]),
            ".",
        ),  # rows of different number: the graph's own words
        ("price", proto(tf.float32, 2, tensor_content=b"1234567"), "has 7 bytes"),
        ("price", proto(tf.float32, -2), "negative dimension"),
        (
            "price",
            TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
            "rank is unknown",
        ),
        ("price", proto(tf.float32, 1 << 40, float_val=[1]), "takes at most 65536"),
        (
            "clicks",
            proto(tf.string, 2, 1 << 40, string_val=[b"x"]),
            "would take more than",
        ),
        (
            "clicks",
            proto(tf.string, 2, 1000, string_val=[b"x" * 10_000]),
            "would take more than",
        ),
    ],
)
def test_malformed_inputs(peer: Peer, name: str, message: Message, words: str) -> None:
    began = time.monotonic()
    code, details = peer.refused(good_request(**{name: message}))
    assert code == "INVALID_ARGUMENT"
    assert re.search(words, details), details
    assert "\n" not in details and "Traceback" not in details
    assert time.monotonic() - began < 2


def test_inner_dimension_and_errors_of_the_graph(peer: Peer) -> None:
    request = PredictRequest(model_spec={"name": NAME, "signature_name": "odd"})
    request.inputs["half"].CopyFrom(encode([0.5], tf.float16.as_datatype_enum))
    request.inputs["pair"].CopyFrom(encode([[1.0, 2.0, 3.0]], tf.float32.as_datatype_enum))
    assert peer.refused(request) == (
        "INVALID_ARGUMENT",
        "input pair must have shape [-1, 2] (-1: any), received [1, 3]",
    )
    request.inputs["pair"].CopyFrom(encode([[1.0, 2.0]] * 2, tf.float32.as_datatype_enum))
    code, message = peer.refused(request)
    assert code == "INVALID_ARGUMENT" and "{{node" not in message


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        (
            {"name": NAME, "signature_name": "nope"},
            ("FAILED_PRECONDITION", 'Serving signature key "nope" not found.'),
        ),
        (
            {"name": "nope"},
            (
                "NOT_FOUND",
                f"Servable not found for request: Latest(nope); models of this server: {NAME}",
            ),
        ),
        (
            {"name": NAME, "version": {"value": 3}},
            ("NOT_FOUND", f"Servable not found for request: Specific({NAME}, 3)"),
        ),
        (
            {"name": NAME, "version_label": "canary"},
            ("INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
        ),
        ({}, ("INVALID_ARGUMENT", "ModelSpec has no name specified.")),
        (None, ("INVALID_ARGUMENT", "Missing ModelSpec")),
    ],
)
def test_model_spec(peer: Peer, spec: dict[str, Any] | None, refusal: tuple[str, str]) -> None:
    request = good_request()
    request.ClearField("model_spec")
    if spec is not None:
        request.model_spec.CopyFrom(ModelSpec(**spec))
    assert peer.refused(request) == refusal


def test_other_methods_are_refused_as_the_stock_server_refuses_them(peer: Peer) -> None:
    """The model has no signature for them, so it is the request that is wrong."""
    for request, call, kind in (
        (classification_pb2.ClassificationRequest, peer.prediction.Classify, "classification"),
        (regression_pb2.RegressionRequest, peer.prediction.Regress, "regression"),
    ):
        code, message = peer.refused(request(model_spec={"name": NAME}), call)
        assert code == "INVALID_ARGUMENT" and message.startswith(f"Expected {kind} signature")
        assert peer.refused(request(), call) == ("INVALID_ARGUMENT", "Missing ModelSpec")
        assert peer.refused(request(model_spec={"name": "nope"}), call)[0] == "NOT_FOUND"
        spec = {"name": NAME, "signature_name": "nope"}
        assert peer.refused(request(model_spec=spec), call)[0] == "INVALID_ARGUMENT"
    multi = inference_pb2.MultiInferenceRequest
    for tasks, expected in (
        ([], "INVALID_ARGUMENT"),
        ([{"model_spec": {"name": "nope"}}], "NOT_FOUND"),
        ([{"model_spec": {"name": NAME}, "method_name": "x"}], "UNIMPLEMENTED"),
        (
            [{"model_spec": {"name": NAME}, "method_name": "tensorflow/serving/classify"}],
            "INVALID_ARGUMENT",
        ),
    ):
        assert peer.refused(multi(tasks=tasks), peer.prediction.MultiInference)[0] == expected
    assert (
        peer.refused(
            model_management_pb2.ReloadConfigRequest(), peer.management.HandleReloadConfigRequest
        )[0]
        == "INVALID_ARGUMENT"
    )


def test_a_message_beyond_the_limit(peer: Peer) -> None:
    big = proto(tf.string, 2, string_val=[b"x" * MOST_BYTES, b""])
    assert peer.refused(good_request(user=big))[0] == "RESOURCE_EXHAUSTED"


def test_long_names_in_a_request_do_not_break_the_answer(peer: Peer) -> None:
    for letter in ("x", "%", "ä", "語", "😀"):  # gRPC refuses long headers by chance, so often
        for _ in range(10):
            code, _ = peer.refused(good_request(**{letter * 20_000: good_inputs()["price"]}))
            assert code == "INVALID_ARGUMENT"


def test_deadline(base: Path) -> None:
    with serving(base, load=Slow) as slow:
        with pytest.raises(grpc.RpcError) as caught:
            slow.predict(good_request(), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with slow.model.acquire() as servable:
            servable.go.set()


def test_random_damage_never_stops_the_server(peer: Peer) -> None:
    """Bytes flipped, cut out, doubled: the codes are those of a bad request (INTERNAL: gRPC
    could not parse the message).
    """
    generator = random.Random(2501)  # noqa: S311  (a seed, so that a failure can be repeated)
    good = good_request(3).SerializeToString(deterministic=True)
    call = peer.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        response_deserializer=predict_pb2.PredictResponse.FromString,
    )
    seen: dict[str, int] = {}
    for _ in range(400):
        data = bytearray(good)
        for _ in range(generator.choice([1, 1, 2, 5])):
            at = generator.randrange(len(data))
            match generator.randrange(4):
                case 0:
                    data[at] = generator.randrange(256)
                case 1:
                    data[at] ^= 1 << generator.randrange(8)
                case 2:
                    del data[at : at + generator.randrange(1, 9)]
                case _:
                    data[at:at] = data[at : at + generator.randrange(1, 30)]
        try:
            call(bytes(data), timeout=10)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        seen[code] = seen.get(code, 0) + 1
    assert set(seen) <= {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "INTERNAL",
    }, seen
    assert seen["OK"] and seen["INVALID_ARGUMENT"] and seen["INTERNAL"]
    assert decode(peer.predict(good_request()).outputs["ctr"]).shape == (2,)


def test_random_but_well_formed_requests_are_answered_or_refused(peer: Peer) -> None:
    generator = random.Random(14268)  # noqa: S311  (a seed, so that a failure can be repeated)
    seen: dict[str, int] = {}
    for _ in range(300):
        request = good_request(3)
        message = request.inputs[generator.choice(sorted(request.inputs))]
        match generator.randrange(6):
            case 0:
                message.dtype = generator.choice([0, 1, 2, 3, 7, 9, 10, 19, 20, 21, 23, 101, 4000])
            case 1:
                message.tensor_shape.dim[0].size = generator.choice(
                    [-5, -1, 0, 1, 2, 4, 1000, 1 << 40, (1 << 63) - 1]
                )
            case 2:
                message.tensor_content = generator.randbytes(
                    generator.choice([1, 4, 8, 12, 24, 100])
                )
            case 3:
                message.tensor_shape.dim.extend(
                    [TensorProto().tensor_shape.Dim(size=generator.choice([-1, 0, 1, 1 << 30]))]
                )
            case 4:
                message.string_val.extend([b"x"] * generator.choice([1, 5, 1000]))
                message.float_val.extend([1.0] * generator.choice([0, 1, 5]))
            case _:
                request.inputs[generator.choice(["other", "", "price"])].CopyFrom(message)
        try:
            peer.predict(request)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        seen[code] = seen.get(code, 0) + 1
    assert set(seen) == {"OK", "INVALID_ARGUMENT"}, seen
    assert decode(peer.predict(good_request()).outputs["ctr"]).shape == (2,)


# ---- versions


def status_of(peer: Peer, version: int | None = None) -> dict[int, Any]:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": NAME})
    if version is not None:
        request.model_spec.version.value = version
    return {
        entry.version: entry
        for entry in peer.management.GetModelStatus(request, timeout=10).model_version_status
    }


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def test_only_integer_directories_are_versions(tmp_path: Path) -> None:
    for name in ("9", "10", "007", "v11", "-3", "1.5", "tmp", "٣", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "12").touch()
    assert set(version_directories(tmp_path)) == {7, 9, 10}


def test_the_newest_version_is_the_largest_number(
    base: Path, publish: Callable[[Path, int], None]
) -> None:
    publish(base, 10)
    with serving(base) as peer:
        assert peer.predict(good_request()).outputs["version"].int64_val[0] == 10
        assert peer.refused(good_request_for(9)) == (
            "NOT_FOUND",
            f"Servable not found for request: Specific({NAME}, 9)",
        )
        assert peer.predict(good_request_for(10)).model_spec.version.value == 10


def good_request_for(version: int) -> Message:
    request = good_request()
    request.model_spec.version.value = version
    return request


def test_hot_reload_under_load_fails_no_request(
    base: Path, publish: Callable[[Path, int], None]
) -> None:
    with serving(base) as peer:
        peer.models.poll(0.05)
        stop, answers, failures = threading.Event(), list[tuple[int, int]](), list[str]()

        def load() -> None:
            while not stop.is_set():
                try:
                    response = peer.predict(good_request())
                    answers.append(
                        (
                            response.model_spec.version.value,
                            response.outputs["version"].int64_val[0],
                        )
                    )
                except grpc.RpcError as error:
                    failures.append(str(error))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        for version in (10, 11, 12):
            publish(base, version)
            wait_for(lambda version=version: peer.model.version == version)  # type: ignore[misc]
        wait_for(lambda: any(version == 12 for version, _ in answers))
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert {version for version, _ in answers} >= {9, 12}
        assert all(
            weights == (10 if version % 2 == 0 else 9) for version, weights in answers
        )  # every answer is one whole version's
        wait_for(
            lambda: all(
                entry.state == State.END
                for version, entry in status_of(peer).items()
                if version != 12
            )
        )
        assert list(status_of(peer)) == [12, 11, 10, 9]
        assert peer.lines == [
            f"{NAME} version {new} is served, in place of version {new - 1}" for new in (10, 11, 12)
        ]


def test_an_old_version_stays_until_its_requests_are_done(base: Path) -> None:
    with serving(base, load=Slow) as slow:
        future = slow.prediction.Predict.future(good_request(), timeout=10)
        with slow.model.acquire() as old:
            assert old.entered.wait(5)
        (base / "10").mkdir()
        assert slow.model.refresh() == "" and slow.model.version == 10
        assert (
            status_of(slow)[9].state == State.UNLOADING
            and status_of(slow)[10].state == State.AVAILABLE
        )
        assert not old.closed.is_set() and not future.done()
        old.go.set()
        assert future.result().model_spec.version.value == 9
        assert old.closed.wait(5)
        wait_for(lambda: status_of(slow)[9].state == State.END)


def test_a_broken_version_leaves_the_old_one_served_until_its_files_change(
    base: Path, exported: dict[int, Path]
) -> None:
    loads = []

    def load(version: int, path: Path) -> Servable:
        loads.append(version)
        return Servable(version, path)

    with serving(base, load=load) as peer:
        (base / "10").mkdir()
        (base / "10" / "saved_model.pb").write_bytes(b"not a model")
        problem = peer.model.refresh()
        assert (
            problem.startswith(f"{NAME} version 10 could not be loaded: ") and "\n" not in problem
        )
        assert peer.model.refresh() == problem and loads == [9, 10]  # not tried again and again
        assert peer.predict(good_request()).model_spec.version.value == 9
        statuses = status_of(peer)
        assert statuses[9].state == State.AVAILABLE and statuses[9].status.error_code == 0
        assert (
            statuses[10].state == State.END
            and statuses[10].status.error_code != 0
            and statuses[10].status.error_message
        )
        assert list(status_of(peer, 10)) == [10]

        (base / "10" / "saved_model.pb").write_bytes((exported[10] / "saved_model.pb").read_bytes())
        assert (
            "could not be loaded" in peer.model.refresh()
        )  # its variables have not been copied yet
        (base / "10").rename(base / "aside")
        (base / "10").symlink_to(exported[10])
        assert (
            peer.model.refresh() == ""
            and peer.predict(good_request()).model_spec.version.value == 10
        )
        assert status_of(peer)[10].status.error_code == 0


def test_polling_reports_a_broken_version_once(base: Path) -> None:
    with serving(base) as peer:
        (base / "10").mkdir()
        peer.models.poll(0.01)
        wait_for(lambda: bool(peer.lines))
        time.sleep(0.1)
        assert len(peer.lines) == 1 and peer.lines[0].endswith("; version 9 goes on being served")


def test_deleting_the_newest_version_rolls_back_and_deleting_all_keeps_serving(
    base: Path, publish: Callable[[Path, int], None]
) -> None:
    publish(base, 10)
    with serving(base) as peer:
        (base / "10").rename(base / "withdrawn")
        peer.model.refresh()
        assert peer.predict(good_request()).model_spec.version.value == 9
        (base / "9").rename(base / "withdrawn-too")
        assert "no version" in peer.model.refresh()
        assert peer.predict(good_request()).model_spec.version.value == 9


def test_status_of_what_is_not_there(peer: Peer) -> None:
    get = peer.management.GetModelStatus
    request = get_model_status_pb2.GetModelStatusRequest
    assert peer.refused(request(), get) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert peer.refused(request(model_spec={"name": "nope"}), get) == (
        "NOT_FOUND",
        "Could not find any versions of model nope",
    )
    missing = request(model_spec={"name": NAME, "version": {"value": 3}})
    assert peer.refused(missing, get) == ("NOT_FOUND", f"Could not find version 3 of model {NAME}")


# ---- the command

MONITORING = ROOT / "serving" / "tensorflow_serving" / "monitoring_config.pbtxt"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "serving.server",
        f"--model_name={NAME}",
        "--model_base_path",
        str(tmp_path),
        "--port=0",
    ]
    command += [
        "--file_system_poll_wait_seconds=0.05",
        "--grpc-max-threads=2",
        "--tensorflow_session_parallelism=1",
        "--rest_api_port=0",
        f"--monitoring_config_file={MONITORING}",
        f"--request-log-dir={tmp_path / 'log'}",
        "--request-log-sampling=0",
        "--slow-request-ms=0",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as running:
        yield running
        running.kill()


def test_the_command_waits_for_a_version_serves_it_and_stops_cleanly(
    process: subprocess.Popen[str], tmp_path: Path, publish: Callable[[Path, int], None]
) -> None:
    assert process.stderr is not None and process.stdout is not None
    assert (
        process.stderr.readline()
        == f"no version (a directory with an integer for a name) in {tmp_path}; waiting for one\n"
    )
    publish(tmp_path, 9)
    said, _, address = process.stdout.readline().rpartition(" ")
    assert said == f"Serving {NAME} version 9 on" and address.startswith("127.0.0.1:")
    http = f"{process.stdout.readline().split()[-1]}/monitoring"
    with Client(address.strip(), NAME) as client:
        assert client.predict([{"user": "u1", "time": 1700000000}], "all")[0]["version"] == 9
        publish(tmp_path, 10)
        assert "version 10 is served" in process.stderr.readline()
        assert client.predict([{"user": "u1", "time": 1700000000}], "all")[0]["version"] == 10
    with urllib.request.urlopen(f"http://{http}/prometheus/metrics", timeout=5) as answer:
        told = answer.read().decode()
    assert "recommender_slow_requests_total 2.0" in told
    assert f'recommender_model_age_seconds{{model_name="{NAME}",version="10"}} ' in told
    with urllib.request.urlopen(f"http://{http}/slow_requests", timeout=5) as answer:
        assert json.loads(answer.read())["count"] == 2
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=15)
    assert (process.returncode, rest, errors) == (0, "", "")
    logged = [one.log.log_metadata.model_spec for one in logged_requests(tmp_path / "log")]
    assert [spec.version.value for spec in logged] == [9, 10]


def children(process: subprocess.Popen[str]) -> list[int]:
    """The server's other processes (multiprocessing has helpers of its own)."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(child)
        for child in listed
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.fixture
def several(base: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "serving.server",
        f"--model_name={NAME}",
        "--model_base_path",
        str(base),
        "--port=0",
    ]
    command += ["--file_system_poll_wait_seconds=0.05", "--processes=2"]
    command += [f"--request-log-dir={base / 'log'}", "--request-log-sampling=1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as running:
        yield running
        running.terminate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_several_processes_share_a_port_and_stop_together(
    several: subprocess.Popen[str], base: Path, publish: Callable[[Path, int], None]
) -> None:
    assert several.stdout is not None and several.stderr is not None
    address = several.stdout.readline().split()[-1]
    (other,) = children(several)

    def versions() -> set[int]:
        """What as many new connections get, some of them of either process."""
        answers = set()
        for _ in range(24):
            with grpc.insecure_channel(
                address, options=[("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                answers.add(stub.Predict(good_request(), timeout=10).model_spec.version.value)
        return answers

    assert versions() == {9}
    publish(base, 10)
    wait_for(lambda: versions() == {10})
    with pytest.raises(InputError, match="Address already in use"):
        main.main(
            ["--model_base_path", str(base), "--processes=2", "--port", address.rpartition(":")[2]]
        )
    several.terminate()
    assert several.wait(15) == 0
    assert several.stderr.read().count("version 10 is served, in place of version 9") == 2
    assert not Path(f"/proc/{other}").exists()
    files = {path.name for path in (base / "log").glob("*.tfrecord")}
    assert files == {"requests-0-00000001.tfrecord", "requests-1-00000001.tfrecord"}
    assert len(list(logged_requests(base / "log"))) >= 48


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_lost_process_ends_the_server_with_an_error(several: subprocess.Popen[str]) -> None:
    assert several.stdout is not None and several.stderr is not None
    several.stdout.readline()
    os.kill(children(several)[0], signal.SIGKILL)
    assert several.wait(15) == 1
    assert (
        several.stderr.read()
        == "error: a server process ended by itself (exit code -9); the server stops\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_outlives_a_killed_server(several: subprocess.Popen[str]) -> None:
    assert several.stdout is not None
    several.stdout.readline()
    (other,) = children(several)
    several.kill()
    wait_for(
        lambda: (
            not Path(f"/proc/{other}").exists()
            or b"spawn_main" not in Path(f"/proc/{other}/cmdline").read_bytes()
        )
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "8500"], "--model-base-path"),
        (["--model_base_path=.", "--processes=0"], "from 1 to 256, received 0"),
        (["--model_base_path=.", "--port=70000"], "from 0 to 65535, received 70000"),
        (["--model_base_path=.", "--port=many"], "received many"),
        (["--model_base_path=.", "--file_system_poll_wait_seconds=-1"], "0 or more, received -1"),
        (["--model_base_path=.", "--grpc_max_threads=0"], "from 1"),
        (["--model_base_path=.", "--monitoring_config_file=m"], "is set without --rest-api-port"),
    ],
)
def test_bad_flags(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main.arguments_of(flags)
    errors = capsys.readouterr().err
    assert stopped.value.code == 2 and words in errors and errors.count("\n") == 1


def test_dashes_underscores_and_defaults() -> None:
    arguments = main.arguments_of(["--model_name=a_b", "--model-base-path", "c_d"])
    assert (arguments.model_name, arguments.model_base_path, arguments.host, arguments.port) == (
        "a_b",
        Path("c_d"),
        "127.0.0.1",
        8500,
    )
    assert arguments.file_system_poll_wait_seconds == 1 and arguments.max_message_bytes == 64 << 20
    assert (arguments.processes, arguments.tensorflow_session_parallelism) == (1, 1)


def test_nothing_to_serve_is_bad_input(tmp_path: Path, base: Path, peer: Peer) -> None:
    at_once = ["--model_name", NAME, "--file_system_poll_wait_seconds=0"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "1").mkdir(parents=True)
    cases = [
        (["--model_base_path", str(tmp_path / "none")], "no such directory"),
        (["--model_base_path", str(tmp_path / "empty")], "no version"),
        (["--model_base_path", str(tmp_path / "broken")], f"{NAME} version 1 could not be loaded"),
        (
            ["--model_base_path", str(base), "--port", peer.target.rpartition(":")[2]],
            "Address already in use",
        ),
    ]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for flags, words in cases:
            with pytest.raises(InputError, match=words):
                main.main([*at_once, *flags])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
