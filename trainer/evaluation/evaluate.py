"""Evaluation: every domain and task, backbone against kernel, with intervals; the best reachable
figures where the truth is known.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domains import Domain
from configs.files import write_json
from configs.schema import TASK_NAMES
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, open_frozen, run_frozen
from trainer.data.dataset import Dataset
from trainer.evaluation.comparison import compare
from trainer.evaluation.mean_gain import MeanGains
from trainer.evaluation.oracle import true_probabilities
from trainer.job import Job
from trainer.kernels.kernel import user_columns
from trainer.kernels.scoring import probabilities, route, score_rows, task_rows
from trainer.metrics.results import (
    Comparison,
    DomainResult,
    EvaluationResult,
    Figure,
    Pair,
    TaskComparisons,
)
from trainer.metrics.task_metrics import METRICS, UNDEFINED, task_metrics, to_json
from trainer.registry.kernel_registry import KernelStore, common_tap
from trainer.registry.routes import topics_with

TaskFigures = dict[str, dict[str, Figure]]
"""Task -> metric -> figure."""


def evaluate(
    experiment: Experiment, data: Path, job: Job, split: str | None = None
) -> EvaluationResult:
    """Evaluates a split (``evaluation.split`` where None) and writes
    ``<job>/reports/metrics.json``.

    A domain's kernel is its active version, else its newest; where there is none, the kernel's
    figures are undefined.

    Returns:
      What the file holds; figures that are undefined (a slice with one class) are the string
      "undefined".

    Raises:
      InputError: no finished backbone, an unknown split, or a dataset that the backbone was not
        trained for.
    """
    split = split or experiment.evaluation.split
    if split not in experiment.splits:
        raise InputError(
            f"--split: '{split}' is no split; the config has: {', '.join(experiment.splits)}"
        )
    store = KernelStore(job)
    topics = topics_with(store, job.experiment(), experiment)
    dataset, backbone = open_frozen(experiment, data, job, topics)
    active = store.active()
    named = [domain.name for domain in experiment.domains]
    every = {name: Domain.parse(name, topics) for name in dict.fromkeys((*named, *active))}
    kernels = {name: store.active_or_newest(name) for name in every}
    found = [kernel for kernel in kernels.values() if kernel]
    keep = user_columns(*(kernel.shape for kernel in found))
    rows = run_frozen(backbone, dataset, split, common_tap(found), f"evaluate {split}", keep)

    domains: dict[str, DomainResult] = {}
    scores: dict[str, Floats] = {}
    gains = MeanGains(experiment, rows)
    for name, domain in every.items():
        inside = rows.domain_rows(domain)
        kernel = kernels[name]
        if kernel:
            logits = score_rows(kernel.shape, kernel.weights, rows, inside)
        else:
            logits = rows.logits[inside]
        if name in active:
            scores[name] = logits
        if name not in named:
            continue  # served, so `overall` is not right without it; but not asked for
        if kernel:
            figures = compare(experiment, rows, inside, logits)
            gains.add(name, inside, logits, figures)
        else:
            figures = _backbone_alone(_figures(experiment, rows, probabilities(logits), inside))
        domains[name] = DomainResult(rows=len(inside), active=name in active, tasks=figures)

    served = route(every.values(), topics, rows, scores, rows.logits)
    alone, routed_kernels = (
        _overall(experiment, rows, rows.logits),
        _overall(experiment, rows, served),
    )
    result = EvaluationResult(
        split=split,
        overall={
            task: {
                metric: Pair(backbone=alone[task][metric], kernel=routed_kernels[task][metric])
                for metric in METRICS
            }
            for task in TASK_NAMES
        },
        domains=domains,
        oracle=_oracle(experiment, dataset, rows),
        mean=gains.results(domains),
    )
    write_json(job.reports / "metrics.json", result.to_json())
    return result


def _backbone_alone(figures: TaskFigures) -> TaskComparisons:
    """The form of ``compare`` for a domain that has no kernel."""
    return {
        task: {
            metric: Comparison(backbone=value, kernel=UNDEFINED, delta=UNDEFINED, ci95=UNDEFINED)
            for metric, value in metrics.items()
        }
        for task, metrics in figures.items()
    }


def _overall(experiment: Experiment, rows: BackboneOutputs, logits: Floats) -> TaskFigures:
    return _figures(experiment, rows, probabilities(logits), np.arange(len(rows.logits)))


def _figures(
    experiment: Experiment,
    rows: BackboneOutputs,
    scores: dict[str, Floats],
    chosen: npt.NDArray[np.int64],
) -> TaskFigures:
    """task -> metric -> value over chosen rows; ``scores`` are in the order of ``chosen``."""
    figures = {}
    for task in TASK_NAMES:
        inside, labels = task_rows(experiment, rows, chosen, task)
        index = chosen[inside]
        metrics = task_metrics(
            labels, scores[task][inside], rows.weights[index], rows.columns["row/request"][index]
        )
        figures[task] = {name: to_json(value) for name, value in metrics.items()}
    return figures


def _oracle(experiment: Experiment, dataset: Dataset, rows: BackboneOutputs) -> TaskFigures | None:
    """The metrics of the true probabilities: the best that any model can reach, on average. None
    where the truth is not at hand.
    """
    truth = true_probabilities(experiment, dataset, rows)
    return None if truth is None else _figures(experiment, rows, truth, np.arange(len(rows.logits)))
