"""A job's model on the rows of today: whether its predictions hold in every domain, and what the
age of its backbone costs.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import trainer  # noqa: F401 - must come before TensorFlow
from configs import Experiment, InputError
from configs.files import read_json
from configs.terminal.plain_text import printable
from operations.drift.drift_result import BackboneAge, DomainCalibration, TaskAge
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.judged_kernels import JudgedKernels
from trainer.evaluation.kernel_rows import KernelRows
from trainer.evaluation.rows_of_tasks import rows_of_tasks
from trainer.evaluation.validation import monitored
from trainer.job import Job
from trainer.kernels.scoring import entire_space_aucs, predicted_rows
from trainer.registry.kernel_registry import KernelStore

_POINTS = 100.0
_HISTORY = "history.json"


def model_drift(
    experiment: Experiment, data: Path, job: Job, split: str
) -> tuple[tuple[DomainCalibration, ...], BackboneAge]:
    """Calibration by domain as ``auto`` serves the rows of a split, and the backbone's age.

    Args:
      experiment: that reads the dataset; its section ``drift`` has the thresholds.
      data: dataset of today's rows, under the job's transform.
      job: whose backbone and active kernels answer.
      split: whose rows.

    Raises:
      InputError: the dataset or the job cannot be used, or not with each other.
    """
    served_by = JudgedKernels.open(experiment, KernelStore(job))
    source = KernelRows.open(experiment, data, job, served_by.serving, served_by.topics)
    rows = source.of_split(split, f"drift {split}")
    served = served_by.served(rows)
    cells = tuple(_calibration(experiment, served_by, rows, served))
    return cells, _age(experiment, job, rows, served, split)


class _Cell(NamedTuple):
    """A domain and a task: what was predicted and observed, and how many standard errors of users
    these are apart.
    """

    domain: str
    task: str
    rows: int
    positives: int
    predicted: float
    observed: float
    errors: float


def _calibration(
    experiment: Experiment, served_by: JudgedKernels, rows: BackboneOutputs, served: Floats
) -> Iterator[DomainCalibration]:
    """Every domain and task with enough outcomes of each kind."""
    from scipy.stats import norm

    cells = list(_cells(experiment, served_by, rows, served))
    limit = float(norm.ppf(1.0 - experiment.drift.level / (2.0 * max(len(cells), 1))))
    for cell in cells:
        ratio = cell.predicted / cell.observed
        drifted = abs(ratio - 1.0) > experiment.drift.calibration and cell.errors > limit
        words = (
            f"{printable(cell.domain)}: {cell.task.upper()} is predicted {ratio:.2f} times as high"
            f" as it is ({cell.predicted:.4g}, observed {cell.observed:.4g})"
        )
        yield DomainCalibration(
            domain=cell.domain,
            task=cell.task,
            rows=cell.rows,
            positives=cell.positives,
            predicted=cell.predicted,
            observed=cell.observed,
            ratio=ratio,
            drifted=drifted,
            says=words if drifted else "",
        )


def _cells(
    experiment: Experiment, served_by: JudgedKernels, rows: BackboneOutputs, served: Floats
) -> Iterator[_Cell]:
    for name, domain in served_by.domains.items():
        inside = rows.domain_rows(domain)
        predictions = predicted_rows(experiment.tasks, served[inside])
        users = rows.columns["row/user"][inside]
        for task, of in rows_of_tasks(experiment, rows, inside):
            weights, labels = of.weights.astype(np.float64), of.labels.astype(np.float64)
            predicted = predictions[task][of.inside].astype(np.float64)
            total, observed = float(weights.sum()), float(np.dot(labels, weights))
            if of.few or not observed:
                continue
            apart = weights * (predicted - labels)
            yield _Cell(
                name,
                task,
                len(labels),
                int(of.positive.sum()),
                float(np.dot(predicted, weights)) / total,
                observed / total,
                standard_errors(apart, users[of.inside]),
            )


def standard_errors(apart: npt.NDArray[np.float64], users: npt.NDArray[Any]) -> float:
    """How many standard errors a sum of differences is from 0, rows of one user being alike (Liang
    and Zeger 1986, Longitudinal data analysis using generalized linear models).

    Args:
      apart: of rows, ``[N]``.
      users: of the rows, ``[N]``.
    """
    _, places = np.unique(users, return_inverse=True)
    of_users = np.bincount(places, apart)
    deviation = math.sqrt(float(np.square(of_users).sum()))
    return abs(float(of_users.sum())) / deviation if deviation else 0.0


def _age(
    experiment: Experiment, job: Job, rows: BackboneOutputs, served: Floats, split: str
) -> BackboneAge:
    every = np.arange(len(rows.logits))
    new = _when_new(job)
    zero_shot = entire_space_aucs(experiment, rows, every, rows.logits)
    now = entire_space_aucs(experiment, rows, every, served)
    tasks = {}
    for task, today in zero_shot.items():
        was, answer = new.get(task), now[task]
        if was is not None and today is not None and answer is not None:
            tasks[task] = TaskAge(new=was, zero_shot=today, served=answer)
    if not tasks:
        raise InputError(
            f"{job.backbone / _HISTORY}: no AUC of a task that split '{split}' has, too; the"
            " backbone's age is not known"
        )
    return age_of(tasks, split, experiment.drift.age)


def age_of(tasks: dict[str, TaskAge], split: str, threshold: float) -> BackboneAge:
    """The rule: let the backbone go on, or pre-train anew, where what the zero-shot backbone has
    lost, less what kernels recover, is more than ``threshold`` points.
    """
    lost = _POINTS * float(np.mean([of.new - of.zero_shot for of in tasks.values()]))
    recovered = _POINTS * float(np.mean([of.served - of.zero_shot for of in tasks.values()]))
    left = lost - recovered
    anew = left > threshold
    rule = (
        "let it go on with new days (trainer.task pretrain --from), or pre-train anew"
        if anew
        else "no need to pre-train anew"
    )
    compared = f"{'above' if anew else 'not above'} {threshold:g} (drift.age)"
    moved = f"lost {lost:.2f}" if lost >= 0 else f"gained {-lost:.2f}"
    return BackboneAge(
        split=split,
        tasks=tasks,
        lost_points=lost,
        recovered_points=recovered,
        pretrain=anew,
        says=(
            f"the zero-shot backbone has {moved} AUC points since it was new; kernels recover"
            f" {recovered:.2f}; {left:.2f} are left, {compared}: {rule}"
        ),
    )


def _when_new(job: Job) -> dict[str, float]:
    """AUC of the tasks on validation rows where the backbone was kept: at the best of all
    validations. Raises ``InputError`` where the job has no history that can be read.
    """
    history: Any = read_json(job.backbone / _HISTORY)
    monitor = job.experiment().pretrain.monitor
    try:
        figures = [entry["validation"] for entry in history]
        best = max(figures, key=lambda one: monitored(one, monitor))
        return {
            name.removesuffix("_auc"): float(value)
            for name, value in best.items()
            if name.endswith("_auc") and value is not None
        }
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"{job.backbone / _HISTORY}: not the course of a pre-training: {error!r}"
        ) from None
