"""A kernel against the backbone on the same rows: every task and metric, with intervals."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.schema import TASK_NAMES
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import probabilities, task_rows
from trainer.metrics.paired_bootstrap import paired_comparison
from trainer.metrics.results import TaskComparisons


class PairedRows(NamedTuple):
    """What ``trainer.metrics.paired_bootstrap`` compares: the rows of a task's sample space.

    Attributes:
      labels: ``[N]``, 0 or 1.
      backbone: ``[N]`` probabilities.
      kernel: ``[N]`` probabilities.
      weights: ``[N]``.
      requests: ``[N]``.
      users: ``[N]``.
    """

    labels: Floats
    backbone: Floats
    kernel: Floats
    weights: Floats
    requests: npt.NDArray[np.generic]
    users: npt.NDArray[np.generic]


def paired_rows(
    experiment: Experiment,
    data: BackboneOutputs,
    rows: Rows,
    kernel_logits_of_rows: Floats,
    reference_logits_of_rows: Floats | None = None,
) -> Iterator[tuple[str, PairedRows]]:
    """Yields each task and its paired rows; the kernel's stand beside the backbone's, or beside
    those of another reference.
    """
    reference = data.logits[rows] if reference_logits_of_rows is None else reference_logits_of_rows
    backbone, kernel = probabilities(reference), probabilities(kernel_logits_of_rows)
    for task in TASK_NAMES:
        inside, labels = task_rows(experiment, data, rows, task)
        chosen = rows[inside]
        yield (
            task,
            PairedRows(
                labels,
                backbone[task][inside],
                kernel[task][inside],
                data.weights[chosen],
                data.columns["row/request"][chosen],
                data.columns["row/user"][chosen],
            ),
        )


def compare(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, kernel_logits_of_rows: Floats
) -> TaskComparisons:
    """task -> metric -> backbone, kernel, delta and its 95% interval, over the given rows."""
    return {
        task: paired_comparison(*pair, experiment.evaluation.bootstrap, experiment.seed)
        for task, pair in paired_rows(experiment, data, rows, kernel_logits_of_rows)
    }
