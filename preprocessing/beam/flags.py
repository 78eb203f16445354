"""Reads the command line of a job: its own options, and Beam's, which pass through. Beam itself, a
second to import, is loaded where there are options of its.
"""

import argparse
import difflib
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from configs.cli import CommandParser
from configs.errors import InputError

# steps hold Python's lock about half of the time, so more local threads than this only take memory
_MOST_THREADS = 4
_MOST_PROCESSES = 16  # each takes about half a gigabyte

BEAM_OPTIONS = (
    "Any other option is Beam's (--runner DataflowRunner --project P --temp_location gs://..."
    " --setup_file ./setup.py). Without --runner the job runs in processes of this machine."
)
"""What a job's --help says of them."""


class _BeamParser(CommandParser):
    """Knows every option of Beam."""

    def __init__(self) -> None:
        from apache_beam.options.pipeline_options import PipelineOptions

        super().__init__(prog="beam", add_help=False, conflict_handler="resolve")
        for options in PipelineOptions.__subclasses__():
            options._add_argparse_args(self)

    def add_value_provider_argument(self, *names: str, **settings: Any) -> None:
        """Beam's options call this on their parser."""
        self.add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        """Raises ``InputError``: who called says where the options were given."""
        raise InputError(message)

    def unknown(self, words: Sequence[str], own: Sequence[str] = ()) -> str:
        """What is said of the first option that neither Beam knows nor ``own`` names; empty where
        there is none.
        """
        known = [*_names_of(self), *own]
        for name in _named(words):
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                whose = "neither this command's nor Beam's" if own else "none of Beam's"
                near = f"; did you mean '{close[0]}'?" if close else f": {whose}"
                return f"unknown option '{name}'{near}"
        return ""

    def wrong(self, flags: Sequence[str]) -> str:
        """What is said of the first option that has another value than Beam expects, or of a word
        that is none; empty where all is well.
        """
        try:
            known, others = self.parse_known_args(list(flags))
        except InputError as error:
            return str(error)
        if others:
            return f"unexpected argument '{others[0]}'"
        if (workers := known.direct_num_workers or 0) < 0:
            return (
                "argument --direct_num_workers: expected 0 (one for each core) or more, received"
                f" {workers}"
            )
        return ""


def add_shared_filesystem(parser: argparse.ArgumentParser) -> None:
    """What a user says of local paths on another runner."""
    parser.add_argument(
        "--shared_filesystem",
        action="store_true",
        help=(
            "on another runner than the local one: local paths are of a mount that every worker has"
            " under the same name; without it they are refused there"
        ),
    )


def _names_of(parser: argparse.ArgumentParser) -> list[str]:
    """Every option of a parser."""
    return [
        name
        for action in parser._actions
        for name in action.option_strings
        if name.startswith("--")
    ]


def split_arguments(
    parser: CommandParser, arguments: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """The arguments that a parser knows, and Beam's. Exits with code 2 and one line where an option
    is unknown to both.
    """
    if {"-h", "--help"} & set(arguments):
        parser.parse_args(["--help"])

    own = _names_of(parser)
    if set(_named(arguments)) <= set(own):
        ours, rest = parser.parse_known_args(arguments)
        if rest:
            parser.error(f"unexpected argument '{rest[0]}'")
        return ours, []
    beam = _BeamParser()
    if said := beam.unknown(arguments, own):
        parser.error(said)
    ours, rest = parser.parse_known_args(arguments)
    if said := beam.wrong(rest):
        parser.error(said)
    return ours, rest


def check_options(flags: Sequence[str]) -> None:
    """Raises ``InputError`` where a caller's options are none of Beam's, as ``split_arguments``
    refuses them on a command line.
    """
    if isinstance(flags, str | Mapping) or not all(isinstance(flag, str) for flag in flags):
        raise InputError(
            "beam_options: expected a list of texts, such as ['--runner=DirectRunner'], received"
            f" {flags!r}"
        )
    if flags:
        beam = _BeamParser()
        if said := beam.unknown(flags) or beam.wrong(flags):
            raise InputError(f"beam_options: {said}")


def _named(words: Iterable[str]) -> list[str]:
    """The options among words of a command line."""
    return [word.partition("=")[0] for word in words if word.startswith("--")]


def runner_flags(flags: list[str]) -> list[str]:
    """Beam's options with what they need to run here, or on workers that install this package."""
    return _with_worker_requirements(_with_local_defaults(flags))


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


def check_matches(logs: str) -> None:
    """Raises ``InputError`` where a local glob, folder or file names nothing; what Beam alone can
    tell (``gs://``, ``**``) is left to it. A name may hold a glob's signs.
    """
    here = "://" not in logs and "**" not in logs
    if here and not Path(logs).exists() and not glob.glob(logs):  # noqa: PTH207 - may be absolute
        raise InputError(
            f"{logs}: no file matches; expected logs (CSV, JSON lines or Parquet): a glob, a folder"
            " or a file"
        )
