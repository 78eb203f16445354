"""Job directories that are made rather than trained: every input and every kernel moves their
scores.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
from pathlib import Path
from typing import Any

import numpy as np

from configs import Experiment
from configs.files import write_json
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import transform_outputs
from preprocessing.logs.schema import Kind, served_columns
from trainer.backbone.model import build_backbone, read_tap
from trainer.backbone.saving import job_fingerprint, load_frozen
from trainer.job import Job
from trainer.kernels.gate import BUCKETS, GATE, SUPPORT
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore

GOLDEN = 40


def made_up(experiment: Experiment) -> Fitted:
    """A transform of a dozen values a feature."""
    values = {
        "scene": ("home", "search", "coupons", "nearby"),
        "region": ("r1", "r2", "r3"),
        "position": tuple("1234567890"),
    }
    return Fitted(
        settings=Fitted.settings_of(experiment),
        vocabularies={
            name: values.get(name, tuple(f"{name}{index}" for index in range(12)))
            for name, spec in experiment.features.items()
            if spec.kind == "categorical"
        },
        moments={
            name: (2.0, 3.0) for name, spec in experiment.features.items() if spec.kind == "numeric"
        },
        boundaries={},
    )


def loud_job(folder: Path, experiment: Experiment, fitted: Fitted) -> Job:
    """A backbone of large random weights, so that every input moves the scores; no kernel yet."""
    job = Job(folder)
    model = build_backbone(experiment, transform_outputs(experiment, fitted))
    random = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(random.normal(0.0, 0.6, variable.shape))
    job.backbone.mkdir(parents=True)
    model.save(job.backbone / "model.keras")
    fitted.save(str(job.backbone / "transform"))
    write_json(job.backbone / "experiment.json", experiment.model_dump(mode="json"))
    write_json(job.backbone / "fingerprint.json", job_fingerprint(model, job))
    kinds = {column.name: column.kind for column in served_columns(experiment)}
    rows = [
        {name: _value(name, kind, fitted, random) for name, kind in kinds.items()}
        for _ in range(GOLDEN)
    ]
    job.golden.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return job


def add_kernel(
    store: KernelStore, domain: str, shape: KernelShape, seed: int, scale: float = 2.0
) -> None:
    """Stores and activates a kernel that says something loud."""
    random = np.random.default_rng(seed)
    weights = {
        name: random.normal(0.0, scale, size).astype(np.float32)
        for name, size in shape.variables().items()
    }
    if shape.support:
        weights[GATE] = random.uniform(0.0, 1.0, (2, BUCKETS)).astype(np.float32)
        weights[SUPPORT] = random.integers(0, BUCKETS, shape.support).astype(np.uint8)
    settings = {"split": "finetune", "regulariser": "none", "beta": 0.0, "validation": "validation"}
    manifest = {
        "shape": shape.to_json(),
        "rows": {"train": 1, "validation": 1},
        "finetune": settings,
        "activated": True,
        "validation": {},
    }
    store.activate(domain, store.add(domain, weights, manifest))


def _value(name: str, kind: Kind, fitted: Fitted, random: np.random.Generator) -> Any:
    """A raw value, now and then one that is missing."""
    if kind == "timestamp":
        return int(random.integers(1_741_000_000, 1_742_000_000))
    if random.random() < 0.1:
        return None
    if kind == "number":
        return float(np.float32(random.gamma(2.0, 2.0)))
    known = fitted.vocabularies.get("shop_id" if kind == "strings" else name, ("a", "b"))
    drawn = [str(value) for value in random.choice([*known[:2], "unseen"], 3)]
    return drawn if kind == "strings" else drawn[0]


def kernel_shape(job: Job) -> KernelShape:
    """Of the kernels that the job's experiment asks for."""
    experiment = job.experiment()
    return KernelShape.of(
        experiment.kernel,
        read_tap(load_frozen(job, experiment).output, experiment.kernel.tap).shape[-1],
    )
