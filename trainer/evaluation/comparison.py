"""A kernel against the backbone on the same rows: every task and metric, with intervals."""

from typing import Any

from configs import Experiment
from configs.schema import TASK_NAMES
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import probabilities, task_rows
from trainer.metrics.paired_bootstrap import paired_comparison


def compare(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, kernel_logits_of_rows: Floats
) -> dict[str, Any]:
    """task -> metric -> backbone, kernel, delta and its 95% interval, over the given rows."""
    backbone, kernel = probabilities(data.logits[rows]), probabilities(kernel_logits_of_rows)
    figures = {}
    for task in TASK_NAMES:
        inside, labels = task_rows(experiment, data, rows, task)
        chosen = rows[inside]
        figures[task] = paired_comparison(
            labels,
            backbone[task][inside],
            kernel[task][inside],
            data.weights[chosen],
            data.columns["row/request"][chosen],
            data.columns["row/user"][chosen],
            experiment.evaluation.bootstrap,
            experiment.seed,
        )
    return figures
