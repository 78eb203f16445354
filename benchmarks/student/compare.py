"""Scores a split under several jobs, and times their backbones in turns."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.figures.report import Sections, table
from configs import Experiment
from configs.terminal.plain_text import fit
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, feature_tensors
from trainer.backbone.layers.embedding import RowEmbedding
from trainer.backbone.saving import load_frozen
from trainer.backbone.stored_taps import split_columns
from trainer.data.dataset import Dataset
from trainer.distillation.teacher import Teacher
from trainer.evaluation.comparison import compare as compare_logits
from trainer.job import Job
from trainer.metrics.results import Comparison

BATCHES = (200, 4096)
"""Rows that are scored at once: a request's candidates, and a pass's."""
_ROUNDS = 30
_METRICS = ("auc", "gauc")

Found = dict[str, dict[str, Any]]
"""Row of the table (``JOB`` as served, ``JOB, backbone``) -> what was found."""


def compare(experiment: Experiment, data: Path, jobs: Sequence[Job], split: str) -> Found:
    """Judges jobs on one split.

    Args:
      experiment: that the dataset was built for; names labels and splits.
      data: folder of the dataset.
      jobs: of the dataset's transform; the first is what the others are compared with.
      split: name of the split.

    Returns:
      Of every row ``figures`` (task -> metric -> ``value``, ``delta`` and ``ci95`` to the first job
      as it is served), and of backbones ``tables`` and ``dense``, their weights, and ``rows_per_s``
      by batch size, a median of rounds in turns.

    Raises:
      InputError: a job cannot read the dataset.
    """
    dataset = Dataset.open(data, experiment)
    columns = split_columns(dataset, split, lambda name: not name.startswith("feature/"))
    logits: dict[str, Floats] = {}
    models: dict[str, keras.Model] = {}
    for job in jobs:
        teacher, name = Teacher.open(job), job.folder.name
        teacher.check_reads(experiment, dataset)
        alone = replace(teacher, kernels={})
        if teacher.kernels:
            logits[name] = _scored(teacher, experiment, data, split)
        logits[f"{name}, backbone"] = _scored(alone, experiment, data, split)
        models[f"{name}, backbone"] = load_frozen(job, job.experiment())
    first = next(iter(logits.values()))
    rows = BackboneOutputs(first, np.empty((len(first), 1, 0), np.float32), columns)
    speeds = _speeds(models, dataset, split)
    return {
        name: {"figures": _figures(experiment, rows, scored)}
        | ({**_size(models[name]), "rows_per_s": speeds[name]} if name in models else {})
        for name, scored in logits.items()
    }


def render(found: Found) -> str:
    """The table for people."""
    return "\n".join(fit(_cells(found), ())) + "\n"


def tables(found: Found) -> Sections:
    """The table for ``--report``."""
    (_, *columns), *rows = _cells(found)
    return {"jobs": [table("jobs", ["served", *columns], rows)]}


def _cells(found: Found) -> list[list[str]]:
    """Titles and rows; differences in points, with 95% intervals of resampled users."""
    tasks = list(next(iter(found.values()))["figures"])
    titles = [f"{task.upper()}-{metric.upper()}" for task in tasks for metric in _METRICS]
    rows = [["", *titles, "tables", "dense", *(f"rows/s, {size} at once" for size in BATCHES)]]
    for name, of in found.items():
        cells = [_cell(of["figures"][task][metric]) for task in tasks for metric in _METRICS]
        size = [f"{of[part]:,}" if part in of else "" for part in ("tables", "dense")]
        speed = [f"{of['rows_per_s'][b]:,.0f}" if "rows_per_s" in of else "" for b in BATCHES]
        rows.append([name, *cells, *size, *speed])
    return rows


def _cell(figure: Mapping[str, Any]) -> str:
    if not isinstance(figure["value"], float):
        return str(figure["value"])
    if not isinstance(figure["delta"], float) or figure["delta"] == 0.0:
        return f"{figure['value']:.4f}"
    between = (
        ""
        if isinstance(figure["ci95"], str)
        else " [{:+.2f}, {:+.2f}]".format(*(100 * end for end in figure["ci95"]))
    )
    return f"{figure['value']:.4f} {100 * figure['delta']:+.2f}{between}"


def _scored(teacher: Teacher, experiment: Experiment, data: Path, split: str) -> Floats:
    return np.concatenate([block for _, block in teacher.scores(experiment, data, split)])


def _figures(experiment: Experiment, rows: BackboneOutputs, logits: Floats) -> dict[str, Any]:
    """Of a job's logits; ``rows`` has those of the first."""
    found = compare_logits(experiment, rows, np.arange(len(logits)), logits)
    return {
        task: {metric: _figure(found[task][metric]) for metric in _METRICS}
        for task in experiment.tasks.ranking
    }


def _figure(comparison: Comparison) -> dict[str, Any]:
    return {
        "value": comparison.kernel,
        "delta": comparison.delta,
        "ci95": comparison.ci95 if isinstance(comparison.ci95, str) else list(comparison.ci95),
    }


def _size(model: keras.Model) -> dict[str, int]:
    tables = sum(
        layer.table.shape[0] * layer.table.shape[1]
        for layer in model.layers
        if isinstance(layer, RowEmbedding)
    )
    return {"tables": tables, "dense": model.count_params() - tables}


def _speeds(
    models: Mapping[str, keras.Model], dataset: Dataset, split: str
) -> dict[str, dict[int, float]]:
    """Name -> rows at once -> rows a second, medians of rounds in which every model has its
    turn.
    """
    columns = next(dataset.batches(split, max(BATCHES)))
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(_ROUNDS + 1):
        for name, model in models.items():
            for size in BATCHES:
                batch = {key: values[:size] for key, values in columns.items()}
                inputs = feature_tensors(batch, model)
                start = time.perf_counter()
                model.predict_on_batch(inputs)
                if turn:  # the first traces
                    seconds.setdefault((name, size), []).append(time.perf_counter() - start)
    return {
        name: {size: size / statistics.median(seconds[name, size]) for size in BATCHES}
        for name in models
    }
