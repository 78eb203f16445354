"""Which active kernels of a job are worse than what would answer in their place."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from configs import Experiment
from configs.domains import Domain
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.comparison import paired_rows
from trainer.evaluation.kernel_rows import KernelRows
from trainer.job import Job
from trainer.kernels.fallback import answering_domain
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import score_rows
from trainer.metrics.paired_bootstrap import paired_comparison
from trainer.metrics.results import Interval
from trainer.metrics.task_metrics import UNDEFINED
from trainer.registry.kernel_registry import KernelStore, StoredKernel


def below_fallback(
    experiment: Experiment, data: Path, job: Job, split: str | None = None
) -> dict[str, dict[str, Interval]]:
    """Compares every active kernel with its domain's fallback on the domain's rows of a split.

    Args:
      experiment: defines the domains.
      data: a dataset of it.
      job: the job.
      split: ``evaluation.split`` where None.

    Returns:
      Domain -> task -> 95% interval of the AUC difference, of those kernels whose interval lies
      below 0 in a task over all rows.
    """
    store = KernelStore(job)
    kernels = {domain: store.load(domain, version) for domain, version in store.active().items()}
    name = split or experiment.evaluation.split
    rows = KernelRows.open(experiment, data, job, list(kernels.values())).of_split(name, name)
    found: dict[str, dict[str, Interval]] = {}
    for domain in kernels:
        gains = {name: k.measured_gain for name, k in kernels.items() if name != domain}
        parsed = Domain.parse(domain, experiment.topics)
        inside = rows.domain_rows(parsed)
        other = kernels.get(answering_domain(parsed, gains))
        below = _below(experiment, rows, inside, _logits(kernels[domain], rows, inside), other)
        if below:
            found[domain] = below
    return found


def _below(
    experiment: Experiment,
    rows: BackboneOutputs,
    inside: Rows,
    own: Floats,
    other: StoredKernel | None,
) -> dict[str, Interval]:
    reference = replace(rows, logits=rows.logits.copy())
    reference.logits[inside] = _logits(other, rows, inside)
    below: dict[str, Interval] = {}
    for task, pair in paired_rows(experiment, reference, inside, own):
        if task not in experiment.tasks.ranking or len(np.unique(pair.labels)) < 2:
            continue
        interval = paired_comparison(*pair, experiment.evaluation.bootstrap, experiment.seed)[
            "auc"
        ].ci95
        if interval != UNDEFINED and float(interval[1]) < 0:
            below[task] = interval
    return below


def _logits(kernel: StoredKernel | None, rows: BackboneOutputs, inside: Rows) -> Floats:
    if kernel is None:
        return rows.logits[inside]
    return score_rows(kernel.shape, kernel.weights, rows, inside)
