"""A kernel against what it is compared with, on the same rows: every task and metric, with
intervals.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from configs import Experiment
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import predicted_rows, task_rows
from trainer.metrics.decidable import too_few
from trainer.metrics.paired_bootstrap import paired_comparison, paired_comparisons
from trainer.metrics.results import DomainComparison, DomainComparisons, TaskComparisons
from trainer.metrics.task_metrics import UNDEFINED, metric_names


class PairedRows(NamedTuple):
    """What ``trainer.metrics.paired_bootstrap`` compares: the rows of a task's sample space.

    Attributes:
      labels: ``[N]``, 0 or 1; of an amount, whether it is above the typical one.
      backbone: ``[N]`` probabilities of the reference, by default the backbone.
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


class ComparedRows(NamedTuple):
    """``PairedRows`` with any number of references.

    Attributes:
      labels: as there.
      references: of each, ``[N]`` probabilities.
      kernel: ``[N]`` probabilities.
      weights: ``[N]``.
      requests: ``[N]``.
      users: ``[N]``.
    """

    labels: Floats
    references: list[Floats]
    kernel: Floats
    weights: Floats
    requests: npt.NDArray[np.generic]
    users: npt.NDArray[np.generic]


def amounts_of(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, task: str
) -> Floats | None:
    """What a task was to predict on those of the rows where it is defined, in the order of
    ``compared_rows``; None of probabilities, which labels say.
    """
    if experiment.tasks.targets[task].amount is None:
        return None
    _, amounts = task_rows(experiment, data, rows, task)
    return amounts


def compared_rows(
    experiment: Experiment,
    data: BackboneOutputs,
    rows: Rows,
    references: list[Floats],
    kernel_logits_of_rows: Floats,
) -> Iterator[tuple[str, ComparedRows]]:
    """Yields each task and its rows; ``references`` are logits ``[len(rows), T]``."""
    *before, after = (
        predicted_rows(experiment.tasks, logits) for logits in (*references, kernel_logits_of_rows)
    )
    for task in experiment.tasks.targets:
        inside, labels = task_rows(experiment, data, rows, task)
        chosen, target = rows[inside], experiment.tasks.targets[task]
        yield (
            task,
            ComparedRows(
                (labels > target.threshold).astype(np.float32),
                [scores[task][inside] for scores in before],
                after[task][inside],
                data.weights[chosen],
                data.columns["row/request"][chosen],
                data.columns["row/user"][chosen],
            ),
        )


def paired_rows(
    experiment: Experiment,
    data: BackboneOutputs,
    rows: Rows,
    kernel_logits_of_rows: Floats,
    reference_logits_of_rows: Floats | None = None,
) -> Iterator[tuple[str, PairedRows]]:
    """Yields each task and its paired rows.

    Args:
      experiment: names the labels.
      data: where the rows are.
      rows: indices ``[N]``.
      kernel_logits_of_rows: ``[N, T]``.
      reference_logits_of_rows: of what the kernel is compared with, ``[N, T]``; the backbone's
        where None.
    """
    before = data.logits[rows] if reference_logits_of_rows is None else reference_logits_of_rows
    for task, found in compared_rows(experiment, data, rows, [before], kernel_logits_of_rows):
        (reference,) = found.references
        yield (
            task,
            PairedRows(
                found.labels, reference, found.kernel, found.weights, found.requests, found.users
            ),
        )


def compare(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, kernel_logits_of_rows: Floats
) -> TaskComparisons:
    """task -> metric -> backbone, kernel, delta and its 95% interval, over the given rows."""
    return {
        task: paired_comparison(
            *pair,
            experiment.evaluation.bootstrap,
            experiment.seed,
            amounts=amounts_of(experiment, data, rows, task),
        )
        for task, pair in paired_rows(experiment, data, rows, kernel_logits_of_rows)
    }


def compare_with_both(
    experiment: Experiment,
    data: BackboneOutputs,
    rows: Rows,
    kernel_logits_of_rows: Floats,
    logits_of_all: Floats | None,
) -> DomainComparisons:
    """task -> metric -> comparison with the backbone and with the kernel of all traffic, whose
    logits of the rows, ``[N, T]``, are None where there is no such kernel. The other arguments are
    ``paired_rows``'s. A task that is undecidable on these rows has no figure.
    """
    references = [data.logits[rows], *([] if logits_of_all is None else [logits_of_all])]
    found: DomainComparisons = {}
    for task, sides in compared_rows(experiment, data, rows, references, kernel_logits_of_rows):
        amounts = amounts_of(experiment, data, rows, task)
        if too_few(sides.labels, sides.weights, experiment.evaluation.minimum_positives):
            nothing = DomainComparison(
                backbone=UNDEFINED, kernel=UNDEFINED, delta=UNDEFINED, ci95=UNDEFINED
            )
            found[task] = dict.fromkeys(metric_names(amount=amounts is not None), nothing)
            continue
        over, *over_all = paired_comparisons(
            *sides, experiment.evaluation.bootstrap, experiment.seed, amounts=amounts
        )
        found[task] = {
            metric: DomainComparison(
                **dict(cell),
                **(
                    {"all": other.backbone, "delta_all": other.delta, "ci95_all": other.ci95}
                    if (other := over_all[0][metric] if over_all else None)
                    else {}
                ),
            )
            for metric, cell in over.items()
        }
    return found
