"""``--shard`` of ``python -m trainer.task finetune``, and ``gather``, on the command line."""

import argparse

from configs import Experiment
from trainer.fleet.plan import Shard, parse_shard
from trainer.job import Job

GATHER = "judge, store and serve what the shards of finetune --shard have trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--shard``."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="train the I-th of N parts of the domains into a folder of its own; gather adds them",
    )


def shard_of(arguments: argparse.Namespace) -> Shard | None:
    """The shard that is asked for; None where all domains are. Raises ``InputError``."""
    text = getattr(arguments, "shard", None)
    return None if text is None else parse_shard(text)


def shard_command(
    arguments: argparse.Namespace, experiment: Experiment, job: Job, shard: Shard
) -> str:
    """Trains a shard; gives the line to print."""
    from trainer.fleet.shard import finetune_shard

    return finetune_shard(experiment, arguments.data, job, arguments.domains, shard)


def gather_command(arguments: argparse.Namespace, experiment: Experiment, job: Job) -> str:
    """Gathers the shards; gives the table to print."""
    from trainer.fleet.gather import gather
    from trainer.training.outcome import render_outcomes

    outcomes = gather(experiment, arguments.data, job)
    return render_outcomes(outcomes, experiment.tasks.ranking)
