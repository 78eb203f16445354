"""Figures of a backbone on a validation split, while it is trained."""

import numpy as np

from configs import Experiment
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.scoring import entire_space_aucs
from trainer.losses import Objectives, learned_scores
from trainer.metrics.task_metrics import mean_defined


def shown(figures: dict[str, float | None]) -> str:
    """Figures of validation as a line."""
    shown = (
        f"{name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in figures.items()
    )
    return ", ".join(shown)


def validation_figures(
    outputs: BackboneOutputs, objectives: Objectives, experiment: Experiment
) -> dict[str, float | None]:
    """Loss, and AUC of the targets over all rows, of the frozen backbone on a validation split;
    None where a split has one class only.
    """
    scores = learned_scores(experiment.tasks, tf.constant(outputs.logits))
    found = outputs.loss_columns(experiment.tasks, np.arange(len(outputs.logits)))
    columns = {name: tf.constant(values) for name, values in found.items()}
    aucs = entire_space_aucs(experiment, outputs, np.arange(len(outputs.logits)), outputs.logits)
    return {
        "loss": float(objectives.loss(scores, columns, compute_metrics=False)),
        **{f"{task}_auc": value for task, value in aucs.items()},
    }


def monitored(figures: dict[str, float | None], monitor: str) -> float:
    """The figure that early stopping maximises: minus the loss, or the mean of the AUCs that are
    defined (minus the loss where none is).
    """
    auc = mean_defined(value for name, value in figures.items() if name.endswith("_auc"))
    if monitor == "auc" and auc is not None:
        return auc
    loss = figures["loss"]
    return -loss if loss is not None else float("-inf")
