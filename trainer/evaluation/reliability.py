"""Whether the predictions of all rows can be taken at their word, and order amounts."""

from collections.abc import Mapping

import numpy as np

from configs import Experiment
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.rows_of_tasks import RowsOfTask, rows_of_tasks
from trainer.kernels.scoring import predicted_rows
from trainer.metrics.calibration import calibration, order_agreement
from trainer.metrics.results import Calibration, CalibrationPair, RoutedFigures
from trainer.metrics.task_metrics import UNDEFINED, to_json


class Reliability:
    """All rows of a split under several sides.

    Args:
      experiment: names the labels.
      data: the rows.
      sides: ``backbone``, ``kernel`` (as they are served) and, where there is a kernel of all
        traffic, ``all`` -> logits ``[N, T]``.
    """

    def __init__(
        self, experiment: Experiment, data: BackboneOutputs, sides: Mapping[str, Floats]
    ) -> None:
        self._rows = dict(rows_of_tasks(experiment, data, np.arange(len(data.logits))))
        self._sides = {
            side: predicted_rows(experiment.tasks, logits) for side, logits in sides.items()
        }

    def calibration(self) -> dict[str, CalibrationPair]:
        """task -> reliability curves; a task that is undecidable has them without the error."""
        return {
            task: CalibrationPair(
                **{side: self._curve(side, task, of) for side in ("backbone", "kernel")}
            )
            for task, of in self._rows.items()
        }

    def order_agreement(self) -> dict[str, RoutedFigures]:
        """Task of amounts -> share of pairs in the right order; rows of weight 0 are left out."""
        found = {}
        for task, of in self._rows.items():
            if of.amounts is None:
                continue
            counted = of.weights > 0
            found[task] = RoutedFigures(
                **{
                    side: UNDEFINED
                    if of.few
                    else to_json(
                        order_agreement(of.amounts[counted], scores[task][of.inside][counted])
                    )
                    for side, scores in self._sides.items()
                }
            )
        return found

    def _curve(self, side: str, task: str, of: RowsOfTask) -> Calibration:
        scores = self._sides[side][task][of.inside]
        found = calibration(of.labels, scores, of.weights, of.positive)
        return found.model_copy(update={"ece": UNDEFINED}) if of.few else found
