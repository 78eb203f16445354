"""Commands on an object store: what one machine has begun goes on on another, to the same bits."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from configs import Experiment
from configs.cli import run
from preprocessing.remote import folder as folder_module
from preprocessing.remote.folder import RemoteFolder, taken_in
from tests.object_store import Killed, store_folder, tree
from trainer import task
from trainer.job import Job

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Runs ``python -m trainer.task`` in this process, as on one machine."""

    def call(*words: object, machine: str = "here") -> tuple[int, str, str]:
        scratch = ["--scratch", str(tmp_path / machine)]
        monkeypatch.setattr(sys, "argv", ["task.py", *map(str, words), *scratch])
        capsys.readouterr()
        try:
            run(task.main)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def config(experiment: Experiment, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False))
    return path


def put(local: Path, path: str, scratch: Path) -> None:
    """Uploads a job as it is."""
    with taken_in(path, scratch) as folder:
        for name, content in tree(local).items():
            (folder.local / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.local / name).write_bytes(content)
        folder.publish()


def test_a_run_that_is_killed_goes_on_on_another_machine(
    store: str,
    dataset_dir: Path,
    job_dir: Path,
    config: Path,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, job = f"{store}/{tmp_path.name}/data", f"{store}/{tmp_path.name}/job"
    store_folder(dataset_dir, data)
    words = ("pretrain", "--config", config, "--data", data, "--job-dir", job)
    uploaded: list[int] = []

    def die(folder: RemoteFolder) -> None:
        publish(folder)
        uploaded.append(folder.index.generation)
        if len(uploaded) == 2:
            raise Killed

    publish = RemoteFolder.publish
    with monkeypatch.context() as killed:
        killed.setattr(folder_module.RemoteFolder, "publish", die)
        with pytest.raises(Killed):
            command(*words)
    assert uploaded == [1, 2]  # a checkpoint each
    code, _, said = command(*words, machine="another")
    assert code == 0, said
    assert "resuming after step" in said
    with taken_in(job, tmp_path / "third") as folder:
        assert Job(folder.local).fingerprint() == Job(job_dir).fingerprint()
        assert folder.index.generation > 2


def test_a_change_of_what_is_served_is_seen_by_every_machine(
    store: str, job_dir: Path, command: Command, tmp_path: Path
) -> None:
    job = f"{store}/{tmp_path.name}/job"
    put(job_dir, job, tmp_path / "first")
    (_, before, _) = command("kernels", "list", "--json", "--job-dir", job, machine="another")
    assert not any(line["pinned"] for line in json.loads(before))
    code, _, said = command("kernels", "pin", "all", "--job-dir", job)
    assert code == 0, said
    (_, after, _) = command("kernels", "list", "--json", "--job-dir", job, machine="another")
    assert [line["domain"] for line in json.loads(after) if line["pinned"]] == ["all"]
    code, _, said = command("kernels", "pin", "nothing", "--job-dir", job)
    assert code == 2
    assert said.count("\n") == 1
    assert str(tmp_path) not in said  # what is called is the remote folder


def test_what_is_printed_of_a_job_there_names_it(
    store: str, job_dir: Path, command: Command, tmp_path: Path
) -> None:
    job = f"{store}/{tmp_path.name}/job"
    shutil.copytree(Job(job_dir).backbone, tmp_path / "local" / "backbone")
    put(tmp_path / "local", job, tmp_path / "first")
    code, out, _ = command("kernels", "list", "--job-dir", job)
    assert (code, out) == (
        0,
        f"{job}/kernels: no kernel yet; python -m trainer.task finetune trains them\n",
    )
    _, out, _ = command("kernels", "history", "--job-dir", job)
    assert out.startswith(f"{job}/history.jsonl: nothing yet;")


def test_what_cannot_be_elsewhere_is_said_in_one_line(
    store: str, config: Path, command: Command, tmp_path: Path
) -> None:
    place = f"{store}/{tmp_path.name}"
    named = ("--config", config, "--job-dir", f"{place}/job")
    for words, part in (
        (("report", "--job-dir", f"{place}/job"), "run python -m trainer.task pretrain first"),
        (("evaluate", *named, "--data", f"{place}/data"), "manifest.json: not found"),
        (("finetune", *named, "--data", tmp_path, "--shard", "1/2"), "all of them see"),
        (("gather", *named, "--data", tmp_path), "all of them see"),
        (("explain", *named, "--example", f"{place}/rows.jsonl"), "--example: expected a local"),
        (("report", "--job-dir", "hdfs://host/job"), "gs:// or s3://"),
        (("kernels", "list", "--job-dir", "s3://no-bucket/job"), "s3://no-bucket is not there"),
        (("evaluate", *named, "--data", "s3://no-bucket/data"), "s3://no-bucket is not there"),
    ):
        code, out, said = command(*words)
        assert (code, out, said.count("\n")) == (2, "", 1)
        assert part in said
