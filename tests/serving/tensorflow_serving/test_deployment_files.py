"""The deployment files: every one is read, and what one says agrees with the others."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

import serving
from configs.errors import InputError
from serving.server.batching.batching_parameters import read_parameters
from serving.server.flags import arguments_of
from serving.server.model_config import model_configs
from serving.server.settings_protos import (
    BatchingParameters,
    ModelServerConfig,
    MonitoringConfig,
    read_text,
)

FOLDER = Path(serving.__file__).parent / "tensorflow_serving"
MESSAGES = {
    "model_config.pbtxt": ModelServerConfig,
    "batching_parameters.pbtxt": BatchingParameters,
    "monitoring_config.pbtxt": MonitoringConfig,
}


def documents(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def deployment() -> Any:
    return documents("kubernetes/deployment.yaml")


@pytest.fixture(scope="module")
def pod(deployment: Any) -> Any:
    return deployment["spec"]["template"]


@pytest.fixture(scope="module")
def container(pod: Any) -> Any:
    [only] = pod["spec"]["containers"]
    return only


@pytest.fixture(scope="module")
def composed() -> Any:
    [service] = documents("compose.yaml")["services"].values()
    return service


@pytest.fixture(scope="module")
def model() -> Any:
    [model] = model_configs(read_text(FOLDER / "model_config.pbtxt", ModelServerConfig))
    return model


def flags(words: list[str]) -> dict[str, str]:
    return dict(word.removeprefix("--").split("=", 1) for word in words)  # type: ignore[misc]


# ---- protocol buffers


def test_every_text_file_is_read_as_its_message() -> None:
    assert {path.name for path in FOLDER.rglob("*.pbtxt")} == set(MESSAGES)
    for name, message in MESSAGES.items():
        assert read_text(FOLDER / name, message).ByteSize() > 0


def test_two_versions_are_served_under_labels(model: Any) -> None:
    assert model.policy.wanted([1, 2, 3]) == [2, 3]
    assert model.labels == {"stable": 1, "canary": 2}
    assert len(set(model.labels.values())) == model.policy.latest


def test_batches_fit_the_largest_allowed_size_and_lists_of_any_length(tmp_path: Path) -> None:
    path = FOLDER / "batching_parameters.pbtxt"
    parameters = read_parameters(path)
    assert (
        parameters.allowed_batch_sizes[-1] == parameters.max_batch_size
        and parameters.pad_variable_length_inputs
    )
    changed = tmp_path / "batching.pbtxt"
    changed.write_text(
        path.read_text().replace("max_batch_size { value: 256 }", "max_batch_size { value: 512 }")
    )
    with pytest.raises(InputError, match="must match max_batch_size"):
        read_parameters(changed)


# ---- YAML


def test_every_yaml_file_is_read() -> None:
    kinds = {
        path.name: documents(str(path.relative_to(FOLDER))).get("kind")
        for path in FOLDER.rglob("*.yaml")
    }
    assert kinds == {
        "compose.yaml": None,
        "kustomization.yaml": "Kustomization",
        "deployment.yaml": "Deployment",
        "service.yaml": "Service",
        "autoscaler.yaml": "HorizontalPodAutoscaler",
        "disruption_budget.yaml": "PodDisruptionBudget",
    }
    resources = {str(path.relative_to(FOLDER)) for path in (FOLDER / "kubernetes").glob("*.yaml")}
    assert set(documents("kustomization.yaml")["resources"]) == resources


def test_the_image_is_pinned_and_the_same_everywhere(container: Any, composed: Any) -> None:
    name, _, version = container["image"].partition(":")
    assert (
        name == "tensorflow/serving"
        and version.count(".") == 2
        and version.replace(".", "").isdecimal()
    )
    assert composed["image"] == container["image"]


def test_every_command_line_leaves_threads_for_requests_to_wait_in(
    container: Any, composed: Any
) -> None:
    """By default the stock server has four for each core, and refuses what comes on top."""
    for words in (container["args"], composed["command"]):
        assert int(flags(words)["grpc_max_threads"]) >= 1024


def test_objects_mean_the_same_pods(deployment: Any, pod: Any) -> None:
    labels = pod["metadata"]["labels"]
    assert (
        deployment["spec"]["selector"]["matchLabels"]
        == labels
        == documents("kubernetes/service.yaml")["spec"]["selector"]
    )
    assert (
        documents("kubernetes/disruption_budget.yaml")["spec"]["selector"]["matchLabels"] == labels
    )
    assert (
        documents("kubernetes/autoscaler.yaml")["spec"]["scaleTargetRef"]["name"]
        == deployment["metadata"]["name"]
    )
    assert "replicas" not in deployment["spec"]


def test_a_rollout_keeps_the_capacity_and_room_for_two_versions(
    deployment: Any, pod: Any, container: Any, composed: Any
) -> None:
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    of_version = gibibytes(pod["metadata"]["annotations"]["recommender/version-memory"])
    limit = gibibytes(container["resources"]["limits"]["memory"])
    assert (
        limit >= 2 * of_version + 1
        and gibibytes(container["resources"]["requests"]["memory"]) == limit
    )
    assert composed["mem_limit"] == f"{limit}g"
    assert container["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"
    assert (
        int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        < pod["spec"]["terminationGracePeriodSeconds"]
    )


def gibibytes(text: str) -> int:
    assert text.endswith("Gi")
    return int(text.removesuffix("Gi"))


def test_paths_are_mounted(container: Any, composed: Any, pod: Any, model: Any) -> None:
    given = flags(container["args"])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == volumes
    assert str(model.base_path.parent) in mounts and mounts[str(model.base_path.parent)]["readOnly"]
    generated = documents("kustomization.yaml")["configMapGenerator"][0]
    config = next(volume for volume in pod["spec"]["volumes"] if "configMap" in volume)
    assert config["configMap"]["name"] == generated["name"]
    in_config_map = {f"/config/{name}" for name in generated["files"]}
    in_compose = {volume.rsplit(":", 2)[1] for volume in composed["volumes"]}
    for used in (given, flags(composed["command"])):
        files = {value for flag, value in used.items() if flag.endswith("_file")}
        assert files == in_config_map and files < in_compose
    assert str(model.base_path) in in_compose
    assert all((FOLDER / name).is_file() for name in generated["files"])


def test_ports_and_probes_agree(container: Any, composed: Any, pod: Any, model: Any) -> None:
    given = flags(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": int(given["port"]), "http": int(given["rest_api_port"])}
    served = documents("kubernetes/service.yaml")["spec"]["ports"]
    assert {port["targetPort"]: port["port"] for port in served} == ports
    assert composed["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports.values()]
    path = f"/v1/models/{model.name}/metadata"
    assert all(
        container[probe]["httpGet"] == {"path": path, "port": "http"}
        for probe in ("startupProbe", "readinessProbe")
    )
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    assert (
        path in composed["healthcheck"]["test"][-1]
        and f"/{ports['http']} " in composed["healthcheck"]["test"][-1]
    )
    monitoring = read_text(FOLDER / "monitoring_config.pbtxt", MonitoringConfig).prometheus_config
    annotations = pod["metadata"]["annotations"]
    assert monitoring.enable and annotations["prometheus.io/path"] == monitoring.path
    assert int(annotations["prometheus.io/port"]) == ports["http"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (404, False), (503, False)])
def test_the_health_check_reads_the_status(composed: Any, status: int, healthy: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v1/models/recommender/metadata" else 400)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    kind, *command, script = composed["healthcheck"]["test"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ended = subprocess.run(
            [*command, script.replace("/8501 ", f"/{server.server_address[1]} ")],
            timeout=20,
            check=False,
        )
        server.shutdown()
    assert kind == "CMD" and (ended.returncode == 0) == healthy
    assert "$" not in script  # compose would take it for a variable


def test_the_embedded_server_takes_the_same_flags(container: Any, composed: Any) -> None:
    for words in (container["args"], composed["command"]):
        arguments = arguments_of(words)
        assert (
            arguments.port == 8500
            and str(arguments.model_config_file) == "/config/model_config.pbtxt"
        )
