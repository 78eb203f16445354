"""The command: one argument parser, one ``Refresh``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs import InputError
from configs.asides import temporary_files
from configs.cli import (
    CommandParser,
    add_config_arguments,
    read_config,
    run,
    tensorflow_file_errors,
)
from preprocessing.beam.flags import BEAM_OPTIONS, check_matches, runner_flags, split_arguments
from preprocessing.beam.logging import keep_quiet
from preprocessing.validation.newest_day import as_of_logs
from trainer.job import Job

if TYPE_CHECKING:
    from operations.refresh.run import Refresh
    from operations.refresh.summary import Summary

REFUSED_CODE = 3

_DESCRIPTION = """The day's refresh of a job: new days by the job's transform, what kernels
remember, kernels of every domain judged against what is served, a report, and a new version of the
model where something has changed. Run again it goes on, or does nothing. Exit code 0: released, or
nothing to release. 3: a threshold of the config's section 'refresh' is crossed, and nothing was
released. 2: config, job or logs cannot be used."""


def parser() -> CommandParser:
    """The command's own arguments; others are Beam's."""
    made = CommandParser(
        prog="python -m operations.refresh", description=_DESCRIPTION, epilog=BEAM_OPTIONS
    )
    add_config_arguments(made)
    made.add_argument(
        "--job-dir", type=Path, required=True, metavar="DIR", help="with a finished backbone"
    )
    made.add_argument(
        "--input", metavar="GLOB", help="logs of all days of the windows (default: data.input)"
    )
    made.add_argument(
        "--work",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of all refreshes: a folder a day with dataset, state.json and summary.json",
    )
    made.add_argument(
        "--models",
        type=Path,
        metavar="MODELS",
        help="base path of the model; exports nothing without",
    )
    made.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return made


def main(arguments: list[str]) -> None:
    """The command. Raises ``InputError``; exits with code 3 where a refresh is refused."""
    ours, others = split_arguments(parser(), arguments)
    job = Job(ours.job_dir)
    experiment = read_config(ours, as_of_logs(ours.input))
    job.check_finished()
    logs = experiment.data.input if ours.input is None else ours.input
    if not logs:
        raise InputError("no logs: expected --input or the config's data.input")
    check_matches(logs)
    keep_quiet()
    from operations.refresh.checks import check_config
    from operations.refresh.run import Refresh
    from operations.refresh.summary import REFUSED, render

    check_config(experiment)
    flags = tuple(runner_flags(others))
    refresh = Refresh(experiment, logs, job, ours.work, ours.models, flags)
    if ours.dry_run:
        print("\n".join(refresh.plan()))
        return
    summary = _with_tensorflow(refresh)
    shown = json.dumps(summary.model_dump(mode="json"), indent=1) if ours.json else render(summary)
    print(shown)
    print(f"summary: {refresh.progress.folder / 'summary.json'}", file=sys.stderr)
    if summary.outcome == REFUSED:
        sys.exit(REFUSED_CODE)


def _with_tensorflow(refresh: "Refresh") -> "Summary":
    """Runs a refresh as the steps' own commands run: the same gives the same bits, and temporary
    files go.
    """
    from configs.tensorflow_import import tf

    tf.config.experimental.enable_op_determinism()
    with tensorflow_file_errors(), temporary_files():
        return refresh.run()


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
