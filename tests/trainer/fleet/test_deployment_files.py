"""The deployment examples of a fleet are read, and their commands are ones that exist."""

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from trainer import task
from trainer.fleet.plan import Shard, parse_shard

FOLDER = ROOT / "deploy" / "fleet"


def arguments(words: list[str]) -> Any:
    """What ``python -m trainer.task`` reads of a container's words."""
    assert words[:3] == ["python", "-m", "trainer.task"]
    return task._parser().parse_args(words[3:])


def jobs() -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")))


def container(job: Any) -> Any:
    (only,) = job["spec"]["template"]["spec"]["containers"]
    return only


def test_the_pods_of_kubernetes_train_every_shard_once() -> None:
    shards, _ = jobs()
    assert shards["spec"]["completionMode"] == "Indexed"
    (script,) = container(shards)["args"]
    found = []
    for index in range(shards["spec"]["completions"]):  # as the pod's shell works it out
        words = script.removeprefix("exec ").replace('"', "")
        words = words.replace("$((JOB_COMPLETION_INDEX + 1))", str(index + 1)).split()
        assert arguments(words).command == "finetune"
        found.append(parse_shard(arguments(words).shard))
    assert found == [Shard(number, len(found)) for number in range(1, len(found) + 1)]


def test_gathering_reads_what_the_shards_read() -> None:
    shards, gathering = jobs()
    (script,) = container(shards)["args"]
    trained = arguments(re.sub(r'--shard "[^"]*"', "", script).removeprefix("exec ").split())
    gathered = arguments([*container(gathering)["command"], *container(gathering)["args"]])
    assert gathered.command == "gather"
    for name in ("config", "data", "job_dir"):
        assert getattr(gathered, name) == getattr(trained, name)
    volumes = [job["spec"]["template"]["spec"]["volumes"] for job in (shards, gathering)]
    assert volumes[0] == volumes[1]
    assert gathering["spec"]["suspend"] is True


@pytest.mark.parametrize("number", [1, 16])
def test_vertex_trains_the_shard_that_is_put_in(number: int) -> None:
    text = (FOLDER / "vertex.yaml").read_text(encoding="utf-8")
    spec = yaml.safe_load(text.replace("SHARD", str(number)))
    (pool,) = spec["workerPoolSpecs"]
    words = [*pool["containerSpec"]["command"], *pool["containerSpec"]["args"]]
    assert parse_shard(arguments(words).shard) == Shard(number, 16)
    (mount,) = pool["nfsMounts"]
    assert f"/mnt/nfs/{mount['mountPoint']}/" in str(arguments(words).job_dir)
