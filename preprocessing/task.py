"""``python -m preprocessing.task`` turns logs into TFRecords and ``manifest.json`` by Beam."""

import argparse
import sys

from configs import InputError
from configs.asides import temporary_files
from configs.cli import CommandParser, add_config_arguments, read_config, run
from preprocessing.beam.flags import (
    BEAM_OPTIONS,
    add_shared_filesystem,
    check_matches,
    runner_flags,
    split_arguments,
)
from preprocessing.beam.logging import keep_quiet
from preprocessing.beam.progress import say
from preprocessing.validation.newest_day import as_of_logs


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments, and Beam's with the local defaults added. Exits with code 2 and one
    line where an option is unknown.
    """
    ours, flags = own_and_others(arguments)
    return ours, runner_flags(flags)


def own_parser() -> CommandParser:
    """The command's own arguments."""
    parser = CommandParser(
        prog="python -m preprocessing.task",
        description=__doc__,
        epilog=BEAM_OPTIONS,
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--input",
        metavar="GLOB",
        help="logs: CSV, JSON lines or Parquet; a glob, a folder or a file (default: data.input)",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of the dataset; replaces a former dataset",
    )
    parser.add_argument(
        "--transform",
        metavar="DIR",
        help=(
            "a job or a dataset whose fitted transform is applied, so that its backbone can read"
            " these logs; nothing is fitted, and one split with rows is enough"
        ),
    )
    parser.add_argument(
        "--grow",
        metavar="DIR",
        help=(
            "a job or a dataset whose transform is grown by the values of these logs, so that"
            " trainer.task pretrain --from can go on from its backbone: old values keep their ids"
        ),
    )
    add_shared_filesystem(parser)
    return parser


def own_and_others(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments and Beam's, which is imported only where there are options not ours."""
    return split_arguments(own_parser(), arguments)


def main(arguments: list[str]) -> None:
    """The command. Raises ``InputError``."""
    keep_quiet()
    ours, others = own_and_others(arguments)
    experiment = read_config(ours, as_of_logs(ours.input))
    if not ours.output:
        raise InputError("--output is empty; expected a folder")
    for option, folder in (("--transform", ours.transform), ("--grow", ours.grow)):
        if folder == "":
            raise InputError(f"{option} is empty; expected the folder of a job or of a dataset")
    if ours.transform and ours.grow:
        raise InputError(
            "--transform and --grow are both given: the first leaves a transform as it is, the"
            " second grows it; expected one of them"
        )
    logs = experiment.data.input if ours.input is None else ours.input
    if not logs:
        raise InputError("no logs: expected --input or the config's data.input")
    check_matches(logs)
    from preprocessing.beam.dataset_job import Job
    from preprocessing.beam.guards import say_rejected
    from preprocessing.beam.profiling import say_changes

    flags = tuple(runner_flags(others))
    with temporary_files():
        manifest = Job(
            experiment,
            logs,
            ours.output,
            flags,
            ours.transform,
            ours.shared_filesystem,
            ours.grow,
        ).run()
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in manifest.splits.items())
    applied = f"; transform of {ours.transform}" if ours.transform is not None else ""
    say(
        f"{ours.output}: {splits}; outside every split {manifest.outside_splits:,}; rejected"
        f" {sum(manifest.rejected.values()):,}{applied}"
    )
    if manifest.grown:
        for name, about in manifest.grown.features.items():
            say(f"vocabulary of {name}, grown from {ours.grow}: {about.words}")
    say_rejected(manifest.rejected, ours.output)
    say_changes(ours.output)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
