"""The rows of a split beside their two references: the backbone, and the kernel of all traffic."""

from collections.abc import Iterator, Mapping

import numpy as np

from configs import Experiment
from configs.domains import Topic
from configs.prediction.score import SCORE
from configs.schema import Page
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.rows_of_tasks import RowsOfTask, rows_of_tasks
from trainer.kernels.kernel import Rows
from trainer.kernels.page_scores import PageScores
from trainer.kernels.scoring import (
    Predictions,
    predicted_rows,
    score_rows,
    served_outputs,
)
from trainer.metrics.page_metrics import Pages, compare_pages
from trainer.metrics.results import (
    DomainComparison,
    DomainComparisons,
    Figure,
    Outcomes,
    PageResult,
    RoutedFigures,
)
from trainer.metrics.task_metrics import UNDEFINED, metric_names, task_metrics, to_json
from trainer.metrics.user_draws import UserDraws
from trainer.registry.kernel_registry import StoredKernel
from trainer.target_rows import is_known

TaskFigures = dict[str, dict[str, Figure]]
"""Task -> metric -> figure."""


class JudgedRows:
    """A split that is judged.

    Args:
      experiment: names the labels.
      rows: of the split.
      all_traffic: the kernel of all traffic; None where there is none.

    Attributes:
      every: indices of all rows ``[N]``.
    """

    def __init__(
        self, experiment: Experiment, rows: BackboneOutputs, all_traffic: StoredKernel | None
    ) -> None:
        self._experiment, self._rows, self._all_traffic = experiment, rows, all_traffic
        self._tasks = experiment.tasks
        self.every = np.arange(len(rows.logits))
        self._of_all = _score(all_traffic, rows, self.every) if all_traffic else None

    def logits(self, kernel: StoredKernel | None, chosen: Rows) -> Floats:
        """Of chosen rows, ``[len(chosen), T]``, under a kernel; the backbone's where None."""
        if kernel is None:
            return self._rows.logits[chosen]
        of_all = self.logits_of_all(chosen) if kernel is self._all_traffic else None
        return _score(kernel, self._rows, chosen) if of_all is None else of_all

    def logits_of_all(self, chosen: Rows) -> Floats | None:
        """Of chosen rows under the kernel of all traffic; None where there is none."""
        return None if self._of_all is None else self._of_all[chosen]

    def positives(self, chosen: Rows) -> dict[str, int]:
        """task -> how many of the chosen rows have its label."""
        return {task: int(of.positive.sum()) for task, of in self._of_tasks(chosen)}

    def undecided(self, chosen: Rows) -> dict[str, Outcomes]:
        """The tasks that are undecidable on the chosen rows -> their outcomes there."""
        return {task: of.few for task, of in self._of_tasks(chosen) if of.few}

    def figures(self, scores: Predictions, chosen: Rows) -> TaskFigures:
        """task -> metric -> value over chosen rows, in whose order ``scores`` are; a task that is
        undecidable on these rows has none.
        """
        figures: TaskFigures = {}
        for task, of in self._of_tasks(chosen):
            if of.few:
                names = metric_names(amount=of.amounts is not None)
                figures[task] = dict.fromkeys(names, UNDEFINED)
                continue
            metrics = task_metrics(
                of.positive,
                scores[task][of.inside],
                of.weights,
                self._rows.columns["row/request"][chosen[of.inside]],
                of.amounts,
            )
            figures[task] = {name: to_json(value) for name, value in metrics.items()}
        return figures

    def without_kernel(self, chosen: Rows) -> DomainComparisons:
        """The references of chosen rows, in the form of
        ``trainer.evaluation.comparison.compare_with_both``.
        """
        return {
            task: {
                metric: DomainComparison(kernel=UNDEFINED, delta=UNDEFINED, ci95=UNDEFINED, **sides)
                for metric, sides in metrics.items()
            }
            for task, metrics in self._references(chosen).items()
        }

    def pages(self, served: Floats, page: Page, topics: Mapping[str, Topic]) -> PageResult:
        """How the score of all rows orders their requests: as they are served, logits ``[N, T]``,
        beside the references. Topics are those by which rows are routed: all sides are ranked by
        the expressions of the rows' own fields, as under ``auto``, ``all`` and ``backbone``. Rows
        whose label is not known yet are left out.
        """
        scores = PageScores(self._experiment, topics)
        places = scores.of_columns(self._rows.columns, len(served))
        judged_by = next(of for of in self._tasks.targets.values() if of.label == page.label)
        known = is_known(judged_by, self._rows.columns, len(self.every))
        gains = self._rows.labels(page.label)[known].astype(np.float64)
        users = self._rows.columns["row/user"][known]
        pages = Pages(
            gains,
            gains > judged_by.threshold,
            self._rows.columns["row/request"][known],
            users,
            page.top,
        )
        logits = {"backbone": self._rows.logits, "all": self._of_all, "kernel": served}
        sides = {
            side: served_outputs(scores, of, places)[SCORE][known]
            for side, of in logits.items()
            if of is not None
        }
        draws = UserDraws(users, self._experiment.evaluation.bootstrap, self._experiment.seed)
        return PageResult(
            label=page.label,
            top=page.top,
            scores=self._experiment.ranked_by,
            metrics=compare_pages(pages, sides, draws),
        )

    def overall(self, served: Floats) -> dict[str, dict[str, RoutedFigures]]:
        """All rows as they are served, logits ``[N, T]``, beside the references."""
        after = self.figures(predicted_rows(self._tasks, served), self.every)
        return {
            task: {
                metric: RoutedFigures(kernel=after[task][metric], **sides)
                for metric, sides in metrics.items()
            }
            for task, metrics in self._references(self.every).items()
        }

    def _of_tasks(self, chosen: Rows) -> Iterator[tuple[str, RowsOfTask]]:
        return rows_of_tasks(self._experiment, self._rows, chosen)

    def _references(self, chosen: Rows) -> dict[str, dict[str, dict[str, Figure]]]:
        """task -> metric -> ``backbone`` and ``all``."""
        before = self.figures(predicted_rows(self._tasks, self._rows.logits[chosen]), chosen)
        logits = self.logits_of_all(chosen)
        of_all = (
            None if logits is None else self.figures(predicted_rows(self._tasks, logits), chosen)
        )
        return {
            task: {
                metric: {
                    "backbone": value,
                    "all": of_all[task][metric] if of_all else UNDEFINED,
                }
                for metric, value in metrics.items()
            }
            for task, metrics in before.items()
        }


def _score(kernel: StoredKernel, rows: BackboneOutputs, chosen: Rows) -> Floats:
    return score_rows(kernel.shape, kernel.weights, rows, chosen)
