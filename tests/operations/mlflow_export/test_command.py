"""A job in a store of MLflow: everything once, however often it is exported and wherever a run
broke off. The store is a small one in memory, and where MLflow is installed its own, too.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from configs import InputError
from configs.cli import run
from configs.digests.sealed_json import write_sealed
from operations.mlflow_export.__main__ import main
from operations.mlflow_export.job_entries import job_entries
from operations.refresh.summary import Summary
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

SUMMARY = Summary.model_validate(
    {
        "as_of": "2025-03-09T03:00:00Z",
        "outcome": "refused",
        "reasons": ["too few rows"],
        "rows": {"2025-03-08": 7},
        "config": "small",
        "job": "job",
        "backbone": "b",
        "backbone_days": 3.0,
        "seconds": {"dataset": 2.5},
    }
)


class Page(list[Any]):
    token = ""


class Client:
    """The part of MLflow's client that is used, over ``stored``."""

    stored: dict[str, Any]
    calls_left: int

    def __init__(self, tracking_uri: str, registry_uri: str) -> None:
        if "broken" in tracking_uri:
            raise RuntimeError(f"no answer from\n{tracking_uri}")

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("create", "log", "set")):
            Client.calls_left -= 1
            if not Client.calls_left:
                raise KeyboardInterrupt
        return super().__getattribute__(name)

    def get_experiment_by_name(self, name: str) -> Any:
        known = self.stored["experiments"]
        stage = "active"
        return SimpleNamespace(experiment_id=name, lifecycle_stage=stage) if name in known else None

    def create_experiment(self, name: str) -> str:
        self.stored["experiments"].append(name)
        return name

    def search_runs(self, ids: list[str], text: str, view: Any, **page: Any) -> Page:
        found = Page(self.stored["runs"].values())
        start = int(page.get("page_token") or 0)
        part = Page(found[start : start + 7])  # smaller pages than asked for are allowed
        part.token = str(start + 7) if start + 7 < len(found) else ""
        return part

    def create_run(self, experiment: str, **given: Any) -> Any:
        name = str(len(self.stored["runs"]))
        info = SimpleNamespace(run_id=name, status="RUNNING", lifecycle_stage="active")
        data = SimpleNamespace(tags=given["tags"], params={}, metrics=[])
        self.stored["runs"][name] = SimpleNamespace(info=info, data=data, name=given["run_name"])
        return self.stored["runs"][name]

    def log_batch(self, name: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) <= 1_000
        assert len(params) <= 100
        data = self.stored["runs"][name].data
        data.metrics += metrics
        assert not data.params.keys() & {param[0] for param in params}
        data.params |= dict(params)

    def set_terminated(self, name: str, status: str, end: int) -> None:
        self.stored["runs"][name].info.status = status

    def delete_run(self, name: str) -> None:
        self.stored["runs"][name].info.lifecycle_stage = "deleted"

    def search_registered_models(self, text: str) -> list[str]:
        return [name for name in self.stored["models"] if text == f"name = '{name}'"]

    def create_registered_model(self, name: str) -> None:
        self.stored["models"][name] = []

    def search_model_versions(self, text: str, **page: Any) -> Page:
        return Page(self.stored["models"][text.split("'")[1]])

    def create_model_version(self, name: str, source: str, **given: Any) -> None:
        self.stored["models"][name].append(SimpleNamespace(source=source, **given))


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the store in memory holds."""
    library, entities = ModuleType("mlflow"), ModuleType("mlflow.entities")
    library.MlflowClient = Client  # type: ignore[attr-defined]
    for name in ("Metric", "Param"):
        setattr(entities, name, lambda *values: values)
    entities.ViewType = SimpleNamespace(ALL=3)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", library)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    Client.stored, Client.calls_left = {"experiments": [], "runs": {}, "models": {}}, 10**9
    yield Client.stored


@pytest.fixture
def words(job_dir: Path, models_dir: Path, tmp_path: Path) -> list[str]:
    """The command's arguments, of a job with one refresh and one version."""
    folder = tmp_path / "work" / "2025-03-09T0300Z"
    folder.mkdir(parents=True)
    write_sealed(folder / "summary.json", SUMMARY.model_dump(mode="json"))
    return [
        *("--job-dir", str(job_dir), "--work", str(folder.parent), "--models", str(models_dir)),
        *("--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db", "--json"),
    ]


