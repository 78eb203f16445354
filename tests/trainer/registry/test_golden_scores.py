"""Golden requests and scores: the rows a job keeps, and what its kernels make of them, then and
now.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs import Experiment, InputError
from preprocessing.dataset.golden_requests import GOLDEN_FILE, GOLDEN_ROWS
from preprocessing.logs.schema import served_columns
from tests.tasks import TASKS
from tests.trainer.conftest import as_written, change_json, one_line, variant
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.model import read_tap
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import user_columns
from trainer.kernels.scoring import predicted_rows, score_rows
from trainer.registry.golden_scores import GoldenRows, keep_requests
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.verify import verify
from trainer.training.finetune import finetune
from trainer.training.pretrain import pretrain

HOME = "scene=home"


@pytest.fixture(scope="module")
def golden(job_dir: Path, frozen: keras.Model) -> GoldenRows:
    return GoldenRows.open(Job(job_dir), frozen)


def test_a_job_keeps_its_datasets_requests_as_clients_send_them(
    job_dir: Path, dataset_dir: Path, experiment: Experiment
) -> None:
    job = Job(job_dir)
    assert job.golden.read_bytes() == (dataset_dir / GOLDEN_FILE).read_bytes()
    requests = job.golden_requests()
    assert len(requests) == GOLDEN_ROWS
    for request in requests:
        assert list(request) == [column.name for column in served_columns(experiment)]
    assert "position" in json.loads(job.golden.read_text().splitlines()[0]), (
        "the dataset's file knows nothing of a backbone's settings"
    )
    assert "position" not in requests[0]


def test_they_are_rows_of_the_window(
    golden: GoldenRows, window: BackboneOutputs, experiment: Experiment
) -> None:
    taps = read_tap(golden.heads, experiment.kernel.tap).numpy().reshape(GOLDEN_ROWS, -1)
    known = window.taps.reshape(len(window.taps), -1)
    assert max(float(np.abs(known - tap).max(1).min()) for tap in taps) < 1e-5
    assert golden.heads["logits"].numpy().std() > 0


def test_every_trained_kernel_holds_its_scores(golden: GoldenRows, job_dir: Path) -> None:
    store = KernelStore(Job(job_dir))
    rows = {}
    for domain in store.domains():
        kernel = store.load(domain, 1)
        assert kernel.golden == golden.scores_for(kernel.shape, kernel.weights)
        assert (
            kernel.golden["requests"]
            == hashlib.sha256(Job(job_dir).golden.read_bytes()).hexdigest()
        )
        scores = kernel.golden["scores"]
        np.testing.assert_allclose(
            np.multiply(scores["ctr"], scores["cvr"]), scores["ctcvr"], atol=1e-6
        )
        assert all(np.float32(value) == value for value in scores["ctr"]), (
            "every bit of a float32 survives JSON"
        )
        rows[domain] = json.dumps(scores)
    assert len(set(rows.values())) > len(rows) // 2, (
        "domains differ: they are scored whatever the rows' topics"
    )


def test_scores_are_those_of_judging(
    golden: GoldenRows, job_dir: Path, experiment: Experiment
) -> None:
    kernel = KernelStore(Job(job_dir)).load(HOME, 1)
    taps = read_tap(golden.heads, experiment.kernel.tap).numpy()
    rows = BackboneOutputs(golden.heads["logits"].numpy(), taps, golden.columns)
    expected = predicted_rows(
        TASKS, score_rows(kernel.shape, kernel.weights, rows, np.arange(GOLDEN_ROWS))
    )
    assert golden.scores_for(kernel.shape, kernel.weights)["scores"] == {
        task: values.tolist() for task, values in expected.items()
    }
    assert (
        golden.scores_for(kernel.shape, kernel.shape.initial(1, HOME))["scores"]["ctr"]
        != expected["ctr"].tolist()
    )


def test_a_gated_kernel_is_scored_under_its_gate(
    dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(job_dir, tmp_path / "job", ignore=shutil.ignore_patterns("kernels"))
    finetune(
        variant("kernel.gate=support", "finetune.epochs=1", "finetune.warm_start=none"),
        dataset_dir,
        Job(folder),
        [HOME],
    )
    kernel = KernelStore(Job(folder)).load(HOME, 1)
    assert user_columns(kernel.shape)
    assert [verdict.found for verdict in verify(Job(folder))] == ["golden scores identical"]


def older(manifest: dict[str, Any]) -> None:
    manifest.pop("golden_requests")


def test_a_job_without_requests_takes_them_from_the_dataset_and_keeps_its_own(
    job_copy: Path, dataset: Dataset
) -> None:
    job = Job(job_copy)
    job.golden.unlink()
    keep_requests(dataset, job)
    assert job.golden.read_bytes() == (dataset.folder / GOLDEN_FILE).read_bytes()
    job.golden.write_text("its own\n")
    keep_requests(dataset, job)
    assert job.golden.read_text() == "its own\n"


def test_a_dataset_that_is_older_than_golden_requests_is_refused_only_where_they_are_needed(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(dataset_dir, tmp_path / "old")
    change_json(old / "manifest.json", older)
    (old / GOLDEN_FILE).unlink()
    (job_copy / "backbone" / GOLDEN_FILE).unlink()
    shutil.rmtree(job_copy / "kernels")
    pretrain(experiment, old, Job(job_copy))
    with pytest.raises(
        InputError, match=r"holds no golden requests; run preprocessing\.task again"
    ) as error:
        finetune(experiment, old, Job(job_copy), [HOME])
    one_line(error)
    with pytest.raises(InputError, match=r"golden_requests\.jsonl: not found") as error:
        Job(job_copy).golden_requests()
    one_line(error)
    assert KernelStore(Job(job_copy)).domains() == []


def test_pre_training_copies_them(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    """The last steps of a run that was killed right before its end: what is left of it is its
    checkpoint.
    """
    for name in ("fingerprint.json", GOLDEN_FILE):
        (job_copy / "backbone" / name).unlink()
    pretrain(experiment, dataset_dir, Job(job_copy))
    assert len(Job(job_copy).golden_requests()) == GOLDEN_ROWS


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_text("{}\n")], ids=["missing", "other"]
)
def test_a_damaged_file_of_the_dataset_is_not_copied(
    damage: Callable[[Path], object],
    experiment: Experiment,
    dataset_dir: Path,
    job_copy: Path,
    tmp_path: Path,
) -> None:
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    damage(data / GOLDEN_FILE)
    (job_copy / "backbone" / GOLDEN_FILE).unlink()
    with pytest.raises(InputError, match=r"golden_requests\.jsonl: (missing|damaged)") as error:
        keep_requests(Dataset.open(data, experiment), Job(job_copy))
    one_line(error)
    assert not (job_copy / "backbone" / GOLDEN_FILE).exists()


@pytest.mark.parametrize("content", ["{", "[]\n", "{}\n", "\n", '"text"\n'])
def test_damaged_requests_of_a_job_are_refused_in_one_line(content: str, job_copy: Path) -> None:
    Job(job_copy).golden.write_text(content)
    with pytest.raises(InputError, match="damaged") as error:
        Job(job_copy).golden_requests()
    one_line(error)


@pytest.mark.parametrize(
    ("name", "value"), [("user_id", ["a", "list"]), ("timestamp", "noon"), ("history", [["x"]])]
)
def test_requests_of_the_wrong_type_are_refused_in_one_line(
    name: str, value: object, job_copy: Path, frozen: keras.Model
) -> None:
    job = Job(job_copy)
    row = json.loads(job.golden.read_text().splitlines()[0])
    assert name in row
    job.golden.write_text(json.dumps({**row, name: value}) + "\n")
    as_written(job)
    with pytest.raises(InputError, match=f"damaged: {name}") as error:
        GoldenRows.open(job, frozen)
    one_line(error)


def test_every_version_is_verified(job_dir: Path) -> None:
    verdicts = verify(Job(job_dir))
    assert [verdict.domain for verdict in verdicts] == KernelStore(Job(job_dir)).domains()
    assert all(verdict.sound and verdict.found == "golden scores identical" for verdict in verdicts)
    assert [(verdict.domain, verdict.version) for verdict in verify(Job(job_dir), HOME)] == [
        (HOME, 1)
    ]
    with pytest.raises(InputError, match="no kernel of domain 'scene'"):
        verify(Job(job_dir), "scene")


def change_weights(folder: Path) -> None:
    """Other weights with a sound manifest: only the scores can tell."""
    with np.load(folder / "weights.npz") as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    np.savez(folder / "weights.npz", **{name: 1.5 * array for name, array in weights.items()})
    sha256 = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    change_json(
        folder / "manifest.json", lambda manifest: manifest["files"].update({"weights.npz": sha256})
    )


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (change_weights, "golden scores differ by at most"),
    "weights file": (
        lambda folder: (folder / "weights.npz").write_bytes(b"hello"),
        "weights.npz: damaged",
    ),
    "golden file": (
        lambda folder: change_json(folder / "golden.json", lambda content: content.clear()),
        "golden.json: damaged",
    ),
    "golden file gone": (lambda folder: (folder / "golden.json").unlink(), "golden.json: damaged"),
    "backbone file": (lambda folder: (folder / "backbone.json").unlink(), "backbone.json: damaged"),
    "manifest": (
        lambda folder: (folder / "manifest.json").write_text("{"),
        "manifest.json: not readable as JSON",
    ),
    "version gone": (shutil.rmtree, "no version 1 of domain 'scene=home'"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_named_and_the_rest_is_sound(
    damage: Callable[[Path], object], said: str, job_copy: Path
) -> None:
    store = KernelStore(Job(job_copy))
    store.activate(HOME, 1)
    domains = store.domains()
    damage(job_copy / "kernels" / HOME / "1")
    verdicts = verify(Job(job_copy))
    assert [verdict.domain for verdict in verdicts] == domains
    [bad] = [verdict for verdict in verdicts if not verdict.sound]
    assert (bad.domain, bad.version) == (HOME, 1)
    assert said in bad.found


def test_versions_without_golden_scores_are_said_to_have_none(job_copy: Path) -> None:
    store = KernelStore(Job(job_copy))
    kernel = store.load(HOME, 1)
    store.add(HOME, kernel.weights, kernel.manifest)
    assert store.load(HOME, 2).golden is None
    assert [(verdict.sound, verdict.found) for verdict in verify(Job(job_copy), HOME)][1] == (
        True,
        "files sound; stored without golden scores",
    )


def test_scores_of_other_requests_are_not_compared(job_copy: Path) -> None:
    job = Job(job_copy)
    job.golden.write_text("".join(job.golden.read_text().splitlines(keepends=True)[:5]))
    as_written(job)
    assert all(
        not verdict.sound and "scored on other golden requests" in verdict.found
        for verdict in verify(job)
    )
