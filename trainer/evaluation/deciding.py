"""Decides what answers every domain that a run has tuned: the new kernel, what answers now, or the
domain above.

A kernel is compared with what would answer its domain's rows otherwise, on the same judging rows:
the version that is served now, else the domain's fallback. Domains are decided from above (all
traffic, then one topic, then two), because what answers below depends on what is served above. The
levels of a run have equal shares of the error that it may make, so the whole run keeps to it
whatever the levels have in common (our choice: by its number of domains the kernel of all traffic,
which answers most rows, would hardly have any).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from configs import Experiment
from configs.domains import BACKBONE, Domain
from configs.training import Activation
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.activation import Evidence, Verdict, gather_evidence, judge
from trainer.evaluation.comparison import paired_rows
from trainer.kernels.fallback import answering_domain
from trainer.kernels.kernel import Rows
from trainer.registry.decision import Decision

_DAY = 86_400  # seconds


@dataclass(frozen=True)
class Answering:
    """A kernel that can answer rows.

    Attributes:
      name: of it, for reasons: ``version 3``.
      gain: that it was measured to have, by which fallbacks are chosen.
      scores: rows ``[N]`` -> their logits ``[N, 2]``.
    """

    name: str
    gain: float
    scores: Callable[[Rows], Floats]


@dataclass(frozen=True)
class Candidate:
    """A domain that is to be decided.

    Attributes:
      domain: the domain.
      rows: those that judge.
      new: the kernel that was trained; None where there is none.
      served: what answers the domain now; None where nothing of its own does. The same object as
        ``new`` where the run has trained once more what is served.
      otherwise: why there is no new kernel, or why what is served cannot be compared with it and
        must go; empty where neither is so.
      must_go: whether what is active cannot stay, whatever the figures say.
    """

    domain: Domain
    rows: Rows
    new: Answering | None
    served: Answering | None
    otherwise: str = ""
    must_go: bool = False


def decide(
    experiment: Experiment,
    data: BackboneOutputs,
    candidates: Sequence[Candidate],
    others: Mapping[str, Answering],
) -> dict[str, Decision]:
    """Decides all domains of a run.

    Args:
      experiment: ``finetune.activation``, tasks.
      data: the validation rows.
      candidates: what is decided.
      others: domain -> what is served, of the domains that are not decided.

    Returns:
      The decisions, less the numbers of versions, in the order of ``candidates``.
    """
    served = dict(others) | {c.domain.name: c.served for c in candidates if c.served}
    found: dict[str, Decision] = {}
    depths = sorted({len(candidate.domain.conditions) for candidate in candidates})
    for depth in depths:
        level = [c for c in candidates if len(c.domain.conditions) == depth]
        run = _Level(experiment, data, level, served, 1.0 / len(depths))
        for candidate, decision in zip(level, run.decisions(), strict=True):
            name = candidate.domain.name
            found[name] = decision
            if decision.outcome == "activate" and candidate.new:
                served[name] = candidate.new
            elif decision.outcome == "deactivate":
                served.pop(name, None)
    return {candidate.domain.name: found[candidate.domain.name] for candidate in candidates}


class _Level:
    """Domains that do not stand above each other."""

    def __init__(
        self,
        experiment: Experiment,
        data: BackboneOutputs,
        level: Sequence[Candidate],
        served: Mapping[str, Answering],
        share: float,
    ) -> None:
        self._experiment, self._data, self._level, self._share = experiment, data, level, share
        self._fallbacks = {c.domain.name: self._fallback(c, served) for c in level}

    def decisions(self) -> list[Decision]:
        """One for each domain of the level, in order."""
        aged = self._judge(
            {c.domain.name: (c.served, self._fallbacks[c.domain.name]) for c in self._level}
        )
        stale = {name for name, (_, verdict) in aged.items() if verdict.harms}
        incumbents = {
            c.domain.name: c.served
            if c.served and c.served is not c.new and c.domain.name not in stale
            else self._fallbacks[c.domain.name]
            for c in self._level
        }
        new = self._judge({c.domain.name: (c.new, incumbents[c.domain.name]) for c in self._level})
        beside = self._judge(
            {
                c.domain.name: (c.new, self._fallbacks[c.domain.name])
                for c in self._level
                if incumbents[c.domain.name] is c.served
            }
        )
        harmful = {name for name, (_, verdict) in beside.items() if verdict.harms}
        decided = []
        for candidate in self._level:
            name = candidate.domain.name
            against, fallback = incumbents[name].name, self._fallbacks[name].name
            evidence, verdict = new.get(name, (None, None))
            tests, positives = (
                (dict(evidence.tests), dict(evidence.positives)) if evidence else ({}, {})
            )
            if verdict and verdict.helps and name not in harmful:
                outcome, reason = "activate", f"better than {against}: {verdict.reason}"
                reason = _joined(reason, self._below_backbone(candidate), candidate.otherwise)
            elif name in stale:
                outcome = "deactivate"
                reason = f"what was served is below {fallback}: {aged[name][1].reason}"
            elif candidate.must_go:
                unproven = _unproven(candidate, verdict, against) if verdict else ""
                outcome, reason = "deactivate", _joined(unproven, candidate.otherwise)
            else:
                outcome, reason = "keep", _unproven(candidate, verdict, against)
                if verdict and verdict.helps:
                    reason = f"below {fallback}: {beside[name][1].reason}"
            decided.append(
                Decision.model_validate(
                    {
                        "outcome": outcome,
                        "reason": reason,
                        "against": against,
                        "tests": tests,
                        "positives": positives,
                    }
                )
            )
        return decided

    def _days(self) -> float:
        """How many days judge: as long as the split is, but no more than rows are of."""
        days = self._experiment.splits[self._experiment.finetune.validation].days
        moments = self._data.columns.get("row/timestamp")
        return days if moments is None else min(days, len(np.unique(moments // _DAY)))

    def _below_backbone(self, candidate: Candidate) -> str:
        """Says where a kernel that is better than what it replaces is below the backbone itself,
        since what is above it is, too: nobody but a person can choose the backbone.
        """
        name = candidate.domain.name
        if self._fallbacks[name].name == BACKBONE:
            return ""
        (_, verdict) = self._judge({name: (candidate.new, self._backbone)})[name]
        return f"both are below the backbone: {verdict.reason}" if verdict.harms else ""

    @property
    def _backbone(self) -> Answering:
        return Answering(BACKBONE, 0.0, lambda rows: self._data.logits[rows])

    def _fallback(self, candidate: Candidate, served: Mapping[str, Answering]) -> Answering:
        above = {name: s for name, s in served.items() if name != candidate.domain.name}
        name = answering_domain(candidate.domain, {name: s.gain for name, s in above.items()})
        if name == BACKBONE:
            return self._backbone
        return Answering(name, above[name].gain, above[name].scores)

    def _judge(
        self, pairs: Mapping[str, tuple[Answering | None, Answering]]
    ) -> dict[str, tuple[Evidence, Verdict]]:
        """Judges the first of every pair against the second; what has no first is left out."""
        settings: Activation = self._experiment.finetune.activation
        days = self._days()
        rows_of = {candidate.domain.name: candidate.rows for candidate in self._level}
        evidence = {}
        for name, (one, other) in pairs.items():
            if one is None:
                continue
            rows = rows_of[name]
            compared = paired_rows(
                self._experiment, self._data, rows, one.scores(rows), other.scores(rows)
            )
            evidence[name] = gather_evidence(
                compared, self._experiment.tasks.ranking, settings, days
            )
        verdicts = judge(evidence, settings, self._share)
        return {name: (evidence[name], verdict) for name, verdict in verdicts.items()}


def _joined(*clauses: str) -> str:
    return "; ".join(filter(None, clauses))


def _unproven(candidate: Candidate, verdict: Verdict | None, against: str) -> str:
    if verdict is None:
        return candidate.otherwise
    return f"not better than {against}: {verdict.reason}"
