"""Every order in writing is one that its engine takes, and its words are a command's."""

import argparse
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serving.server.flags import arguments_of
from tests.conftest import ROOT
from tests.deploy.schemas import (
    FLEX_PARAMETERS,
    FLEX_TEMPLATE,
    VERTEX,
    check_google,
    check_kubernetes,
)

DEPLOY = ROOT / "deploy"
SERVING = ROOT / "serving" / "tensorflow_serving"
KUBERNETES = [*sorted(DEPLOY.rglob("kubernetes.yaml")), *sorted(SERVING.glob("kubernetes/*.yaml"))]
CUSTOM_JOBS = sorted({*DEPLOY.rglob("vertex.yaml"), *DEPLOY.rglob("vertex/*.yaml")})
ONE_BY_ONE = DEPLOY / "jobs" / "kubernetes.yaml"
ON_SHARES = sorted((DEPLOY / "jobs" / "vertex").glob("*.yaml"))
MADE = {"data": "preprocess", "job_dir": "pretrain", "models": "export"}
"""Which step makes the folder that others read."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def resources(path: Path) -> Iterator[Any]:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        yield from document["items"] if document["kind"] == "List" else [document]


def steps_of(path: Path) -> dict[str, list[str]]:
    """Words of every step's container."""
    found = {}
    for job in resources(path):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        found[job["metadata"]["name"]] = [*container["command"], *container["args"]]
    return found


def source_of(command: str) -> Path:
    """The file that ``python -m`` runs."""
    named = ROOT.joinpath(*command.split("."))
    return named / "__main__.py" if named.is_dir() else named.with_suffix(".py")


class Parsed(BaseException):
    """Ends a command when its words are read."""


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a step's command reads of its words; it stops the test where it would refuse them."""
    assert words[:2] == ["python", "-m"]
    parse = argparse.ArgumentParser.parse_known_args

    def read(parser: argparse.ArgumentParser, *given: Any) -> Any:
        with monkeypatch.context() as patch:  # a sub-command has a parser of its own
            patch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
            found, unknown = parser.parse_known_args(*given)
        assert not unknown
        raise Parsed(vars(found))

    with monkeypatch.context() as patch, pytest.raises(Parsed) as ended:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", read)
        patch.setattr(sys, "argv", words[2:])
        runpy.run_path(str(source_of(words[2])), run_name="__main__")
    (found,) = ended.value.args
    return dict(found)


# ---- schemas


def test_no_order_is_left_out() -> None:
    checked = {*KUBERNETES, *CUSTOM_JOBS, *DEPLOY.rglob("kustomization.yaml")}
    assert {*DEPLOY.rglob("*.yaml")} <= checked
    assert {path.name for path in DEPLOY.rglob("*.json")} == {"template.json", "metadata.json"}


@pytest.mark.parametrize("path", KUBERNETES, ids=named)
def test_kubernetes_takes_it(path: Path) -> None:
    for resource in resources(path):
        check_kubernetes(resource)


@pytest.mark.parametrize("path", CUSTOM_JOBS, ids=named)
def test_vertex_takes_it(path: Path) -> None:
    check_google(VERTEX, yaml.safe_load(path.read_text(encoding="utf-8")))


def test_dataflow_takes_the_template() -> None:
    read = {path.stem: json.loads(path.read_text()) for path in DEPLOY.rglob("*.json")}
    check_google(FLEX_TEMPLATE, read["template"])
    check_google(FLEX_PARAMETERS, read["metadata"])


def test_a_key_that_nobody_knows_is_found() -> None:
    (job, *_) = resources(ONE_BY_ONE)
    job["spec"]["template"]["spec"]["containers"][0]["imagePull"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePull"):
        check_kubernetes(job)
    spec = yaml.safe_load(CUSTOM_JOBS[0].read_text(encoding="utf-8"))
    check_google(VERTEX, spec)
    spec["workerPoolSpecs"][0]["machineSpec"]["machine"] = "n2-standard-4"
    with pytest.raises(jsonschema.ValidationError, match="machine"):
        check_google(VERTEX, spec)


# ---- words


def test_steps_read_what_the_steps_before_them_make(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {name: parsed(words, monkeypatch) for name, words in steps_of(ONE_BY_ONE).items()}
    names = list(steps)
    made = {"data": steps["preprocess"]["output"], "models": steps["export"]["output"]}
    made["job_dir"] = steps["pretrain"]["job_dir"]
    for name, given in steps.items():
        for kind, folder in made.items():
            if kind in given:
                assert str(given[kind]) == str(folder)
                assert names.index(name) >= names.index(MADE[kind])
    pods = [job["spec"]["template"]["spec"] for job in resources(ONE_BY_ONE)]
    assert all(pod["volumes"] == pods[0]["volumes"] for pod in pods)
    (mount,) = pods[0]["containers"][0]["volumeMounts"]
    assert all(Path(folder).is_relative_to(mount["mountPath"]) for folder in made.values())


def test_a_step_is_chosen_by_its_label() -> None:
    labels = [job["metadata"]["labels"]["step"] for job in resources(ONE_BY_ONE)]
    assert labels == list(steps_of(ONE_BY_ONE))
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    at_home, on_vertex = re.findall(r"for STEP in ([a-z ]+); do", text)
    assert at_home.split() == labels
    assert on_vertex.split() == [label for label in labels if label in {p.stem for p in ON_SHARES}]
    assert len(on_vertex.split()) == len(ON_SHARES)


@pytest.mark.parametrize("path", ON_SHARES, ids=named)
def test_vertex_gives_the_words_of_kubernetes(path: Path) -> None:
    (pool,) = yaml.safe_load(path.read_text(encoding="utf-8"))["workerPoolSpecs"]
    (mount,) = pool["nfsMounts"]
    words = [*pool["containerSpec"]["command"], *pool["containerSpec"]["args"]]
    at_home = [word.replace(f"/mnt/nfs/{mount['mountPoint']}/", "/recommender/") for word in words]
    assert at_home == steps_of(ONE_BY_ONE)[path.stem]


def test_the_embedded_server_takes_the_place_of_the_stock_one() -> None:
    overlay = DEPLOY / "server" / "kustomization.yaml"
    kustomization = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    (base,) = kustomization["resources"]
    assert (overlay.parent / base).resolve() == SERVING
    ((changes, target),) = [
        (yaml.safe_load(patch["patch"]), patch["target"]) for patch in kustomization["patches"]
    ]
    (deployment,) = resources(SERVING / "kubernetes" / "deployment.yaml")
    assert (deployment["kind"], deployment["metadata"]["name"]) == (target["kind"], target["name"])
    for change in changes:
        *parents, last = change["path"].strip("/").split("/")
        place = deployment
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        if change["op"] == "add":
            assert last == "-"
            place.append(change["value"])
        else:
            assert change["op"] == "replace"
            assert last in place
            place[last] = change["value"]
    check_kubernetes(deployment)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "serving.server"]
    assert arguments_of(container["args"]).host == changes[2]["value"].partition("=")[2]
