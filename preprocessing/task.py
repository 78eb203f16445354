"""``python -m preprocessing.task`` turns logs into TFRecords and ``manifest.json`` by Beam."""

import argparse
import difflib
import glob
import os
import sys
from pathlib import Path
from typing import Any

from configs import InputError
from configs.asides import temporary_files
from configs.cli import CommandParser, add_config_arguments, read_config, run
from preprocessing.beam.logging import keep_quiet
from preprocessing.beam.progress import say

# steps hold Python's lock about half of the time, so more local threads than this only take memory
_MOST_THREADS = 4
_MOST_PROCESSES = 16  # each takes about half a gigabyte
_OWN = ("--config", "--set", "--input", "--output", "--transform", "--shared_filesystem")

_SHOWN_RULES = 3


class _BeamParser(CommandParser):
    """Knows every option of Beam; mistakes in their values are one line."""

    def __init__(self, prog: str) -> None:
        from apache_beam.options.pipeline_options import PipelineOptions

        super().__init__(prog=prog, add_help=False, conflict_handler="resolve")
        for options in PipelineOptions.__subclasses__():
            options._add_argparse_args(self)

    def add_value_provider_argument(self, *names: str, **settings: Any) -> None:
        """Beam's options call this on their parser."""
        self.add_argument(*names, **settings)

    def option_names(self) -> list[str]:
        """Every option."""
        return [
            name
            for action in self._actions
            for name in action.option_strings
            if name.startswith("--")
        ]


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments, and Beam's with the local defaults added. Exits with code 2 and one
    line where an option is unknown.
    """
    ours, flags = own_and_others(arguments)
    return ours, _with_worker_requirements(_with_local_defaults(flags))


def own_parser() -> CommandParser:
    """The command's own arguments."""
    parser = CommandParser(
        prog="python -m preprocessing.task",
        description=__doc__,
        epilog=(
            "Any other option is Beam's (--runner DataflowRunner --project P --temp_location"
            " gs://... --setup_file ./setup.py). Without --runner the job runs in processes of this"
            " machine."
        ),
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
        "--shared_filesystem",
        action="store_true",
        help=(
            "on another runner than the local one: local paths are of a mount that every worker has"
            " under the same name; without it they are refused there"
        ),
    )
    return parser


def own_and_others(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own arguments and Beam's, which is imported only where there are options not ours."""
    parser = own_parser()
    if {"-h", "--help"} & set(arguments):
        parser.parse_args(["--help"])

    named = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    if set(named) <= set(_OWN):
        ours, rest = parser.parse_known_args(arguments)
        if rest:
            parser.error(f"unexpected argument '{rest[0]}'")
        return ours, []
    beam = _BeamParser(parser.prog)
    known = [*beam.option_names(), *_OWN]
    for name in named:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            parser.error(
                f"unknown option '{name}'"
                + (
                    f"; did you mean '{close[0]}'?"
                    if close
                    else ": neither this command's nor Beam's"
                )
            )
    ours, rest = parser.parse_known_args(arguments)
    known_options, unknown = beam.parse_known_args(rest)
    if unknown:
        parser.error(f"unexpected argument '{unknown[0]}'")
    if (workers := known_options.direct_num_workers or 0) < 0:
        parser.error(
            f"argument --direct_num_workers: expected 0 (one for each core) or more, received"
            f" {workers}"
        )
    return ours, rest


def _with_local_defaults(flags: list[str]) -> list[str]:
    """A local runner by its own name: ``DirectRunner`` may download another program and run that.
    In a process for each core (``workers``); where those cannot be forked, in threads, which share
    Python's lock."""
    from preprocessing.beam.fork_pool import CAN_FORK

    names = {flag.partition("=")[0] for flag in flags}
    if "--runner" in names:
        return flags
    defaults = ["--runner=FnApiRunner"]
    if not names & {"--direct_running_mode", "--direct_num_workers"}:
        mode, most = (
            ("multi_processing", _MOST_PROCESSES)
            if CAN_FORK
            else ("multi_threading", _MOST_THREADS)
        )
        defaults += [
            f"--direct_running_mode={mode}",
            f"--direct_num_workers={min(most, os.cpu_count() or 1)}",
        ]
    return [*defaults, *flags]


def _with_worker_requirements(flags: list[str]) -> list[str]:
    """With ``--setup_file``, what Beam's workers need beside the package, unless other
    requirements are named: the file beside ``setup.py``. Workers install it from their package
    index (``--requirements_cache=skip``): Beam would download and upload TensorFlow for each job.
    """
    names = [flag.partition("=")[0] for flag in flags]
    if "--setup_file" not in names or "--requirements_file" in names:
        return flags
    place = names.index("--setup_file")
    setup = flags[place].partition("=")[2] or flags[place + 1]
    requirements = Path(setup).parent / "requirements-worker.txt"
    if not requirements.is_file():
        return flags
    cache = [] if "--requirements_cache" in names else ["--requirements_cache=skip"]
    return [*flags, f"--requirements_file={requirements}", *cache]


def _check_logs(logs: str) -> None:
    """Raises ``InputError`` where a local glob, folder or file names nothing; what Beam alone can
    tell (``gs://``, ``**``) is left to it. A name may hold a glob's signs.
    """
    here = "://" not in logs and "**" not in logs
    if here and not Path(logs).exists() and not glob.glob(logs):  # noqa: PTH207 - may be absolute
        raise InputError(
            f"{logs}: no file matches; expected logs (CSV, JSON lines or Parquet): a glob, a folder"
            " or a file"
        )


def main(arguments: list[str]) -> None:
    """The command. Raises ``InputError``."""
    keep_quiet()
    ours, others = own_and_others(arguments)
    experiment = read_config(ours)
    if not ours.output:
        raise InputError("--output is empty; expected a folder")
    if ours.transform == "":
        raise InputError("--transform is empty; expected the folder of a job or of a dataset")
    logs = experiment.data.input if ours.input is None else ours.input
    if not logs:
        raise InputError("no logs: expected --input or the config's data.input")
    _check_logs(logs)
    from preprocessing.beam.dataset_job import Job
    from preprocessing.beam.profiling import say_changes

    flags = _with_worker_requirements(_with_local_defaults(others))
    with temporary_files():
        manifest = Job(
            experiment, logs, ours.output, tuple(flags), ours.transform, ours.shared_filesystem
        ).run()
    splits = ", ".join(f"{name} {split.rows:,}" for name, split in manifest.splits.items())
    applied = f"; transform of {ours.transform}" if ours.transform is not None else ""
    say(
        f"{ours.output}: {splits}; outside every split {manifest.outside_splits:,}; rejected"
        f" {sum(manifest.rejected.values()):,}{applied}"
    )
    if manifest.rejected:
        often = sorted(manifest.rejected.items(), key=lambda item: (-item[1], item[0]))
        rules = "; ".join(f"{rows:,}: {rule}" for rule, rows in often[:_SHOWN_RULES])
        more = f"; {len(often) - _SHOWN_RULES} more rules" if len(often) > _SHOWN_RULES else ""
        say(f"rejected rows are in {ours.output}/rejected: {rules}{more}")
    say_changes(ours.output)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
