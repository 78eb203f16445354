"""Trains one shard of a fleet. The first that comes computes what all of them read: the taps of the
window and of validation, and the kernel of all traffic.
"""

import sys
from pathlib import Path

from configs import Experiment, InputError
from configs.asides import sole_writer
from configs.domains import ALL, Domain, named_domains
from configs.errors import first_names
from configs.files import atomic_directory
from preprocessing.dataset.manifest import load_manifest
from trainer.ancestry.ancestor import inherited_kernels
from trainer.backbone.stored_outputs import read_outputs, write_outputs
from trainer.fleet.folders import Fleet, record_of
from trainer.fleet.plan import Asked, Plan, Shard, shares
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training.domain_training import DomainTraining
from trainer.training.finetune import FineTuning, without_pinned
from trainer.training.warm_start import possible_starts, start_name

WINDOW, VALIDATION = "window", "validation"
"""Folders of the rows in a fleet's base."""


def finetune_shard(
    experiment: Experiment, data: Path, job: Job, names: list[str], shard: Shard
) -> str:
    """Trains the domains of a shard into a folder of its own, unless it is there already. The
    registry is left alone (``trainer.fleet.gather``).

    Args:
      experiment: settings; the same for every shard, as are ``data`` and ``names``.
      data: folder of the dataset.
      job: of the backbone.
      names: domains to tune; all of them where none is named.
      shard: which.

    Returns:
      What it has done, in one line.

    Raises:
      InputError: as ``trainer.training.finetune.finetune``, or the shards that are there were
        planned for something else.
    """
    wanted = named_domains(experiment.domains, names, "--domains")
    job.check_finished()
    fleet = Fleet(job)
    plan = _planned(experiment, data, job, wanted, fleet, shard)
    mine = plan.shares[shard.number - 1]
    if _is_there(fleet, plan, shard):
        return f"shard {shard}: {_words(plan, shard)} there already"
    fleet.check_base(plan)
    training = DomainTraining(
        experiment,
        fleet.starts(plan),
        job.logs / "finetune",
        plan.shape,
        read_outputs(fleet.base / WINDOW),
        read_outputs(fleet.base / VALIDATION),
        inherited_kernels(job, plan.shape),
    )
    if mine:
        training.train([domain for domain in experiment.domains if domain.name in mine])
    fleet.write_shard(plan, shard, [training.trained[name] for name in mine])
    return f"shard {shard}: {_words(plan, shard)} trained"


def _words(plan: Plan, shard: Shard) -> str:
    mine = plan.shares[shard.number - 1]
    if not mine:
        there = sum(map(len, plan.shares))
        return f"no domain of {there} for {shard.of} shards, so nothing"
    return first_names(mine)


def _is_there(fleet: Fleet, plan: Plan, shard: Shard) -> bool:
    try:
        return fleet.record(plan, shard) is not None
    except InputError as error:
        print(f"warning: {error}; it is trained anew", file=sys.stderr)
        return False


def _planned(
    experiment: Experiment,
    data: Path,
    job: Job,
    wanted: list[Domain],
    fleet: Fleet,
    shard: Shard,
) -> Plan:
    """The plan, made where there is none yet. Shards that come meanwhile wait."""
    asked = asked_for(experiment, data, job, wanted, shard.of)
    with sole_writer(fleet.folder):
        plan = fleet.plan()
        difference = plan.difference(asked) if plan else ""
        if plan and difference and fleet.gathered(plan):
            fleet.clear()
            plan = None
        elif plan and difference:
            raise InputError(refusal(fleet, plan, difference))
        if plan is None:
            fleet.forget_gathered()
            plan = _new_plan(experiment, data, job, wanted, fleet, asked)
        return plan


def asked_for(
    experiment: Experiment, data: Path, job: Job, wanted: list[Domain], shards: int
) -> Asked:
    """What a command asks for, from the manifests of dataset and kernels alone."""
    store, tuned = KernelStore(job), {domain.name for domain in wanted}
    versions = {
        name: store.active_or_newest_version(name)
        for name in sorted(possible_starts(experiment.finetune.warm_start, tuned) - tuned)
    }
    start = {name: version for name, version in versions.items() if version}
    return Asked.of(store.fingerprint, experiment, load_manifest(data), wanted, start, shards)


def refusal(fleet: Fleet, plan: Plan, difference: str) -> str:
    """Why shards of something else are no part of a plan."""
    return (
        f"{fleet.folder}: its {plan.asked.shards} shards were planned for another {difference} than"
        " this command's; run it as they were run, gather them first, or delete"
        f" {fleet.folder} to give them up"
    )


def _new_plan(
    experiment: Experiment, data: Path, job: Job, wanted: list[Domain], fleet: Fleet, asked: Asked
) -> Plan:
    domains, _ = without_pinned(wanted, KernelStore(job))
    if not domains:
        raise InputError(f"--shard: all of {', '.join(asked.domains)} are pinned: nothing to tune")
    run = FineTuning.open(experiment, data, job, domains)
    window, validation = run.rows()
    logs = job.logs / "finetune"
    training = DomainTraining(
        experiment, run.start, logs, run.shape, window, validation, run.inherited
    )
    training.train_all_traffic()
    tuned = {domain.name for domain in domains}
    names = [
        domain.name
        for domain in experiment.domains
        if domain.name in tuned & training.rows.keys() - training.trained.keys()
    ]
    known = {**training.kernels, **dict.fromkeys(names, training.kernels.get(ALL, {}))}
    warm_start = experiment.finetune.warm_start

    def start(name: str) -> str:
        return start_name(warm_start, Domain.parse(name, experiment.topics), known)

    with atomic_directory(fleet.base) as new:
        write_outputs(new / WINDOW, window)
        write_outputs(new / VALIDATION, validation)
        files = fleet.write_base(new, training.trained.values(), training.kernels)
        plan = Plan(
            asked=asked,
            pinned=tuple(name for name in asked.domains if name not in tuned),
            shape=run.shape,
            shares=shares(names, training.rows, start, asked.shards),
            trained=tuple(map(record_of, training.trained.values())),
            starts=tuple(training.kernels),
            files=files,
        )
        fleet.write_plan(new, plan)
    return plan
