"""The training step: ESMM over MMoE, rows/s end to end, beside the same model in other libraries,
and its validation AUC.

End to end is an epoch as the user runs it: ours from TFRecords through
``Dataset.shuffled_batches``; the peers' from arrays in memory through their own loaders. The same
rows, widths, batch and rate of Adam for all; the first batches warm up and are not timed. Against
the peers, which offer no target attention with their MMoE, the history is pooled by its mean; ours
is shown with attention as well, and with experts that learn in bfloat16. Ours alone has id dropout,
and row-wise Adagrad for embeddings where the others have Adam.

How long each system takes to a given quality, too: all learn for two epochs, validation rows are
scored four times an epoch, off the clock, and of every system the seconds are shown after which the
mean of its CTR- and CTCVR-AUC first is what the best peer's is at best. Rows that warm up count at
the rate of the others.

The bound: arithmetic of the matrices alone, 6 operations an entry and row (one product forward, two
backward), at the rate of one wide product.
"""

import json
import os
import subprocess
import time
from math import ceil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.method.study import ROOT
from benchmarks.speed.benches import dataset_of, learn
from benchmarks.speed.hardware import fastest, matmul_gflops
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.peers.environments import PINS, interpreter, last_line
from benchmarks.speed.peers.handed import EPOCHS, LABELS, Array, Column, Handed, save_rows
from configs import Experiment, InputError
from configs.prediction.tasks import Target
from preprocessing.features.transform import Output, transform_outputs
from trainer.backbone.frozen_pass import run_frozen
from trainer.backbone.model import build_backbone, inference_model
from trainer.data.dataset import Dataset
from trainer.evaluation.validation import validation_figures
from trainer.metrics.task_metrics import auc, mean_defined
from trainer.training.backbone_step import Learner
from trainer.training.pretrain import one_thread_an_operation

_WARM_BATCHES = 20
_CHECKS = 4
_PEER_SECONDS = 1800
_Curve = list[tuple[float, float | None]]
"""Seconds of learning and the mean AUC after them."""

_MODULES = {"plain_keras": "with_keras", "torch_rechub": "with_rechub", "deepctr": "with_deepctr"}


def measure(options: Options) -> Figures:
    """See the module."""
    one_thread_an_operation()
    dataset, experiment = dataset_of(options)
    click, both = entire_space(experiment)
    pooled = _without_attention(experiment)
    rows = options.folder / "rows"
    handed = _hand_over(dataset, pooled, rows)
    figures: Figures = {}
    curves: dict[str, _Curve] = {}
    for name, ours in (
        ("ours_with_attention", experiment),
        ("ours", pooled),
        ("ours_bfloat16", _in_bfloat16(pooled)),
    ):
        found, curves[name] = _ours(dataset, ours, name)
        figures |= found
    figures |= _step(dataset, pooled, options.quick)
    peers: dict[str, float] = {}
    for peer in PINS:
        outcome = _peer(peer, rows, options, (click.name, both.name))
        if isinstance(outcome, str):
            figures[f"{peer}_not_measured"] = outcome
        else:
            found, curves[peer] = outcome
            figures |= found
            peers[peer] = float(found[f"{peer}_rows_per_s"])
    if peers:
        best = max(peers, key=lambda peer: peers[peer])
        figures["best_peer"] = best
        for name in ("ours", "ours_bfloat16"):
            figures[f"{name}_to_best_peer_ratio"] = (
                float(figures[f"{name}_rows_per_s"]) / peers[best]
            )
        figures |= seconds_to_best_peer(curves, list(peers))
    return figures | {"batch_rows": handed.batch_size}


def entire_space(experiment: Experiment) -> tuple[Target, Target]:
    """What the peers' models give: a click, and a click with what comes after it.

    Raises:
      InputError: the config has other tasks.
    """
    targets = experiment.tasks.targets
    found = tuple(targets[name] for name in experiment.tasks.ranking)
    if [target.towers for target in found] != [(0,), (0, 1)] or len(experiment.tasks.towers) != 2:
        raise InputError(
            f"tasks of '{experiment.name}': the peers' models are of a task and one after it with"
            f" an 'entire' product; expected these two, received {experiment.tasks.words}"
        )
    click, both = found
    return click, both


