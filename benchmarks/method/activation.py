"""Which models of a study's method would be served, by the rule of fine-tuning's first day."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from configs import Experiment
from configs.domains import Domain
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.deciding import Answering, Candidate, decide
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import mean_auc


@dataclass(frozen=True)
class Judged:
    """A domain's model on the rows that judge it.

    Attributes:
      domain: the domain.
      rows: its judging rows of validation, ascending (``judging_users.judging_rows``).
      logits: of the model, ``[len(rows), T]``.
    """

    domain: Domain
    rows: Rows
    logits: Floats

    def scores(self, rows: Rows) -> Floats:
        """Logits of some of the rows."""
        return self.logits[np.searchsorted(self.rows, rows)]

    def gain(self, experiment: Experiment, validation: BackboneOutputs) -> float:
        """Mean AUC difference from the backbone, of the tasks over all rows; 0 where it is
        undefined.
        """
        own, without = (
            mean_auc(experiment, validation, self.rows, logits)
            for logits in (self.logits, validation.logits[self.rows])
        )
        return 0.0 if own is None or without is None else own - without


def active_gains(
    experiment: Experiment, validation: BackboneOutputs, judged: Iterable[Judged]
) -> dict[str, float]:
    """The domains whose models are better than what would answer otherwise, where nothing is served
    yet (``trainer.evaluation.deciding``), with their gains.
    """
    models = {
        one.domain.name: (
            one,
            Answering(one.domain.name, one.gain(experiment, validation), one.scores),
        )
        for one in judged
    }
    candidates = [Candidate(one.domain, one.rows, new, None) for one, new in models.values()]
    decisions = decide(experiment, validation, candidates, {})
    return {
        name: models[name][1].gain
        for name, decision in decisions.items()
        if decision.outcome == "activate"
    }
