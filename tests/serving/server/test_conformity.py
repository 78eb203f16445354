"""The same requests to the embedded server and to TensorFlow Serving's own: codes, scores,
versions, metadata, status.

Both run as processes with the same flags. The stock one takes part where
``TENSORFLOW_MODEL_SERVER`` names its binary.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

import serving
from serving.client import Client
from serving.server.failures import status_of
from serving.server.servable import Servable
from serving.server.worker_processes import shared_port
from serving.wire.errors import StatusError
from serving.wire.messages import PredictRequest
from serving.wire.row_codec import encode_rank, encode_rows
from serving.wire.tensor_protos import decode, encode
from serving.wire.tf_examples import example
from tests.serving.conftest import NAME
from tests.serving.server.conformity_cases import (
    ANSWERED,
    F32,
    GOOD,
    INVALID,
    NO_ROWS,
    REFUSED,
    SCORES,
    TEXT,
    Case,
)

BINARY = "TENSORFLOW_MODEL_SERVER"
SERVERS = [
    "embedded",
    pytest.param(
        "stock",
        marks=pytest.mark.skipif(
            BINARY not in os.environ, reason=f"{BINARY} names no tensorflow_model_server"
        ),
    ),
]
RECOMMENDER = "recommender"
Inputs = dict[str, Any]


def command(kind: str) -> list[str]:
    if kind == "embedded":
        return [sys.executable, "-m", "serving.server", "--reload_config_root=/"]
    return [
        os.environ[BINARY],
        "--max_num_load_retries=0",
    ]  # by default it tries a broken version again after a minute


@contextmanager
def process(kind: str, flags: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server on a port that was free a moment ago."""
    with shared_port("127.0.0.1", 0) as port:
        pass
    with subprocess.Popen(
        [*command(kind), f"--port={port}", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as server:
        try:
            yield server, f"127.0.0.1:{port}"
        finally:
            server.kill()


class Server:
    """Stubs of a running server, and its process."""

    def __init__(self, server: subprocess.Popen[bytes], target: str, base: Path) -> None:
        self.process, self.target, self.base = server, target, base
        self.channel = grpc.insecure_channel(target)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, request: Message, timeout: float = 20) -> predict_pb2.PredictResponse:
        return self.prediction.Predict(request, timeout=timeout)

    def states(self, name: str, version: int | None = None) -> dict[int, Any]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
        if version is not None:
            request.model_spec.version.value = version
        return {
            entry.version: entry
            for entry in self.models.GetModelStatus(request, timeout=20).model_version_status
        }


AVAILABLE, END = 30, 50


def code(call: Callable[[], Any]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def wait_for(condition: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert server.poll() is None, (
            f"the server ended: {server.stderr.read().decode() if server.stderr else ''}"
        )
        assert time.monotonic() < end, "did not happen within 90 s"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def models(
    exported: dict[int, Path], models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Base paths of the tiny model and of a recommender; beside the versions of the first lies
    what is none.
    """
    base = tmp_path_factory.mktemp("conformity")
    for version, path in exported.items():
        shutil.copytree(path, base / NAME / str(version))
    for name in ("v11", "12.part", "tmp"):
        shutil.copytree(exported[9], base / NAME / name)
    (
        base / NAME / "notes.txt"
    ).touch()  # a file named by an integer would be taken for a version by the stock server
    shutil.copytree(models_dir, base / RECOMMENDER)
    return base


def config(models: Path, stable: int = 9, canary: int = 10) -> Any:
    """Two versions of the tiny model under labels, and the recommender's newest."""
    made = model_server_config_pb2.ModelServerConfig()
    tiny = made.model_config_list.config.add(
        name=NAME, base_path=str(models / NAME), model_platform="tensorflow"
    )
    tiny.model_version_policy.latest.num_versions = 2
    tiny.version_labels.update({"stable": stable, "canary": canary})
    made.model_config_list.config.add(
        name=RECOMMENDER, base_path=str(models / RECOMMENDER), model_platform="tensorflow"
    )
    return made


@pytest.fixture(scope="session", params=SERVERS)
def server(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("config") / "models.pbtxt"
    path.write_text(text_format.MessageToString(config(models)))
    flags = [
        f"--model_config_file={path}",
        "--file_system_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    with process(request.param, flags) as (running, target):
        made = Server(running, target, models)
        wait_for(lambda: code(lambda: made.states(RECOMMENDER)) == "OK", running)
        wait_for(
            lambda: [entry.state for entry in made.states(NAME).values()] == [AVAILABLE, AVAILABLE],
            running,
        )
        wait_for(
            lambda: [entry.state for entry in made.states(RECOMMENDER).values()] == [AVAILABLE],
            running,
        )
        yield made
        made.channel.close()


# ---- Predict


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.name)
def test_answered(server: Server, case: Case) -> None:
    answer = server.predict(case.request())
    assert set(answer.outputs) == set(case.expected) or case.expected.keys() == {"ctr"}
    for name, expected in case.expected.items():
        values = decode(answer.outputs[name])
        if answer.outputs[name].dtype == TEXT:
            assert values.tolist() == expected
        else:
            np.testing.assert_allclose(values.astype(np.float64), expected, rtol=1e-5)
    version = int(decode(answer.outputs["version"])[0]) if "version" in case.expected else 10
    assert answer.model_spec.version.value == version and answer.model_spec.name == NAME
    assert answer.model_spec.signature_name == case.spec.get("signature_name", "serving_default")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refused(server: Server, case: Case) -> None:
    assert code(lambda: server.predict(case.request())) in case.codes
    assert code(lambda: server.predict(Case("good", GOOD).request())) == "OK"


def test_no_rows_are_answered_with_none_or_refused(server: Server) -> None:
    assert code(lambda: server.predict(NO_ROWS.request())) in NO_ROWS.codes
    if code(lambda: server.predict(NO_ROWS.request())) == "OK":
        assert decode(server.predict(NO_ROWS.request()).outputs["ctr"]).shape == (0,)


def test_floats_come_back_in_float_val(server: Server) -> None:
    scores = server.predict(Case("good", GOOD).request()).outputs["ctr"]
    assert scores.dtype == F32 and not scores.tensor_content
    np.testing.assert_allclose(list(scores.float_val), SCORES, rtol=1e-5)


def test_methods_that_the_model_has_no_signature_for(server: Server) -> None:
    """INVALID_ARGUMENT: it is the request that is wrong (read in TensorFlow Serving's sources)."""
    spec = {"name": NAME}
    stub = server.prediction
    for method, request in (
        (stub.Classify, classification_pb2.ClassificationRequest(model_spec=spec)),
        (stub.Regress, regression_pb2.RegressionRequest(model_spec=spec)),
        (
            stub.MultiInference,
            inference_pb2.MultiInferenceRequest(
                tasks=[{"model_spec": spec, "method_name": "tensorflow/serving/classify"}]
            ),
        ),
        (stub.Classify, classification_pb2.ClassificationRequest()),
    ):
        assert code(lambda method=method, request=request: method(request, timeout=20)) == INVALID  # type: ignore[misc]


def recommended(server: Server, name: str, rows: list[dict[str, Any]], domain: str) -> Inputs:
    """What the client sends of rows."""
    with Client(server.target, RECOMMENDER) as client:
        signature = client.signature(name)
    if name == "rank":
        return encode_rank(signature, rows[0], rows, domain, ignore_unknown=True)
    return encode_rows(signature, rows, domain, ignore_unknown=True)


def golden_rows(server: Server) -> list[dict[str, Any]]:
    [version] = server.states(RECOMMENDER)
    extra = server.base / RECOMMENDER / str(version) / "assets.extra"
    cases = json.loads((extra / "golden.json").read_text())["cases"]
    rows: list[dict[str, Any]] = next(
        case["rows"] for case in cases if case["signature"] == "serving_default"
    )
    return rows


def test_rows_that_do_not_belong_together_are_refused(server: Server) -> None:
    """The stock server looks at data types and names alone; the graph looks at the rest."""

    def asked(name: str, **changed: Message) -> str:
        inputs = recommended(server, name, golden_rows(server)[:3], "all") | changed
        spec = {"name": RECOMMENDER, "signature_name": name}
        return code(lambda: server.predict(PredictRequest(model_spec=spec, inputs=inputs)))

    assert asked("serving_default") == asked("rank") == "OK"
    for names in ([], [b"all"], [b"all"] * 2, [b"all"] * 4):
        domains = encode(np.array(names, object), TEXT)
        assert asked("serving_default", domain=domains) == INVALID
        assert asked("rank", domain=domains) == ("OK" if len(names) == 1 else INVALID)
    assert asked("rank", user_id=encode([b"u1", b"u2", b"u3"], TEXT)) == INVALID


def test_requests_that_are_none(server: Server) -> None:
    assert code(lambda: server.predict(PredictRequest(inputs=GOOD))) == "INVALID_ARGUMENT"
    service = "/tensorflow.serving.PredictionService/"
    assert (
        code(lambda: server.channel.unary_unary(f"{service}Predict")(b"\xff\xff\xff", timeout=20))
        == "INTERNAL"
    )
    assert (
        code(lambda: server.channel.unary_unary(f"{service}Foresee")(b"", timeout=20))
        == "UNIMPLEMENTED"
    )


def test_a_missed_deadline(server: Server) -> None:
    many = {
        name: encode(np.repeat(decode(proto)[:1], 20_000, axis=0), proto.dtype)
        for name, proto in GOOD.items()
    }
    assert (
        code(lambda: server.predict(Case("many rows", many).request(), timeout=0.001))
        == "DEADLINE_EXCEEDED"
    )
    assert code(lambda: server.predict(Case("good", GOOD).request())) == "OK"


@pytest.mark.parametrize(
    "case", [case for case in REFUSED if case.by_graph], ids=lambda case: case.name
)
def test_the_graph_refuses_what_a_server_without_checks_lets_through(
    exported: dict[int, Path], case: Case
) -> None:
    """What can be known of the stock server without its binary: the same session, fed what no
    check has seen.
    """
    servable = Servable(10, exported[10])
    name = str(case.spec.get("signature_name", "serving_default"))
    signature = servable.signatures[name]
    feeds = [
        np.array(proto.SerializeToString(), np.object_) if proto.dtype == TEXT else decode(proto)
        for proto in (case.inputs[alias] for alias in sorted(signature.inputs))
    ]
    with pytest.raises(Exception) as caught:
        servable.run(name, sorted(signature.outputs), feeds)
    failure = caught.value if isinstance(caught.value, StatusError) else status_of(caught.value)
    assert failure.code.name in case.codes
    servable.close()


def test_the_client_names_versions_and_labels(server: Server) -> None:
    rows = [{"user": "u1", "clicks": [], "price": 0.5, "time": 1700000000}]
    for version, answered in ((None, 10), (9, 9), ("stable", 9), ("canary", 10)):
        with Client(server.target, NAME, version=version) as client:
            assert client.ask(rows, "all").version == answered


# ---- golden scores


def replayed(client: Client, case: dict[str, Any]) -> dict[str, Any]:
    """What a server answers to a golden case, as its ``expected``."""
    rows, name = case["rows"], case["signature"]
    if name == "rank":
        answers = client.rank(case["shared"], rows, case["domain"])
    else:
        sent = [{"examples": example(row)} for row in rows] if name == "examples" else rows
        answers = client.ask(sent, case["domain"], name).rows
    columns = {output: [row[output] for row in answers] for output in answers[0]}
    return columns | ({"domains": columns["domains"][0]} if "domains" in columns else {})


def test_golden_cases(server: Server) -> None:
    [version] = server.states(RECOMMENDER)
    golden = json.loads(
        (server.base / RECOMMENDER / str(version) / "assets.extra" / "golden.json").read_text()
    )
    assert {case["signature"] for case in golden["cases"]} == {
        "serving_default",
        "rank",
        "examples",
        "all_domains",
    }
    with Client(server.target, RECOMMENDER) as client:
        for case in golden["cases"]:
            answer = replayed(client, case)
            assert answer.keys() == case["expected"].keys()
            for name, expected in case["expected"].items():
                if name in ("served_domain", "domains"):
                    assert answer[name] == expected
                else:
                    np.testing.assert_allclose(
                        answer[name],
                        expected,
                        rtol=0,
                        atol=golden["tolerance"],
                        err_msg=str(case["signature"]),
                    )


# ---- metadata, status, versions


def test_metadata(server: Server) -> None:
    def ask(fields: Sequence[str], name: str = NAME) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec={"name": name}, metadata_field=fields
        )
        return server.prediction.GetModelMetadata(request, timeout=20)

    answer, found = ask(["signature_def"]), get_model_metadata_pb2.SignatureDefMap()
    assert answer.model_spec.version.value == 10 and answer.metadata["signature_def"].Unpack(found)
    assert {name for name in found.signature_def if not name.startswith("__")} == {
        "serving_default",
        "rank",
        "all_domains",
        "odd",
    }
    shapes = {
        name: [dim.size for dim in info.tensor_shape.dim]
        for name, info in found.signature_def["rank"].inputs.items()
    }
    assert shapes == {"user": [1], "clicks": [1, -1], "price": [-1], "time": [1], "domain": [1]}
    assert found.signature_def["serving_default"].outputs["ctr"].dtype == F32
    assert code(lambda: ask(["weights"])) == code(lambda: ask([])) == "INVALID_ARGUMENT"
    assert code(lambda: ask(["signature_def"], "nope")) == "NOT_FOUND"


def test_status_is_of_integer_directories_alone(server: Server) -> None:
    assert {version: entry.state for version, entry in server.states(NAME).items()} == {
        9: AVAILABLE,
        10: AVAILABLE,
    }
    assert list(server.states(NAME, 9)) == [9] and server.states(NAME, 9)[9].status.error_code == 0
    assert code(lambda: server.states(NAME, 3)) == "NOT_FOUND"
    assert code(lambda: server.states("nope")) == "NOT_FOUND"


def test_labels_move_by_a_new_config(server: Server) -> None:
    def reload(**labels: int) -> str:
        request = model_management_pb2.ReloadConfigRequest(config=config(server.base, **labels))
        return code(lambda: server.models.HandleReloadConfigRequest(request, timeout=60))

    def served(label: str) -> int:
        return int(
            server.predict(
                Case("", GOOD, {"version_label": label}).request()
            ).model_spec.version.value
        )

    assert reload(stable=10) == "OK" and served("stable") == served("canary") == 10
    assert reload(stable=9) == "OK" and served("stable") == 9
    assert reload(canary=3) == "FAILED_PRECONDITION" and served("canary") == 10


def test_a_version_with_a_broken_warm_up_file_disturbs_nothing(
    server: Server, exported: dict[int, Path]
) -> None:
    """It may be refused, or served as if there were no such file; the newest good version
    answers either way.
    """
    aside = server.base / NAME / "aside"
    shutil.copytree(exported[10], aside)
    (aside / "assets.extra").mkdir(exist_ok=True)
    (aside / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"not a record" * 9)
    published = aside.rename(server.base / NAME / "21")
    try:
        wait_for(
            lambda: 21 in server.states(NAME) and server.states(NAME)[21].state in (AVAILABLE, END),
            server.process,
        )
        entry = server.states(NAME)[21]
        assert (entry.state == AVAILABLE) == (entry.status.error_code == 0)
        answer = server.predict(Case("good", GOOD).request())
        assert answer.model_spec.version.value == (21 if entry.state == AVAILABLE else 10)
        np.testing.assert_allclose(decode(answer.outputs["ctr"]), SCORES, rtol=1e-5)
    finally:
        shutil.rmtree(published)
        wait_for(
            lambda: {server.states(NAME)[version].state for version in (9, 10)} == {AVAILABLE},
            server.process,
        )


# ---- batching


@pytest.mark.parametrize("kind", SERVERS)
def test_an_exported_version_is_served_with_the_batching_file_that_is_shipped(
    kind: str, models: Path
) -> None:
    """Its warm-up is taken, and lists of any length, as the client sends them, disturb none."""
    file = Path(serving.__file__).parent / "tensorflow_serving" / "batching_parameters.pbtxt"
    model = [f"--model_name={RECOMMENDER}", f"--model_base_path={models / RECOMMENDER}"]
    batching = ["--enable_batching=true", f"--batching_parameters_file={file}"]
    threads = "--grpc_max_threads=64"
    with process(kind, [*model, *batching, threads]) as (running, target):
        server = Server(running, target, models)
        wait_for(lambda: code(lambda: server.states(RECOMMENDER)) == "OK", running)
        wait_for(
            lambda: [entry.state for entry in server.states(RECOMMENDER).values()] == [AVAILABLE],
            running,
        )
        rows = golden_rows(server)
        lists = [name for name, value in rows[0].items() if isinstance(value, list)]
        assert lists
        slates = [
            [row | {name: ["x", "shop_id1", "shop_id2"][:length] for name in lists} for row in some]
            for length in range(4)
            for some in (rows[:1], rows[1:4])
        ]
        spec = {"name": RECOMMENDER}
        requests = [
            PredictRequest(
                model_spec=spec, inputs=recommended(server, "serving_default", slate, "auto")
            )
            for slate in slates
        ]
        alone = [decode(server.predict(request).outputs["ctcvr"]) for request in requests]
        together = [
            server.prediction.Predict.future(request, timeout=20) for request in requests * 10
        ]
        for index, answer in enumerate(together):
            np.testing.assert_allclose(
                decode(answer.result().outputs["ctcvr"]), alone[index % len(alone)], rtol=1e-5
            )
        server.channel.close()


# ---- HTTP


@pytest.mark.parametrize("kind", SERVERS)
def test_http(kind: str, models: Path) -> None:
    with shared_port("127.0.0.1", 0) as port:
        pass
    model = [f"--model_name={NAME}", f"--model_base_path={models / NAME}"]
    with process(kind, [*model, f"--rest_api_port={port}"]) as (running, target):
        server = Server(running, target, models)

        def ask(path: str, body: Any = None) -> tuple[int, Any]:
            data = None if body is None else json.dumps(body).encode()
            try:
                url = f"http://127.0.0.1:{port}/v1/models{path}"
                with urllib.request.urlopen(url, data, timeout=10) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                return error.code, json.loads(error.read())

        wait_for(lambda: code(lambda: server.predict(ANSWERED[0].request())) == "OK", running)
        columns = {name: plain(decode(proto).tolist()) for name, proto in GOOD.items()}
        columns["price"][1] = -1.0  # what the model takes for a missing one
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        status, answer = ask(f"/{NAME}:predict", {"instances": rows})
        assert status == 200
        np.testing.assert_allclose([row["ctr"] for row in answer["predictions"]], SCORES, rtol=1e-5)
        status, answer = ask(f"/{NAME}/versions/10:predict", {"inputs": columns})
        assert status == 200 and answer["outputs"]["served_domain"] == ["all", "scene=home"]
        assert ask(f"/{NAME}:predict", {"inputs": columns, "instances": rows})[0] == 400
        assert ask(f"/{NAME}:predict", {"instances": [rows[0] | {"price": "1"}]})[0] == 400
        assert ask(f"/{NAME}:predict", {"instances": [rows[0], {}]})[0] == 400
        assert ask(f"/{NAME}/labels/x:predict", {"instances": rows})[0] == 400
        assert ask("/nope:predict", {"instances": rows})[0] == 404
        status, answer = ask(f"/{NAME}/metadata")
        assert status == 200 and answer["model_spec"]["version"] == "10"
        assert "serving_default" in answer["metadata"]["signature_def"]["signature_def"]
        assert ask("/nope/metadata")[0] == ask("/nope")[0] == 404
        assert ask(f"/{NAME}/x")[0] == ask("")[0] == 400
        server.channel.close()


def plain(value: Any) -> Any:
    """Bytes as text, at any depth."""
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("kind", SERVERS)
def test_batching_with_the_file_that_is_shipped(kind: str, models: Path) -> None:
    file = Path(serving.__file__).parent / "tensorflow_serving" / "batching_parameters.pbtxt"
    model = [f"--model_name={NAME}", f"--model_base_path={models / NAME}"]
    with process(
        kind, [*model, "--enable_batching=true", f"--batching_parameters_file={file}"]
    ) as (running, target):
        server = Server(running, target, models)
        wait_for(lambda: code(lambda: server.predict(ANSWERED[0].request())) == "OK", running)
        # of one length, as clients must pad them: the stock server pads with a list's first value
        short, longer = (
            GOOD | {"clicks": encode([first, second], TEXT)}
            for first, second in (
                ([b"u2", b"", b"", b"", b""], [b"u3", b"u1", b"", b"", b""]),
                ([b"u2"] * 5, [b"u3"] * 5),
            )
        )
        alone = [
            server.predict(Case("", inputs).request()).outputs["ctr"] for inputs in (short, longer)
        ]
        together = [
            server.prediction.Predict.future(Case("", inputs).request(), timeout=20)
            for inputs in (short, longer) * 20
        ]
        for index, answer in enumerate(together):
            np.testing.assert_allclose(
                decode(answer.result().outputs["ctr"]), decode(alone[index % 2]), rtol=1e-6
            )
        np.testing.assert_allclose(decode(alone[0]), SCORES, rtol=1e-5)
        asked = {
            case.spec.get("signature_name"): code(lambda case=case: server.predict(case.request()))
            for case in ANSWERED
        }  # type: ignore[misc]
        assert (asked["rank"], asked["all_domains"]) == ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
        server.channel.close()


# ---- starts that must fail


@pytest.mark.parametrize("kind", SERVERS)
def test_a_batching_file_that_contradicts_itself_stops_the_start(
    kind: str, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "batching.pbtxt"
    path.write_text(
        "max_batch_size { value: 64 }\nallowed_batch_sizes: 8\nallowed_batch_sizes: 32\n"
    )
    model = [f"--model_name={NAME}", f"--model_base_path={models / NAME}"]
    with process(
        kind, [*model, "--enable_batching=true", f"--batching_parameters_file={path}"]
    ) as (started, _):
        _, said = started.communicate(timeout=90)
    assert started.returncode not in (0, None) and b"allowed_batch_sizes" in said
