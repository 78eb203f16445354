"""What a run of fine-tuning would change, before it does: for whoever has to approve it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs import Experiment
from configs.domains import Domain
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.deciding import Answering, Candidate
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import auto_logits, entire_space_aucs
from trainer.metrics.task_metrics import mean_defined
from trainer.registry.decision import Decision


@dataclass(frozen=True)
class Proposal:
    """What would be served.

    Attributes:
      experiment: names domains, topics and tasks.
      data: the validation rows.
      judging: those of them that judge and that the backbone has scored.
      before: domain -> what answers it now, of the domains that are served.
      after: the same once the decisions are carried out.
      decisions: domain -> what was decided, less the numbers of versions.
    """

    experiment: Experiment
    data: BackboneOutputs
    judging: Rows
    before: Mapping[str, Answering]
    after: Mapping[str, Answering]
    decisions: Mapping[str, Decision]

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        data: BackboneOutputs,
        candidates: Sequence[Candidate],
        decisions: Mapping[str, Decision],
        others: Mapping[str, Answering],
    ) -> "Proposal":
        """That of a run; the rows that judge are those of the candidates. Arguments are those of
        ``trainer.evaluation.deciding.decide`` and what it gave.
        """
        after = dict(others)
        for candidate in candidates:
            outcome = decisions[candidate.domain.name].outcome
            answers = candidate.new if outcome == "activate" else candidate.served
            if answers and outcome != "deactivate":
                after[candidate.domain.name] = answers
        before = dict(others) | {c.domain.name: c.served for c in candidates if c.served}
        parts = [candidate.rows for candidate in candidates]
        rows = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
        scored = rows[np.isfinite(data.logits[rows]).all(axis=1)]
        return cls(experiment, data, scored, before, after, decisions)

    @property
    def deactivated(self) -> list[str]:
        """The domains that are served now and would be no more."""
        return [name for name in self.before if name not in self.after]

    def auc(self, served: Mapping[str, Answering]) -> float | None:
        """The AUC of the judging rows as ``auto`` serves them, the mean of the tasks over all rows;
        None where it is undefined.

        Args:
          served: ``before``, ``after``, or nothing for the backbone alone. Domains that the config
            does not have answer none of its rows.
        """
        if not len(self.judging):
            return None
        domains = [domain for domain in self.experiment.domains if domain.name in served]

        def score(domain: Domain, rows: Rows) -> Floats:
            return served[domain.name].scores(rows)

        logits = auto_logits(
            domains,
            self.experiment.topics,
            self.data,
            score,
            self.data.logits,
            self.experiment.routing.compose,
        )[1][self.judging]
        found = entire_space_aucs(self.experiment, self.data, self.judging, logits)
        return mean_defined(found.values())


Approve = Callable[[Proposal], object]
"""Looks at what is proposed, and raises where it must not be released."""
