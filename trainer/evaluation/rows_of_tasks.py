"""The rows on which each task is defined, with what happened there."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs import Experiment
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import task_rows
from trainer.metrics.decidable import too_few
from trainer.metrics.results import Outcomes


class RowsOfTask(NamedTuple):
    """The rows of a task's sample space among chosen ones.

    Attributes:
      inside: bool ``[N]``, which of the chosen rows they are.
      labels: ``[M]``, 0 and 1, or amounts.
      positive: bool ``[M]``, which have the label; of amounts, more than the typical one.
      weights: ``[M]``.
      amounts: the labels, where they are amounts; else None.
      few: the outcomes, where they are too few of a kind for any figure; else None.
    """

    inside: npt.NDArray[np.bool_]
    labels: Floats
    positive: npt.NDArray[np.bool_]
    weights: Floats
    amounts: Floats | None
    few: Outcomes | None


def rows_of_tasks(
    experiment: Experiment, data: BackboneOutputs, chosen: Rows
) -> Iterator[tuple[str, RowsOfTask]]:
    """Yields each target and its rows.

    Args:
      experiment: names the labels, and how many outcomes a figure needs.
      data: where the rows are.
      chosen: indices ``[N]``.
    """
    for task, target in experiment.tasks.targets.items():
        inside, labels = task_rows(experiment, data, chosen, task)
        positive, weights = labels > target.threshold, data.weights[chosen[inside]]
        few = too_few(positive, weights, experiment.evaluation.minimum_positives)
        yield (
            task,
            RowsOfTask(inside, labels, positive, weights, labels if target.amount else None, few),
        )
