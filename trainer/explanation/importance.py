"""Permutation importance: the AUC that is lost where the values of an input are permuted among
rows (Breiman 2001, "Random Forests", section 10; over a fixed model, Fisher et al. 2019).

An input's values are those of other rows of the same sample, so its distribution stays, and what it
says of the row is gone. One permutation holds for all rows at once; what is lost in a domain is
what its rows lose then, also where their new values are those of other domains.

An interval is of both samples: with every draw of users as many permutations are drawn, with
replacement, as there are.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from configs.domains import Domain
from configs.progress import tracked
from configs.random_streams import Purpose, random_stream
from trainer.data.progress_bar import row_bar
from trainer.evaluation.rows_of_tasks import RowsOfTask, rows_of_tasks
from trainer.explanation.inputs import Input
from trainer.explanation.scorer import Scored, Scorer
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import Predictions
from trainer.metrics.explanation_results import InputLoss, Loss, SliceImportance
from trainer.metrics.paired_bootstrap import paired_deltas
from trainer.metrics.results import Pair
from trainer.metrics.task_metrics import METRICS, UNDEFINED, Floats, auc, to_json
from trainer.metrics.user_draws import UserDraws, percentile_interval

_AUC = METRICS.index("auc")


class PermutedInputs:
    """Rows as they are, and with every input permuted.

    Args:
      scorer: of the model.
      rows: as they are.
      inputs: what is permuted, each by itself.
      permutations: of each.
    """

    def __init__(
        self, scorer: Scorer, rows: Scored, inputs: Sequence[Input], permutations: int
    ) -> None:
        self._scorer, self._rows, self._inputs = scorer, rows, inputs
        self._permutations = permutations
        resamples = scorer.experiment.evaluation.bootstrap
        stream = random_stream(scorer.experiment.seed, Purpose.PERMUTED_INPUT, "draws")
        self._chosen = stream.integers(permutations, size=(permutations, resamples))
        self._before = self._predictions(rows)
        self._after: dict[str, list[Predictions]] = {side: [] for side in Pair.model_fields}
        count = len(rows.rows)
        with row_bar("permute inputs", count * len(inputs) * permutations) as bar:
            for one, number in product(inputs, range(permutations)):
                seed = scorer.experiment.seed
                stream = random_stream(seed, Purpose.PERMUTED_INPUT, one.name, number)
                permuted = one.permuted(rows.rows, stream.permutation(count))
                found = self._predictions(scorer.scored(permuted, rows))
                for side, predictions in found.items():
                    self._after[side].append(predictions)
                bar.update(count)

    def losses(
        self, domains: Mapping[str, Domain]
    ) -> tuple[SliceImportance, dict[str, SliceImportance]]:
        """What all rows lose, and those of each domain."""
        experiment = self._scorer.experiment
        users = self._rows.backbone.columns["row/user"]
        draws = UserDraws(users, experiment.evaluation.bootstrap, experiment.seed)
        slices = {name: self._rows.backbone.domain_rows(domain) for name, domain in domains.items()}
        every = [np.arange(len(users)), *slices.values()]
        overall, *found = (
            self._of(chosen, draws) for chosen in tracked("intervals", every, "slices")
        )
        return overall, dict(zip(slices, found, strict=True))

    def _predictions(self, scored: Scored) -> dict[str, Predictions]:
        """By side, of the targets over all rows alone: there is one of these for every input."""
        ranking = self._scorer.experiment.tasks.ranking
        return {
            side: {task: predictions[task] for task in ranking}
            for side, predictions in self._scorer.predictions(scored).items()
        }

    def _of(self, chosen: Rows, draws: UserDraws) -> SliceImportance:
        experiment, rows = self._scorer.experiment, self._rows.backbone
        undecided, figures, lost = {}, {}, {}
        for task, of in rows_of_tasks(experiment, rows, chosen):
            if task not in experiment.tasks.ranking:
                continue
            if of.few:
                undecided[task] = of.few
                continue
            places = chosen[of.inside]
            by_side = {side: self._lost(task, side, places, of, draws) for side in self._after}
            figures[task] = Pair(**{side: to_json(found[0]) for side, found in by_side.items()})
            lost[task] = {
                one.name: InputLoss(**{side: found[1][at] for side, found in by_side.items()})
                for at, one in enumerate(self._inputs)
            }
        return SliceImportance(rows=len(chosen), auc=figures, lost=lost, undecided=undecided)

    def _lost(
        self,
        task: str,
        side: str,
        places: npt.NDArray[np.intp],
        of: RowsOfTask,
        draws: UserDraws,
    ) -> tuple[float | None, list[Loss]]:
        """AUC of a task on rows as they are, and what each input loses of it."""
        rows = self._rows.backbone
        before = self._before[side][task][places]
        after = [predictions[task][places] for predictions in self._after[side]]
        whole = auc(of.positive, before, of.weights)
        users = rows.columns["row/user"][places]
        if whole is None or len(np.unique(users)) < 2:
            return whole, [Loss(lost=UNDEFINED, ci95=UNDEFINED) for _ in self._inputs]
        requests = rows.columns["row/request"][places]
        weights, amounts = of.weights, of.amounts
        drawn = paired_deltas(
            of.positive, after, before, weights, requests, users, draws, amounts=amounts
        )
        left = (auc(of.positive, scores, weights) for scores in after)
        lost = np.array([whole - value for value in left if value is not None])
        each = range(0, len(after), self._permutations)
        parts = [slice(start, start + self._permutations) for start in each]
        return whole, [_loss(lost[part], drawn[part, :, _AUC], self._chosen) for part in parts]


def _loss(lost: Floats, drawn: Floats, chosen: npt.NDArray[np.int64]) -> Loss:
    """The mean over an input's permutations, and its interval.

    Args:
      lost: by each permutation, ``[P]``.
      drawn: the same under each draw of users, ``[P, resamples]``.
      chosen: the permutations that are drawn with each draw of users, ``[P, resamples]``.
    """
    of_draws = np.take_along_axis(drawn, chosen, axis=0).mean(axis=0)
    return Loss(lost=float(lost.mean()), ci95=percentile_interval(of_draws))
