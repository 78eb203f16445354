"""The mean gain of single-topic domains over the backbone and over the kernel of all traffic, with
intervals from users who are drawn in all of them at once.
"""

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import is_single_topic
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.comparison import amounts_of, compared_rows
from trainer.kernels.kernel import Rows
from trainer.metrics.paired_bootstrap import paired_deltas
from trainer.metrics.results import (
    ByMetric,
    ByTask,
    DomainComparisons,
    DomainResult,
    MeanGain,
    mean_gain,
)
from trainer.metrics.task_metrics import METRICS, UNDEFINED, metric_names
from trainer.metrics.user_draws import UserDraws, percentile_interval


class MeanGains:
    """Takes in domains one by one.

    A user may have rows in many domains, so their gains are not independent: a user who is drawn is
    drawn in all of them, and the mean of the domains' differences is taken draw by draw. Where a
    draw leaves a domain with one class alone, the domain counts with its own difference and so adds
    no spread (our choice: leaving out the draw would leave out most where domains are many and
    small).

    Args:
      experiment: number of resamples, and seed.
      data: the rows of the split.
    """

    def __init__(self, experiment: Experiment, data: BackboneOutputs) -> None:
        self._experiment, self._data = experiment, data
        self._draws = UserDraws(
            data.columns["row/user"], experiment.evaluation.bootstrap, experiment.seed
        )
        shape = (2, experiment.evaluation.bootstrap, len(METRICS))  # two references
        self._sums = {task: np.zeros(shape) for task in experiment.tasks.targets}

    def add(
        self,
        domain: str,
        rows: Rows,
        kernel_logits_of_rows: Floats,
        logits_of_all: Floats | None,
        figures: DomainComparisons,
    ) -> None:
        """Adds a domain's differences; a domain that is not single-topic is left out, and so is a
        task that is undecidable or undefined in it.

        Args:
          domain: its name.
          rows: its rows.
          kernel_logits_of_rows: of its kernel, ``[len(rows), T]``.
          logits_of_all: of the kernel of all traffic, ``[len(rows), T]``; None where there is none,
            then for all domains.
          figures: what ``compare_with_both`` found on these rows.
        """
        if not is_single_topic(domain):
            return
        references = [self._data.logits[rows]]
        references += [] if logits_of_all is None else [logits_of_all]
        for task, sides in compared_rows(
            self._experiment, self._data, rows, references, kernel_logits_of_rows
        ):
            if figures[task]["auc"].delta == UNDEFINED:
                continue
            amounts = amounts_of(self._experiment, self._data, rows, task)
            found = paired_deltas(*sides, self._draws, amounts=amounts)
            for place, deltas in enumerate(found):
                for column, metric in enumerate(figures[task]):
                    cell, drawn = figures[task][metric], deltas[:, column]
                    own = (cell.delta, cell.delta_all)[place]
                    if own != UNDEFINED:
                        self._sums[task][place, :, column] += np.where(np.isnan(drawn), own, drawn)

    def results(self, domains: dict[str, DomainResult]) -> ByTask[ByMetric[MeanGain]]:
        """The means over ``domains``, which are those that were taken in and any without a kernel.
        An interval is undefined where the mean is, and for fewer than two users.
        """
        return {
            task: {
                metric: self._with_intervals(mean_gain(domains, task, metric), sums[..., column])
                for column, metric in enumerate(
                    metric_names(amount=self._experiment.tasks.targets[task].amount is not None)
                )
            }
            for task, sums in self._sums.items()
        }

    def _with_intervals(self, mean: MeanGain, sums: npt.NDArray[np.float64]) -> MeanGain:
        if not mean.domains or len(self._draws.users) < 2:
            return mean
        over, over_all = (percentile_interval(drawn / mean.domains) for drawn in sums)
        known = mean.delta_all != UNDEFINED
        return mean.model_copy(update={"ci95": over, "ci95_all": over_all if known else UNDEFINED})
