"""``python -m serving.score`` scores an archive of logged rows by an exported version, as a Beam
job: Parquet, CSV or JSON lines in, Parquet out, the values that a server gives.
"""

import argparse
import sys

from configs.asides import temporary_files
from configs.cli import CommandParser, run, share, whole_number
from preprocessing.beam.flags import (
    BEAM_OPTIONS,
    add_shared_filesystem,
    check_matches,
    runner_flags,
    split_arguments,
)
from preprocessing.beam.logging import keep_quiet
from preprocessing.beam.progress import say

BATCH_ROWS = 4096
"""Rows that the graph is run on at once; a server runs larger requests in such parts."""

_MOST_ROWS = 65_536


def main(arguments: list[str]) -> None:
    """The command. Raises ``InputError``."""
    keep_quiet()
    ours, others = _arguments(arguments)
    check_matches(ours.input)
    from serving.score.version_choice import find_version

    find_version(ours.models, ours.version)
    from serving.score.score_job import ScoreJob

    with temporary_files():
        result = ScoreJob(
            models=ours.models,
            input=ours.input,
            output=ours.output,
            version=ours.version,
            domain=ours.domain,
            domain_column=ours.domain_column,
            keep=None if ours.keep is None else tuple(ours.keep),
            batch_rows=ours.batch_rows,
            max_rejected=ours.max_rejected,
            beam_flags=tuple(runner_flags(others)),
            shared_filesystem=ours.shared_filesystem,
        ).run()
    from preprocessing.beam.guards import say_rejected

    say(
        f"{ours.output}: {result.scored:,} of {result.rows:,} rows scored by version"
        f" {result.version}; rejected {sum(result.rejected.values()):,}"
    )
    say_rejected(result.rejected, ours.output)


def _arguments(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = CommandParser(prog="python -m serving.score", description=__doc__, epilog=BEAM_OPTIONS)
    parser.add_argument(
        "--models",
        required=True,
        metavar="DIR",
        help="base path of the model, as a server is given it",
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="GLOB",
        help="archive: CSV, JSON lines or Parquet; a glob, a folder or a file",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="folder of the scores; empty, or not there"
    )
    parser.add_argument(
        "--version", type=whole_number(0), metavar="N", help="version that scores (the newest)"
    )
    parser.add_argument(
        "--domain", metavar="NAME", help="domain that all rows are scored under (auto)"
    )
    parser.add_argument(
        "--domain-column",
        metavar="COLUMN",
        help="column that names a row's own domain; rows without one are scored under --domain",
    )
    parser.add_argument(
        "--keep",
        nargs="*",
        metavar="COLUMN",
        help=(
            "columns that stand beside the scores (data.row_key and data.request of the config that"
            " the model was trained with); none where the option names none"
        ),
    )
    parser.add_argument(
        "--max-rejected",
        type=share,
        metavar="SHARE",
        help="tolerated share of rejected rows, 0 to 1 (data.max_rejected of that config)",
    )
    parser.add_argument(
        "--batch-rows",
        type=whole_number(1, _MOST_ROWS),
        default=BATCH_ROWS,
        metavar="N",
        help="rows that the model is run on at once (%(default)s)",
    )
    add_shared_filesystem(parser)
    return split_arguments(parser, arguments)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
