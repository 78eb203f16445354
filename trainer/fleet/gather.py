"""Gathers the shards of a fleet: one process judges all their kernels, stores them, and serves what
is decided, as one run of fine-tuning does.
"""

from pathlib import Path

from configs import Experiment, InputError
from configs.domains import Domain
from configs.errors import first_names
from trainer.backbone.stored_outputs import read_outputs
from trainer.fleet.folders import Fleet
from trainer.fleet.plan import Plan, Shard
from trainer.fleet.shard import VALIDATION, asked_for, refusal
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import FineTuning
from trainer.training.outcome import Outcome
from trainer.training.release import Trained

_SHOWN = 8


def gather(experiment: Experiment, data: Path, job: Job) -> list[Outcome]:
    """Releases what the shards have trained. Once more it is the same: versions that are stored
    already are found again.

    Args:
      experiment: the shards' own.
      data: the folder of their dataset.
      job: their job.

    Returns:
      As ``trainer.training.finetune.finetune``.

    Raises:
      InputError: a shard is missing, damaged or of another plan, or the plan is of another config,
        dataset or backbone.
    """
    job.check_finished()
    fleet = Fleet(job)
    plan = fleet.plan()
    if plan is None:
        raise InputError(
            f"{fleet.folder}: no shards to gather; run python -m trainer.task finetune --shard 1/N"
            " to N/N first"
        )
    asked = asked_for(experiment, data, job, [], plan.asked.shards)
    if difference := plan.difference(asked, ignoring=("domains", "start", "shards")):
        raise InputError(refusal(fleet, plan, difference))
    trained = _trained(experiment, fleet, plan)
    fleet.check_base(plan)
    store = KernelStore(job)
    held = {*plan.pinned, *store.pinned()}  # a pin may have come since the plan
    domains = [Domain.parse(name, experiment.topics) for name in plan.tuned if name not in held]
    outcomes = []
    if domains:
        run = FineTuning.open(experiment, data, job, domains)
        outcomes = run.release(trained, read_outputs(fleet.base / VALIDATION))
    fleet.mark_gathered(plan)
    active = store.active()
    left = [name for name in plan.asked.domains if name in held]
    return [*outcomes, *(Outcome.pinned(name, active.get(name)) for name in left)]


def _trained(experiment: Experiment, fleet: Fleet, plan: Plan) -> dict[str, Trained]:
    """What all shards have trained; of the domains that have no rows, that."""
    every = [Shard(number, plan.asked.shards) for number in range(1, plan.asked.shards + 1)]
    records = {shard: fleet.record(plan, shard) for shard in every}
    missing = [str(shard) for shard, record in records.items() if record is None]
    if missing:
        raise InputError(
            f"{fleet.folder}: missing shards {first_names(missing, _SHOWN)} of"
            f" {len(every)}; run python -m trainer.task finetune --shard {missing[0]}"
        )
    found = fleet.trained(experiment, fleet.base, plan.trained)
    for shard, record in records.items():
        if record is not None:
            found |= fleet.trained(experiment, fleet.shard(shard), record.trained)
    for name in plan.tuned:
        domain = Domain.parse(name, experiment.topics)
        found.setdefault(name, Trained.nothing(domain, experiment.topics))
    return found