def seconds_to_best_peer(curves: dict[str, _Curve], peers: list[str]) -> Figures:
    """The best mean AUC that any peer ever had, whose it is, and after how many seconds every
    system first had as much.
    """
    tops = {
        name: max((value for _, value in curve if value is not None), default=0.0)
        for name, curve in curves.items()
    }
    best = max(peers, key=lambda peer: tops[peer])
    figures: Figures = {"best_auc_of_a_peer": tops[best], "best_auc_is_of": best}
    for name, curve in curves.items():
        enough = [at for at, value in curve if value is not None and value >= tops[best]]
        figures[f"{name}_to_best_peers_auc_seconds"] = (
            enough[0] if enough else f"not in {EPOCHS} epochs: {tops[name]:.4f} at best"
        )
    return figures


def _without_attention(experiment: Experiment) -> Experiment:
    features = {
        name: feature.model_copy(update={"attention": False})
        if feature.pools_by_attention
        else feature
        for name, feature in experiment.features.items()
    }
    return experiment.model_copy(update={"features": features})


def _in_bfloat16(experiment: Experiment) -> Experiment:
    return experiment.model_copy(
        update={"backbone": experiment.backbone.model_copy(update={"precision": "bfloat16"})}
    )


def _outputs(dataset: Dataset, experiment: Experiment) -> dict[str, Output]:
    return transform_outputs(experiment, dataset.fitted)


def _batches(dataset: Dataset, experiment: Experiment, epoch: int = 0) -> tf.data.Dataset:
    training = experiment.pretrain
    return dataset.shuffled_batches(training.split, training.batch_size, experiment.seed, epoch)


def _warm_batches(dataset: Dataset, experiment: Experiment) -> int:
    return min(
        _WARM_BATCHES,
        dataset.rows(experiment.pretrain.split) // experiment.pretrain.batch_size // 2,
    )


def _check_batches(dataset: Dataset, experiment: Experiment) -> int:
    training = experiment.pretrain
    return max(1, ceil(dataset.rows(training.split) / training.batch_size / _CHECKS))


def _hand_over(dataset: Dataset, experiment: Experiment, folder: Path) -> Handed:
    """Writes the rows of an epoch and of validation as arrays, with the settings."""
    settings, training = experiment.backbone, experiment.pretrain
    columns = tuple(
        Column(out.name, out.kind, out.table, out.size, out.length)
        for out in _outputs(dataset, experiment).values()
    )
    handed = Handed(
        columns,
        settings.embedding_dimension,
        settings.experts,
        settings.expert_layers,
        settings.tower_layers,
        training.batch_size,
        training.learning_rate,
        training.batch_size * _warm_batches(dataset, experiment),
        _check_batches(dataset, experiment),
    )
    handed.save(folder)
    names = {f"feature/{column.name}": column.name for column in columns}
    labels = (f"label/{target.label}" for target in entire_space(experiment))
    names |= dict(zip(labels, LABELS, strict=True))
    epoch = list(_batches(dataset, experiment).as_numpy_iterator())
    validation = list(dataset.batches(training.validation, training.batch_size))
    for part, batches in (("train", epoch), ("validation", validation)):
        save_rows(
            folder,
            part,
            {
                short: np.concatenate([batch[name] for batch in batches])
                for name, short in names.items()
            },
        )
    return handed


