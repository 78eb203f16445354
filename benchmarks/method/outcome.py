"""What a method leaves: scores of every domain's rows; and what a study keeps of them: AUC,
GAUC and log loss by slice, with resampled users.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.method.draws import Draws
from configs import Experiment
from configs.domains import ALL, BACKBONE, Domain
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.fallback import answering_domain
from trainer.kernels.gate import bucket_of
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import predicted_rows, route, task_rows
from trainer.training.judging_users import judges

ABSENT = "absent"
"""Slice of a domain: rows of users of whom the fine-tuning window has no row (pseudo cold
start).
"""

SERVED = "served"
"""Slice of a domain whose model is not active: its rows under the nearest active one above."""

ACTIVITY = ("0", "1-4", "5-50", "> 50")
"""Groups of users by their rows in the fine-tuning window: the buckets of
``trainer.kernels.gate``.
"""


@dataclass(frozen=True)
class Outcome:
    """Scores and costs of one method under one seed.

    Attributes:
      logits: split -> domain -> float32 ``[rows of the domain, T]``; a domain that is missing is
        scored by its first parent's that is not (``Domain.parents``), so a method that
        makes no difference between domains gives ``all`` alone.
      parameters: numbers trained for one domain (for all of them where a method has one model).
      rows: rows that were learned from, every pass counted.
      seconds: of training, forward passes included.
      active: domains whose model is better than what would answer otherwise, with its gain on the
        validation rows that judge (``activation.active_gains``); None where a method does not
        decide.
      notes: other figures worth keeping, JSON-ready.
    """

    logits: dict[str, dict[str, Floats]]
    parameters: int
    rows: int
    seconds: float
    active: dict[str, float] | None = None
    notes: dict[str, Any] = field(default_factory=dict)


AUTO = "auto"
"""Slice of all rows, each under its most specific active domain."""


def figures(
    outcome: Outcome,
    rows: dict[str, BackboneOutputs],
    window: BackboneOutputs,
    experiment: Experiment,
    draws: dict[str, Draws],
) -> dict[str, Any]:
    """JSON-ready: the outcome's costs, and split -> slice -> ``{"rows"}`` and task over all
    rows -> ``{"auc", "draws", "gauc", "gauc_draws", "log_loss", "log_loss_draws"}``.

    Slices: every domain; ``DOMAIN|absent``; ``all|activity=0`` and so on; ``DOMAIN|served`` of
      those that another domain's model answers; ``auto``. A figure that is undefined is None, its
      draws empty.
    """
    users, counts = np.unique(window.columns["row/user"], return_counts=True)
    splits: dict[str, Any] = {}
    for split, by_domain in outcome.logits.items():
        data = rows[split]
        seen = _counts_of(data.columns["row/user"], users, counts)
        splits[split] = {}
        routed = (
            AUTO,
            np.arange(len(data.logits)),
            auto_answers(experiment, data, by_domain, outcome.active),
        )
        for name, inside, logits in chain(
            _slices(experiment.domains, data, by_domain, seen),
            _served(experiment.domains, data, by_domain, outcome.active),
            [routed],
        ):
            if split == experiment.finetune.validation:  # the other users stopped the training
                kept = judges(data, inside)
                inside, logits = inside[kept], logits[kept]
            scores = predicted_rows(experiment.tasks, logits)
            cell: dict[str, Any] = {"rows": len(inside)}
            for task in experiment.tasks.ranking:
                chosen, labels = task_rows(experiment, data, inside, task)
                ours = labels, scores[task][chosen], inside[chosen]
                auc, resampled = draws[split].auc(*ours)
                within, of_requests = draws[split].gauc(
                    *ours, data.columns["row/request"][inside[chosen]]
                )
                loss, of_losses = draws[split].log_loss(*ours)
                cell[task] = {
                    "auc": auc,
                    "draws": resampled,
                    "gauc": within,
                    "gauc_draws": of_requests,
                    "log_loss": loss,
                    "log_loss_draws": of_losses,
                }
            splits[split][name] = cell
    return {
        "parameters": outcome.parameters,
        "rows": outcome.rows,
        "seconds": outcome.seconds,
        "active": None if outcome.active is None else list(outcome.active),
        "notes": outcome.notes,
        "splits": splits,
    }


def _served(
    domains: tuple[Domain, ...],
    data: BackboneOutputs,
    by_domain: dict[str, Floats],
    active: dict[str, float] | None,
) -> Iterator[tuple[str, Rows, Floats]]:
    """Of domains that another domain's model answers: name, indices of rows, their logits."""
    known = {domain.name: domain for domain in domains}
    for domain in domains if active else ():
        owner = answering_domain(domain, active or {})
        if owner not in (domain.name, BACKBONE):
            inside = data.domain_rows(domain)
            place = np.searchsorted(data.domain_rows(known[owner]), inside)
            yield f"{domain.name}|{SERVED}", inside, by_domain[owner][place]


def auto_answers(
    experiment: Experiment,
    data: BackboneOutputs,
    by_domain: dict[str, Floats],
    active: Collection[str] | None,
    compose: float | None = None,
) -> Floats:
    """Logits of all rows as ``auto`` serves them by active domains: every row under its most
    specific one, or with ``compose``, as of ``routing``, under several; the backbone's where there
    is none. Where ``active`` is None every domain of ``by_domain`` answers.
    """
    return route(
        experiment.domains,
        experiment.topics,
        data,
        {name: logits for name, logits in by_domain.items() if active is None or name in active},
        by_domain[ALL] if active is None else data.logits,
        compose,
    )


def _counts_of(
    wanted: npt.NDArray[Any], users: npt.NDArray[Any], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    place = np.minimum(np.searchsorted(users, wanted), len(users) - 1)
    return np.where(users[place] == wanted, counts[place], 0)


def _slices(
    domains: tuple[Domain, ...],
    data: BackboneOutputs,
    by_domain: dict[str, Floats],
    seen: npt.NDArray[np.int64],
) -> Iterator[tuple[str, Rows, Floats]]:
    """Name, indices of rows, their logits."""
    known = {domain.name: domain for domain in domains}
    for domain in domains:
        inside = data.domain_rows(domain)
        owner = next(known[name] for name in (domain.name, *domain.parents) if name in by_domain)
        logits = by_domain[owner.name][np.searchsorted(data.domain_rows(owner), inside)]
        yield domain.name, inside, logits
        absent = seen[inside] == 0
        yield f"{domain.name}|{ABSENT}", inside[absent], logits[absent]
        if not domain.conditions:
            buckets = bucket_of(seen[inside])
            for bucket, label in enumerate(ACTIVITY):
                group = buckets == bucket
                yield f"{domain.name}|activity={label}", inside[group], logits[group]
