"""How the server is reached: health, limits, TLS, metrics, and how it goes away."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from configs import InputError
from serving.server import main
from serving.server.flags import arguments_of, check_paths
from serving.server.model_config import VersionPolicy
from serving.server.rest.prometheus import Metrics
from serving.server.rest.rest_api import http_server, metrics_path
from serving.server.settings_protos import SSLConfig
from serving.server.tls import server_credentials
from tests.serving.conftest import NAME, Slow, good_request, serving
from tests.serving.server.test_model_manager import entry
from tests.serving.server.test_server import wait_for

ROOT = Path(__file__).parents[3]


def health_of(channel: grpc.Channel, service: str = "") -> str:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(
        health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status
    )


def test_health_is_serving_while_every_model_has_a_version(
    base: Path, publish: Callable[[Path, int], None]
) -> None:
    with serving(base, policy=VersionPolicy(specific=frozenset({10}))) as peer:
        assert health_of(peer.channel) == "NOT_SERVING"
        publish(base, 10)
        peer.models.refresh()
        assert health_of(peer.channel) == "SERVING"
        with pytest.raises(grpc.RpcError) as caught:
            health_of(peer.channel, "nope")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        peer.health.enter_graceful_shutdown()
        peer.models.refresh()
        assert health_of(peer.channel) == "NOT_SERVING"


def test_what_exceeds_the_limit_of_requests_is_refused_and_the_rest_answered(base: Path) -> None:
    with serving(base, load=Slow, threads=1, most_waiting=3) as slow:
        accepted = [slow.prediction.Predict.future(good_request(), timeout=20) for _ in range(3)]
        with slow.model.acquire() as servable:
            assert servable.entered.wait(5)
        wait_for(lambda: slow.refused(good_request())[0] == "RESOURCE_EXHAUSTED")
        servable.go.set()
        assert [future.result().model_spec.version.value for future in accepted] == [9, 9, 9]


class Runs(Slow):
    """Counts its requests."""

    count = 0

    def predict(self, *arguments: object) -> dict[str, Any]:
        self.count += 1
        return super().predict(*arguments)


def test_a_request_whose_deadline_passes_while_it_waits_is_not_run(base: Path) -> None:
    with serving(base, load=Runs, threads=1) as slow:
        running = slow.prediction.Predict.future(good_request(), timeout=20)
        with slow.model.acquire() as servable:
            assert servable.entered.wait(5)
        with pytest.raises(grpc.RpcError) as caught:
            slow.predict(good_request(), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        servable.go.set()
        assert running.result().model_spec.version.value == 9
        slow.predict(good_request())
        assert servable.count == 2


# ---- TLS


def ssl_config(tmp_path: Path, authority: trustme.CA, *, verify: bool = False) -> Path:
    certificate = authority.issue_cert("localhost")
    config = SSLConfig(
        server_key=certificate.private_key_pem.bytes().decode(),
        server_cert=b"".join(part.bytes() for part in certificate.cert_chain_pems).decode(),
        custom_ca=authority.cert_pem.bytes().decode() if verify else "",
        client_verify=verify,
    )
    file = tmp_path / "ssl"
    file.write_text(text_format.MessageToString(config))
    return file


def predict_over(target: str, credentials: grpc.ChannelCredentials) -> int:
    with grpc.secure_channel(target, credentials) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return int(stub.Predict(good_request(), timeout=5).model_spec.version.value)


def test_tls(base: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    with serving(base, credentials=server_credentials(ssl_config(tmp_path, authority))) as peer:
        target = peer.target.replace("127.0.0.1", "localhost")
        assert predict_over(target, grpc.ssl_channel_credentials(authority.cert_pem.bytes())) == 9
        with pytest.raises(grpc.RpcError):
            predict_over(target, grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes()))
        assert peer.refused(good_request())[0] == "UNAVAILABLE"  # plain text


def test_clients_that_must_show_a_certificate(base: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    client, root = authority.issue_cert("client@example.org"), authority.cert_pem.bytes()
    with serving(
        base, credentials=server_credentials(ssl_config(tmp_path, authority, verify=True))
    ) as peer:
        target = peer.target.replace("127.0.0.1", "localhost")
        with pytest.raises(grpc.RpcError):
            predict_over(target, grpc.ssl_channel_credentials(root))
        chain = b"".join(part.bytes() for part in client.cert_chain_pems)
        assert (
            predict_over(
                target, grpc.ssl_channel_credentials(root, client.private_key_pem.bytes(), chain)
            )
            == 9
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "server_key must hold the text of a PEM file"),
        (
            'server_key: "-----BEGIN X" server_cert: "cert.pem"',
            "server_cert must hold the text of a PEM file",
        ),
        (
            'server_key: "-----BEGIN X" server_cert: "-----BEGIN X" client_verify: true',
            "custom_ca must hold the text of a PEM file",
        ),
        ("key: 1", 'no field named "key"'),
    ],
)
def test_bad_ssl_configs(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "ssl"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        server_credentials(file)


# ---- HTTP


def get(port: int, path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_metrics(base: Path) -> None:
    metrics = Metrics(lambda: {NAME: {}})
    with (
        serving(base, observe=metrics.observe) as peer,
        http_server("127.0.0.1", 0, peer.service, {"/metrics": metrics.text}) as port,
    ):
        for _ in range(3):
            peer.predict(good_request())
        peer.refused(good_request(price=None))
        for name in ("nope", "never"):
            request = good_request()
            request.model_spec.name = name
            peer.refused(request)
        wait_for(
            lambda: 'status="NOT_FOUND"} 2.0' in get(port, "/metrics")[2]
        )  # counted when the peer may have its answer already
        code, kind, text = get(port, "/metrics")
        assert code == 200 and kind.startswith("text/plain; version=0.0.4")
        lines = text.splitlines()
        assert "# TYPE :tensorflow:serving:request_count counter" in lines
        assert f':tensorflow:serving:request_count{{model_name="{NAME}",status="OK"}} 3.0' in lines
        refused = f'{{model_name="{NAME}",status="INVALID_ARGUMENT"}}'
        assert f":tensorflow:serving:request_count{refused} 1.0" in lines
        assert ':tensorflow:serving:request_count{model_name="",status="NOT_FOUND"} 2.0' in lines
        labels = f'API="Predict",entrypoint="GRPC",model_name="{NAME}"'
        assert f":tensorflow:serving:request_latency_count{{{labels}}} 3.0" in lines
        assert (
            sum(line.startswith(":tensorflow:serving:request_latency_bucket{") for line in lines)
            == 34
        )
        assert "_created" not in text and "request_count_total" not in text
        assert get(port, "/metrics/")[0] == 404


def test_model_status_over_http(base: Path, publish: Callable[[Path, int], None]) -> None:
    publish(base, 10)
    with serving(base) as peer, http_server("127.0.0.1", 0, peer.service, {}) as port:
        available = {
            "version": "10",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for path in (f"/v1/models/{NAME}", f"/v1/models/{NAME}/versions/10"):
            code, kind, text = get(port, path)
            assert (code, kind, json.loads(text)) == (
                200,
                "application/json",
                {"model_version_status": [available]},
            )
        for path, words in (
            ("nope", "Could not find any versions of model nope"),
            (f"{NAME}/versions/9", "Could not find version 9"),
        ):
            code, _, text = get(port, f"/v1/models/{path}")
            assert code == 404 and words in json.loads(text)["error"]
        assert get(port, "/v1/models/../../etc/passwd")[0] == 400 and get(port, "/")[0] == 404


def test_where_metrics_are_served(tmp_path: Path) -> None:
    file = tmp_path / "monitoring"
    for text, path in (
        ("", None),
        ("prometheus_config { enable: false path: '/x' }", None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config { enable: true path: '/x' }", "/x"),
    ):
        file.write_text(text)
        assert metrics_path(file) == path
    assert metrics_path(None) is None
    file.write_text("prometheus_config { enable: true path: 'x' }")
    with pytest.raises(InputError, match="must begin with /, received x"):
        metrics_path(file)


# ---- the command


@contextmanager
def command(*flags: str) -> Iterator[subprocess.Popen[str]]:
    words = [
        sys.executable,
        "-m",
        "serving.server",
        "--port=0",
        "--file_system_poll_wait_seconds=0.05",
        *flags,
    ]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_command_with_everything(base: Path, tmp_path: Path, exported: dict[int, Path]) -> None:
    """A config of two models that changes, batching, TLS and metrics, all by file."""
    authority = trustme.CA()
    files = {
        "models": f"model_config_list {{ {entry(NAME, base)} }}",
        "batching": "max_batch_size { value: 64 } batch_timeout_micros { value: 1000 }",
        "monitoring": "prometheus_config { enable: true }",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    flags = [
        "--enable_batching=true",
        f"--batching_parameters_file={tmp_path / 'batching'}",
        "--rest_api_port=0",
    ]
    flags += [
        f"--ssl_config_file={ssl_config(tmp_path, authority)}",
        f"--monitoring_config_file={tmp_path / 'monitoring'}",
    ]
    flags += [
        f"--model_config_file={tmp_path / 'models'}",
        "--model_config_file_poll_wait_seconds=0.05",
    ]
    with command(*flags) as process:
        said, _, address = line(process).rpartition(" ")
        port = int(line(process).rpartition(":")[2])
        assert said == f"Serving {NAME} version 9 on"
        target, credentials = (
            address.replace("127.0.0.1", "localhost"),
            grpc.ssl_channel_credentials(authority.cert_pem.bytes()),
        )
        assert predict_over(target, credentials) == 9
        (tmp_path / "models").write_text(
            f"model_config_list {{ {entry(NAME, base)} {entry('other', exported[10].parent)} }}"
        )
        wait_for(
            lambda: (
                get(port, "/v1/models/other")[0] == 200
                and "AVAILABLE" in get(port, "/v1/models/other")[2]
            )
        )
        (tmp_path / "models").write_text("model_config_list { config { nam: 1 } }")
        assert process.stderr is not None
        assert "no field named" in (complaint := process.stderr.readline()) and complaint.endswith(
            "; the former config stays\n"
        )
        assert predict_over(target, credentials) == 9
        metrics = get(port, "/monitoring/prometheus/metrics")[2]
        assert (
            f':tensorflow:serving:request_count{{model_name="{NAME}",status="OK"}} 2.0' in metrics
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_a_server_that_fell_behind_answers_or_refuses_and_nothing_else(base: Path) -> None:
    """Below the server's limit gRPC has one of its own for requests that nobody has looked at
    yet, and answers CANCELLED.
    """
    with command(
        f"--model_name={NAME}", f"--model_base_path={base}", "--max_concurrent_requests=64"
    ) as process:
        with grpc.insecure_channel(line(process).split()[-1]) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            stub.Predict(good_request(), timeout=10)
            process.send_signal(signal.SIGSTOP)
            futures = [stub.Predict.future(good_request(), timeout=60) for _ in range(4000)]
            process.send_signal(signal.SIGCONT)
            codes = {future.code() for future in futures}
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_sigterm_lets_running_requests_end_and_refuses_new_ones(base: Path) -> None:
    """A batch that waits three seconds for others is the request that is being run."""
    (base / "batching").write_text("batch_timeout_micros { value: 3000000 }")
    flags = ["--enable_batching", f"--batching_parameters_file={base / 'batching'}"]
    with (
        command(f"--model_name={NAME}", f"--model_base_path={base}", *flags) as process,
        grpc.insecure_channel(line(process).split()[-1]) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        watched = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=20
        )
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        running = stub.Predict.future(good_request(), timeout=20)
        assert (
            health_of(channel) == "SERVING"
        )  # requests of a connection are taken in turn: the one above has been
        process.send_signal(signal.SIGTERM)
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watched.cancel()

        def refusal() -> grpc.StatusCode:
            with pytest.raises(
                grpc.RpcError
            ) as refused:  # where it was taken before the server closed, it waits in the batch
                stub.Predict(good_request(), timeout=0.1)
            return refused.value.code()

        wait_for(lambda: refusal() is grpc.StatusCode.UNAVAILABLE)
        assert not running.done()
        assert running.result().model_spec.version.value == 9
        assert process.wait(15) == 0


def test_a_signal_while_the_server_looks_whether_to_stop_stops_it() -> None:
    """The handler runs in the thread that holds the event's lock."""
    code = (
        "import os, signal\n"
        "from serving.server.main import _stop_at_signals\n"
        "stop = _stop_at_signals()\n"
        "with stop._cond:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    for _ in range(1000): pass\n"
        "print(stop.wait(30))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert found.stdout == "True\n", found.stderr


def test_peers_change_nothing_by_default(base: Path) -> None:
    with (
        command(f"--model_name={NAME}", f"--model_base_path={base}") as process,
        grpc.insecure_channel(line(process).split()[-1]) as channel,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
                model_management_pb2.ReloadConfigRequest(), timeout=10
            )
        assert (
            caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            and "--reload-config-root" in caught.value.details()
        )
        process.terminate()
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "one of the arguments --model-base-path --model-config-file is required"),
        (["--model_base_path=a", "--use_alts_credentials"], "there is no ALTS here"),
        (["--model_base_path=a", "--grpc_channel_arguments=x"], "must be NAME=VALUE"),
        (["--model_base_path=a", "--batching_parameters_file=b"], "without --enable-batching"),
        (["--model_base_path=a", "--reload_config_root=b", "--processes=2"], "one process alone"),
        (
            ["--model_base_path=a", "--enable_batching=maybe"],
            "must be true or false, received maybe",
        ),
        (["--model_base_path=a", "--rest_api_port=8500"], "must differ"),
        (
            ["--model_base_path=a", "--rest_api_port=1", "--processes=2"],
            "not with --processes above 1",
        ),
        (["--model_base_path=a", "--max_concurrent_requests=0"], "from 1"),
    ],
)
def test_bad_flags(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        arguments_of(flags)
    assert stopped.value.code == 2 and words in capsys.readouterr().err


def test_stock_flags_without_effect_are_accepted_and_say_so(
    capsys: pytest.CaptureFixture[str], base: Path, tmp_path: Path
) -> None:
    """The command line of a stock server's deployment."""
    (tmp_path / "config").touch()
    given = [
        "--max_num_load_retries=3",
        "--load_retry_interval_micros=5",
        "--num_load_threads=2",
        "--flush_filesystem_caches=false",
        "--enable_grpc_healthcheck_service",
        "--rest_api_enable_cors_support=true",
        "--saved_model_tags=serve",
        "--use_alts_credentials=false",
    ]
    heeded = [
        "--rest_api_timeout_in_ms=500",
        "--rest_api_num_threads=3",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,x=y",
        f"--model_config_file={tmp_path / 'config'}",
        f"--model_base_path={base}",
    ]
    arguments = arguments_of([*given, *heeded])
    check_paths(arguments)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(given) and all(" has no effect " in line for line in said)
    assert arguments.model_base_path is None
    assert (arguments.rest_api_timeout_in_ms, arguments.rest_api_num_threads) == (500, 3)
    assert arguments.grpc_channel_arguments == (("grpc.max_connection_age_ms", 2000), ("x", "y"))


@pytest.mark.parametrize(
    "flag", ["--enable_batching", "--enable_batching=true", "--enable_batching=false", None]
)
def test_switches(flag: str | None) -> None:
    arguments = arguments_of(["--model_base_path=a", *([flag] if flag else [])])
    assert (
        arguments.enable_batching == (flag in ("--enable_batching", "--enable_batching=true"))
        and arguments.enable_model_warmup
    )


def test_bad_files_stop_the_start(tmp_path: Path, base: Path) -> None:
    file = tmp_path / "file"
    missing, label = entry(NAME, tmp_path / "nowhere"), 'version_labels { key: "a" value: 9 }'
    cases = [
        ("model_config_file", "", "lists no models"),
        ("model_config_file", "config {}", "not a ModelServerConfig"),
        ("model_config_file", f"model_config_list {{ {missing} }}", "no such directory"),
        (
            "model_config_file",
            f"model_config_list {{ {entry(NAME, base, label)} }}",
            "not currently available",
        ),
        (
            "batching_parameters_file",
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "must match max_batch_size",
        ),
        ("ssl_config_file", "", "server_key"),
        ("monitoring_config_file", "enable: true", "not a MonitoringConfig"),
    ]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for flag, text, words in cases:
            file.write_text(text)
            flags = [
                f"--{flag}={file}",
                "--enable_batching",
                "--rest_api_port=0",
                "--port=0",
                "--file_system_poll_wait_seconds=0",
            ]
            with pytest.raises(InputError, match=words):
                main.main(
                    [
                        *flags,
                        *([] if flag == "model_config_file" else [f"--model_base_path={base}"]),
                    ]
                )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_certificate_that_is_none_is_one_line(base: Path, tmp_path: Path) -> None:
    (tmp_path / "ssl").write_text('server_key: "-----BEGIN X" server_cert: "-----BEGIN X"')
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    words = [
        sys.executable,
        "-m",
        "serving.server",
        f"--model_base_path={base}",
        "--port=0",
        f"--ssl_config_file={tmp_path / 'ssl'}",
    ]
    finished = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=60
    )
    assert (
        finished.returncode == 2
        and finished.stderr
        == "error: cannot listen on 127.0.0.1:0: its key and certificate cannot be used\n"
    )
