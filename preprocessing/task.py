"""``python -m preprocessing.task`` turns logs into TFRecords and ``manifest.json`` by Beam."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import PathLike, fspath
from typing import TYPE_CHECKING

from configs import InputError
from configs.asides import temporary_files
from configs.cli import CommandParser, add_config_arguments, read_config, run
from preprocessing.beam.flags import (
    BEAM_OPTIONS,
    add_shared_filesystem,
    check_matches,
    check_options,
    runner_flags,
    split_arguments,
)
from preprocessing.beam.logging import keep_quiet
from preprocessing.beam.progress import say
from preprocessing.filesystem import folder_argument
from preprocessing.validation.newest_day import as_of_logs

if TYPE_CHECKING:  # pydantic and Beam: not for --help
    from configs import Experiment
    from preprocessing.dataset.manifest import Manifest


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
    preprocess(
        experiment,
        ours.output,
        ours.input,
        transform=ours.transform,
        grow=ours.grow,
        beam_options=others,
        shared_filesystem=ours.shared_filesystem,
    )


def preprocess(
    experiment: "Experiment",
    output: str | PathLike[str],
    logs: str | PathLike[str] | None = None,
    *,
    transform: str | PathLike[str] | None = None,
    grow: str | PathLike[str] | None = None,
    beam_options: Sequence[str] = (),
    shared_filesystem: bool = False,
) -> "Manifest":
    """Turns logs into a dataset, and says on stderr what came of it. In a notebook, or wherever
    else IPython runs, in a process of its own.

    Args:
      experiment: what is built.
      output: folder of the dataset, on any filesystem of Beam's; a former dataset in it is
        replaced, anything else refused.
      logs: CSV, JSON lines or Parquet: a glob, a folder or a file; ``data.input`` where None.
      transform: a job or a dataset whose fitted transform is applied; None to fit one.
      grow: a job or a dataset whose transform is grown by the values of these logs; None to begin
        anew.
      beam_options: as on a command line; processes of this machine where no runner is named.
      shared_filesystem: whether every worker has the local folders, where they run on other
        machines.

    Returns:
      The manifest: rows of each split and domain, rejected rows by reason, all files.

    Raises:
      InputError: no logs, logs that cannot be read or hold no sound row, another thing than a
        dataset in ``output``; a former dataset is untouched.
    """
    for option, folder in (("--output", output), ("--transform", transform), ("--grow", grow)):
        if folder is not None:
            folder_argument(fspath(folder), option)
    if transform is not None and grow is not None:
        raise InputError(
            "--transform and --grow are both given: the first leaves a transform as it is, the"
            " second grows it; expected one of them"
        )
    if _in_ipython():  # where Beam labels steps by cells, keeps results, and asks for pandas
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(
                preprocess,
                experiment,
                output,
                logs,
                transform=transform,
                grow=grow,
                beam_options=beam_options,
                shared_filesystem=shared_filesystem,
            ).result()
    given = experiment.data.input if logs is None else fspath(logs)
    if not given:
        raise InputError("no logs: expected --input or the config's data.input")
    check_matches(given)
    from preprocessing.beam.dataset_job import Job
    from preprocessing.beam.guards import say_rejected
    from preprocessing.beam.profiling import say_changes

    check_options(beam_options)
    flags, target = tuple(runner_flags([*beam_options])), fspath(output)
    applying = None if transform is None else fspath(transform)
    growing = None if grow is None else fspath(grow)
    with temporary_files():
        manifest = Job(experiment, given, target, flags, applying, shared_filesystem, growing).run()
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in manifest.splits.items())
    applied = f"; transform of {applying}" if applying is not None else ""
    say(
        f"{target}: {splits}; outside every split {manifest.outside_splits:,}; rejected"
        f" {sum(manifest.rejected.values()):,}{applied}"
    )
    if manifest.grown:
        for name, about in manifest.grown.features.items():
            say(f"vocabulary of {name}, grown from {growing}: {about.words}")
    say_rejected(manifest.rejected, target)
    say_changes(target)
    return manifest


def _in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
