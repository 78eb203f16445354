"""How the gates of a body mix experts in every domain."""

from collections.abc import Mapping

import numpy as np

from configs import Experiment
from configs.domains import Domain
from trainer.backbone.expert_gates import expert_gates, gate_weights
from trainer.backbone.frozen_pass import Floats, feature_tensors
from trainer.explanation.scorer import Scored, Scorer
from trainer.kernels.kernel import Rows
from trainer.metrics.explanation_results import GateUse


def expert_use(
    scorer: Scorer, trained: Experiment, rows: Scored, domains: Mapping[str, Domain]
) -> dict[str, GateUse] | None:
    """Gate -> mean weights of its experts, by sample weight; None where the body has no gates.

    Args:
      scorer: of the model.
      trained: the experiment that the backbone was trained with.
      rows: as they are.
      domains: by name.
    """
    gates = expert_gates(trained.backbone, trained.tasks.towers)
    if not gates:
        return None
    model = scorer.model
    found = gate_weights(model, gates, feature_tensors(rows.rows.parts, model))
    weights = rows.backbone.weights
    inside = {name: rows.backbone.domain_rows(domain) for name, domain in domains.items()}
    every = np.arange(len(weights))
    return {
        name: GateUse(
            task=gate.task,
            experts=gate.experts,
            overall=_mean(found[name], weights, every) or (),
            domains={
                domain: _mean(found[name], weights, chosen) for domain, chosen in inside.items()
            },
        )
        for name, gate in gates.items()
    }


def _mean(values: Floats, weights: Floats, chosen: Rows) -> tuple[float, ...] | None:
    """Mean rows of values, by weight; None where nothing has weight."""
    w = weights[chosen].astype(np.float64)
    if not w.sum() > 0:
        return None
    return tuple(np.average(values[chosen].astype(np.float64), axis=0, weights=w).tolist())
