"""What the trainer's tests share: the small dataset and job, opened, and made-up rows where no
dataset is needed.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from configs import Experiment, InputError, load_experiment
from configs.digests.listed_files import sha256_of
from configs.digests.sealed_json import SEAL, sealed
from configs.domains import Domain
from configs.files import write_json
from preprocessing.features.fitted import Fitted
from tests.conftest import QUICKSTART, SMALL
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.saving import load_frozen
from trainer.data.dataset import Dataset
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.metrics.task_metrics import METRICS

SHAPE = KernelShape(widths=(5, 4, 1), activation="relu", residual=True, tap="tower")
"""A kernel on a tap that is five wide."""

NAMES = ("all", "scene=home", "period=lunch")

Figures = dict[str, dict[str, dict[str, Any]]]


def variant(*settings: str) -> Experiment:
    """The small experiment with other settings."""
    return load_experiment(QUICKSTART, [*SMALL, *settings])


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    """The message of an error that a user sees, which is a single line."""
    message = str(error.value)
    assert message
    assert "\n" not in message
    return message


def random_kernel(
    shape: KernelShape, seed: int, scale: float = 1.0
) -> dict[str, npt.NDArray[np.float32]]:
    """A kernel none of whose weights is zero."""
    generator = np.random.default_rng(seed)
    return {
        name: scale * generator.standard_normal(size, np.float32)
        for name, size in shape.variables().items()
    }


def random_rows(rows: int, width: int = 5, seed: int = 3) -> BackboneOutputs:
    """Rows as the frozen backbone leaves them: random logits and taps, labels that agree with
    each other, five users, unequal weights.
    """
    generator = np.random.default_rng(seed)
    click = (generator.random(rows) < 0.4).astype(np.float32)
    columns = {
        "label/click": click,
        "label/conversion": click * (generator.random(rows) < 0.5).astype(np.float32),
        "row/weight": generator.uniform(0.5, 2.0, rows).astype(np.float32),
        "row/request": generator.integers(0, max(rows // 5, 1), rows),
        "row/user": generator.integers(0, 5, rows),
        "topic/scene": generator.integers(0, 3, rows).astype(np.int32),
        "topic/period": generator.integers(0, 3, rows).astype(np.int32),
        "topic/region": generator.integers(0, 3, rows).astype(np.int32),
    }
    logits = generator.standard_normal((rows, 2), np.float32)
    return BackboneOutputs(logits, generator.standard_normal((rows, 2, width), np.float32), columns)


def domains_of(experiment: Experiment, *names: str) -> list[Domain]:
    """Domains by name."""
    return [next(domain for domain in experiment.domains if domain.name == name) for name in names]


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrites a JSON file by a function of its content, which may also change it in place; one
    that was sealed is sealed anew, as if it had been written so.
    """
    content = json.loads(path.read_text())
    was_sealed = isinstance(content, dict) and content.get(SEAL) == sealed(content)[SEAL]
    changed = change(content)
    content = content if changed is None else changed
    path.write_text(json.dumps(sealed(content) if was_sealed else content))


def as_written(job: Job) -> None:
    """Has a job say that its files are as they were written, whatever they are."""
    job.finish(job.fingerprint(), job.rows or {})


def as_before_lists(job: Job) -> None:
    """Makes a backbone one that was finished before there were lists of its files."""
    path = job.backbone / "fingerprint.json"
    content = json.loads(path.read_text())
    bare = {name: content[name] for name in ("transform", "tensors")}
    whole = json.dumps(list(bare.values()), sort_keys=True).encode()
    path.write_text(json.dumps({"fingerprint": hashlib.sha256(whole).hexdigest(), **bare}))


def auc_figures(ctr: Any, ctcvr: Any) -> Figures:
    """Figures of a comparison whose AUC intervals are given."""
    empty = {
        metric: {"backbone": 0.5, "kernel": 0.5, "delta": 0.0, "ci95": [0.0, 0.0]}
        for metric in METRICS
    }
    intervals = {"ctr": ctr, "cvr": [0.0, 0.0], "ctcvr": ctcvr}
    return {
        task: {**empty, "auc": {**empty["auc"], "ci95": interval}}
        for task, interval in intervals.items()
    }


MANIFEST = {
    "shape": SHAPE.to_json(),
    "rows": {"train": 10, "validation": 5},
    "finetune": {
        "split": "finetune",
        "validation": "validation",
        "regulariser": "moments",
        "beta": 1.0,
    },
    "validation": auc_figures([0.01, 0.02], "undefined"),
    "activated": True,
}
"""Of a kernel of ``SHAPE``, as fine-tuning writes it."""


def bare_job(folder: Path) -> Job:
    """A job directory as far as the registry looks at it: its backbone is a fingerprint."""
    job = Job(folder / "job")
    write_json(
        job.backbone / "fingerprint.json",
        {"fingerprint": "f" * 64, "transform": "t" * 64, "tensors": {}},
    )
    return job


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    """Each test, since others seed TensorFlow, too, and the order of batches follows its seed."""
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def dataset(experiment: Experiment, dataset_dir: Path) -> Dataset:
    """The small dataset."""
    return Dataset.open(dataset_dir, experiment)


@pytest.fixture(scope="session")
def frozen(experiment: Experiment, job_dir: Path) -> keras.Model:
    """The small job's frozen backbone."""
    return load_frozen(Job(job_dir), experiment)


@pytest.fixture(scope="session")
def window(experiment: Experiment, dataset: Dataset, frozen: keras.Model) -> BackboneOutputs:
    """The fine-tuning split behind the frozen backbone."""
    return run_frozen(frozen, dataset, experiment.finetune.split, experiment.kernel.tap, "window")


@pytest.fixture
def other_dataset_dir(dataset_dir: Path, tmp_path: Path) -> Path:
    """A sound dataset with another transform: shops have other ids in it."""
    folder = tmp_path / "other"
    shutil.copytree(dataset_dir, folder)
    vocabulary = folder / "transform" / "shop_id.txt"
    vocabulary.write_text("".join(reversed(vocabulary.read_text().splitlines(keepends=True))))

    def written(manifest: Any) -> None:
        manifest["transform_digest"] = Fitted.load(str(folder / "transform")).digest
        for entry in manifest["transform_files"]:
            entry["sha256"] = sha256_of(folder / entry["path"])

    change_json(folder / "manifest.json", written)
    return folder
