"""The deployment examples of workers are read: their cluster and their commands are ones that
exist.
"""

import subprocess

import yaml

from tests.conftest import ROOT
from tests.trainer.fleet.test_deployment_files import arguments
from trainer.distribution.cluster import Cluster, read_cluster

FOLDER = ROOT / "deploy" / "workers"


def test_the_pods_of_kubernetes_are_one_cluster() -> None:
    text = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
    service, job = yaml.safe_load_all(text)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"]
    assert service["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    (script,) = container["args"]
    (port,) = (entry["port"] for entry in service["spec"]["ports"])
    name, domain = job["metadata"]["name"], pod["subdomain"]
    expected = tuple(f"{name}-{rank}.{domain}:{port}" for rank in range(spec["completions"]))
    said = script.replace("exec python", "printf '%s\\n' \"$TF_CONFIG\"; : python")
    for rank in range(spec["completions"]):
        found = subprocess.run(
            ["sh", "-c", said],
            env={"JOB_COMPLETION_INDEX": str(rank)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert read_cluster({"TF_CONFIG": found.stdout}) == Cluster(expected, rank)
    *_, last = script.strip().splitlines()
    assert arguments(last.removeprefix("exec ").split()).command == "pretrain"


def test_all_pools_of_vertex_run_the_same_command() -> None:
    pools = yaml.safe_load((FOLDER / "vertex.yaml").read_text(encoding="utf-8"))["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in pools] == [1, 3]
    first, second = ([*p["containerSpec"]["command"], *p["containerSpec"]["args"]] for p in pools)
    assert first == second
    assert arguments(first).command == "pretrain"
    for pool in pools:
        (mount,) = pool["nfsMounts"]
        assert f"/mnt/nfs/{mount['mountPoint']}/" in str(arguments(first).job_dir)