def _ours(dataset: Dataset, experiment: Experiment, name: str) -> tuple[Figures, _Curve]:
    """Epochs as ``trainer.training.pretrain`` runs them, without checkpoints and logs."""
    keras.utils.set_random_seed(experiment.seed)
    model = build_backbone(experiment, _outputs(dataset, experiment))
    learner, warm = Learner(model, experiment), _warm_batches(dataset, experiment)
    inference, training = inference_model(model, experiment), experiment.pretrain
    steps = ceil(dataset.rows(training.split) / training.batch_size)
    every = _check_batches(dataset, experiment)
    figures: Figures = {}
    curve: _Curve = []
    rows, seconds, warm_rows = 0, 0.0, 0
    for epoch in range(EPOCHS):
        batches, done = iter(_batches(dataset, experiment, epoch)), 0
        if not epoch:
            warm_rows, done = learn(learner, batches, warm), warm
        while done < steps:
            count = min(every - done % every, steps - done)
            start = time.perf_counter()
            rows += learn(learner, batches, count)
            seconds, done = seconds + time.perf_counter() - start, done + count
            judged = run_frozen(inference, dataset, training.validation, None, "validation")
            found = validation_figures(judged, learner.objectives, experiment)
            keys = [f"{target.name}_auc" for target in entire_space(experiment)]
            aucs = {key: found[key] for key in keys}
            at = seconds * (rows + warm_rows) / rows
            curve.append((at, mean_defined(aucs.values())))
        if not epoch:
            figures = {f"{name}_rows_per_s": rows / seconds}
            figures |= {f"{name}_{key}": _figure(value) for key, value in aucs.items()}
    return figures, curve


def _step(dataset: Dataset, experiment: Experiment, quick: bool) -> Figures:
    """A step on a batch that is in memory, beside what its matrices alone would take."""
    model = build_backbone(experiment, _outputs(dataset, experiment))
    learner = Learner(model, experiment)
    batch = next(iter(_batches(dataset, experiment)))
    seconds = fastest(lambda: learner.step(batch).numpy(), 3 if quick else 20)
    entries = sum(int(np.prod(weight.shape)) for weight in learner.dense if len(weight.shape) > 1)
    rows = int(batch["row/weight"].shape[0])
    gflop = 6 * entries * rows / 1e9
    bound = gflop / matmul_gflops(tf.float32, 256 if quick else 2048)
    return {
        "step_ms": 1e3 * seconds,
        "step_matrices_gflop": gflop,
        "step_matrices_gflops": gflop / seconds,
        "step_bound_ms": 1e3 * bound,
        "step_to_bound_ratio": seconds / bound,
    }


def _peer(
    peer: str, rows: Path, options: Options, tasks: tuple[str, str]
) -> tuple[Figures, _Curve] | str:
    """A peer's figures by the names of its tasks and its curve, or why there are none."""
    python = interpreter(peer, options.folder / "peers", install=not options.quick)
    if isinstance(python, str):
        return python
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_USE_LEGACY_KERAS": "1",
    }
    words = [str(python), "-m", f"benchmarks.speed.peers.{_MODULES[peer]}", str(rows)]
    try:
        done = subprocess.run(  # noqa: S603 - ours
            words,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PEER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {_PEER_SECONDS} s"
    if done.returncode:
        return f"failed: {last_line(done.stderr)}"
    outcome: dict[str, Any] = json.loads((rows / f"{peer}.json").read_text(encoding="utf-8"))
    labels = [np.load(rows / "validation" / f"{label}.npy") for label in LABELS]

    def aucs(scores: Array) -> list[float | None]:
        return [auc(label, scores[:, task]) for task, label in enumerate(labels)]

    found = aucs(np.load(rows / f"{peer}.npy"))
    figures: Figures = {
        f"{peer}_rows_per_s": float(outcome["rows_per_s"]),
        **{f"{peer}_{task}_auc": _figure(value) for task, value in zip(tasks, found, strict=True)},
    }
    scored = np.load(rows / f"{peer}_curve.npy")
    values = [mean_defined(aucs(scores)) for scores in scored]
    return figures, list(zip(outcome["curve_seconds"], values, strict=True))


def _figure(value: float | None) -> float | str:
    return "undefined" if value is None else value