def exported(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    main(words)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def finished(stored: dict[str, Any]) -> list[Any]:
    return [run for run in stored["runs"].values() if run.info.status == "FINISHED"]


def test_everything_gets_there_once(
    stored: dict[str, Any], words: list[str], job_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, store = exported(words, capsys), KernelStore(Job(job_dir))
    stored_versions = sum(len(store.versions(domain)) for domain in store.domains())
    assert first["added"].pop("evaluation", 0) <= 1
    assert first["added"] == {
        "pretraining": 1,
        "kernel": stored_versions,
        "change": len(store.history.events()),
        "refresh": 1,
    }
    assert (first["registered"], first["left_out"]) == (1, [])
    again = exported(words, capsys)
    assert (again["added"], again["registered"], again["left_out"]) == ({}, 0, [])
    assert again["there_already"] == len(finished(stored)) == len(stored["runs"])
    pretraining, *others = finished(stored)
    assert {run.data.tags["mlflow.parentRunId"] for run in others} == {pretraining.info.run_id}
    steps = [step for name, _, _, step in pretraining.data.metrics if name == "epoch"]
    assert steps == sorted(set(steps))
    assert len(steps) >= 2
    (refused,) = [run for run in others if run.data.tags["recommender.kind"] == "refresh"]
    assert refused.data.tags["reasons"] == "too few rows"
    assert ("rows/2025-03-08", 7.0) in [figure[:2] for figure in refused.data.metrics]
    (version,) = stored["models"]["small"]
    assert version.tags["version"] == "1"
    assert all(f"`{domain}`" in version.description for domain in store.active())


@pytest.mark.parametrize("calls", [3, 12, 25])
def test_an_export_that_breaks_off_is_gone_on_with(
    stored: dict[str, Any], words: list[str], calls: int, capsys: pytest.CaptureFixture[str]
) -> None:
    Client.calls_left = calls
    with pytest.raises(KeyboardInterrupt):
        main(words)
    there = len(finished(stored))
    found = exported(words, capsys)
    assert found["there_already"] == there
    keys = [run.data.tags["recommender.key"] for run in finished(stored)]
    assert len(keys) == len(set(keys)) == there + sum(found["added"].values())
    assert all(run.info.lifecycle_stage == "deleted" or run in finished(stored)
               for run in stored["runs"].values())  # fmt: skip


def test_what_is_damaged_is_named_and_the_rest_gets_there(
    stored: dict[str, Any], words: list[str], job_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest, *others) = sorted(job_copy.glob("kernels/*/1/manifest.json"))
    manifest.write_text("{")
    words[1] = str(job_copy)
    found = exported(words, capsys)
    (line,) = found["left_out"]
    assert str(manifest) in line
    assert found["added"]["kernel"] >= len(others)


def test_what_cannot_be_done_is_one_line(
    stored: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*changes: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            run(lambda: main([*words, *changes]))
        assert exit_.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    assert "expected an address such as sqlite:///mlflow.db" in said("--tracking-uri", "here")
    line = said("--tracking-uri", "http://user:secret@broken")
    assert "http://broken: the store cannot be used: no answer from http://broken" in line
    assert "secret" not in line
    assert "no such folder" in said("--tracking-uri", f"sqlite:///{tmp_path}/none/m.db")
    assert "--work" in said("--work", str(tmp_path / "none"))
    assert "--experiment 'a/b': expected a name" in said("--experiment", "a/b")
    assert "no such job" in said("--job-dir", str(tmp_path / "none"))
    sys.modules["mlflow"] = None  # type: ignore[assignment]  # as where it is not installed
    assert "mlflow is not installed" in said()
    assert not stored["runs"]


def test_only_settings_of_the_training_are_exported(job_dir: Path) -> None:
    """Where logs are read from may hold what opens them."""
    entries = job_entries(Job(job_dir), None, [].append)
    assert not [name for entry in entries for name in entry.params if name.startswith("data.")]
    with pytest.raises(InputError, match="no such job"):
        Job(job_dir / "none").check_finished()


@pytest.mark.skipif(not importlib.util.find_spec("mlflow"), reason="the extra mlflow")
@pytest.mark.filterwarnings("ignore")
def test_the_library_itself_takes_everything_once(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = exported(words, capsys), exported(words, capsys)
    assert (first["registered"], first["left_out"]) == (1, [])
    assert again["there_already"] == sum(first["added"].values()) > 3
    assert (again["added"], again["registered"], again["left_out"]) == ({}, 0, [])
