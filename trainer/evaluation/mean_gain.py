"""The mean gain of single-topic domains, with an interval from users who are drawn in all of them
at once.
"""

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import is_single_topic
from configs.schema import TASK_NAMES
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.comparison import paired_rows
from trainer.kernels.kernel import Rows
from trainer.metrics.paired_bootstrap import paired_deltas
from trainer.metrics.results import (
    ByMetric,
    ByTask,
    DomainResult,
    MeanGain,
    TaskComparisons,
    mean_gain,
)
from trainer.metrics.task_metrics import METRICS, UNDEFINED
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
        shape = (experiment.evaluation.bootstrap, len(METRICS))
        self._sums = {task: np.zeros(shape) for task in TASK_NAMES}

    def add(
        self, domain: str, rows: Rows, kernel_logits_of_rows: Floats, figures: TaskComparisons
    ) -> None:
        """Adds a domain's differences; a domain that is not single-topic is left out.

        Args:
          domain: its name.
          rows: its rows.
          kernel_logits_of_rows: of its kernel, ``[len(rows), 2]``.
          figures: what ``compare`` found on these rows.
        """
        if not is_single_topic(domain):
            return
        pairs = paired_rows(self._experiment, self._data, rows, kernel_logits_of_rows)
        for task, pair in pairs:
            if figures[task]["auc"].delta == UNDEFINED:
                continue
            deltas = paired_deltas(*pair, self._draws)
            for column, metric in enumerate(METRICS):
                own = figures[task][metric].delta
                if own != UNDEFINED:
                    drawn = deltas[:, column]
                    self._sums[task][:, column] += np.where(np.isnan(drawn), own, drawn)

    def results(self, domains: dict[str, DomainResult]) -> ByTask[ByMetric[MeanGain]]:
        """The means over ``domains``, which are those that were taken in and any without a kernel.
        An interval is undefined where the mean is, and for fewer than two users.
        """
        return {
            task: {
                metric: self._with_interval(mean_gain(domains, task, metric), sums[:, column])
                for column, metric in enumerate(METRICS)
            }
            for task, sums in self._sums.items()
        }

    def _with_interval(self, mean: MeanGain, sums: npt.NDArray[np.float64]) -> MeanGain:
        if not mean.domains or len(self._draws.users) < 2:
            return mean
        return mean.model_copy(update={"ci95": percentile_interval(sums / mean.domains)})
