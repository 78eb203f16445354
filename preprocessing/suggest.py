"""``python -m preprocessing.suggest``: reads a sample of logs and prints a config for them, with
what it saw, and what it could not decide, as comments.

The config runs as it is; reading it is still worth the time: which columns are known before the
click, only their owner knows.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import InputError
from configs.cli import CommandParser, run
from configs.files import write_bytes
from configs.load import parse_experiment
from preprocessing.logs.files import find_sources
from preprocessing.suggestion.columns import describe
from preprocessing.suggestion.config_text import config_text
from preprocessing.suggestion.roles import Given, decide
from preprocessing.suggestion.sample import read_moments, read_sample
from preprocessing.suggestion.windows import cut


def suggest(pattern: str, given: Given, rows: int, name: str) -> str:
    """A config for logs, as YAML.

    Args:
      pattern: glob of the logs.
      given: what the user has said of columns.
      rows: of the sample.
      name: of the experiment.

    Raises:
      InputError: no logs, or nothing that can be proposed for them.
    """
    sources = find_sources(pattern)
    columns = describe(read_sample(sources, rows))
    roles = decide(columns, given)
    text = config_text(name, pattern, columns, roles, cut(read_moments(sources, roles.timestamp)))
    parse_experiment(text, source="the proposed config")
    return text


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="python -m preprocessing.suggest", description=__doc__)
    parser.add_argument(
        "--input", required=True, metavar="GLOB", help="logs: Parquet, CSV or JSON lines"
    )
    parser.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="what is predicted, the first task first",
    )
    for flag, what in (
        ("timestamp", "the row's moment"),
        ("user", "who"),
        ("request", "whose rows are ranked against each other"),
        ("item", "what is ranked"),
    ):
        parser.add_argument(
            f"--{flag}", metavar="COLUMN", help=f"{what}; found out where not given"
        )
    parser.add_argument(
        "--rows", type=int, default=200_000, metavar="N", help="rows of the sample (200,000)"
    )
    parser.add_argument("--name", default="suggested", help="of the experiment (suggested)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the config there, not to standard output"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """The command."""
    arguments = parse_arguments()
    if arguments.rows < 1:
        raise InputError(f"--rows: expected at least 1, received {arguments.rows}")
    given = Given(
        tuple(arguments.label),
        arguments.timestamp,
        arguments.user,
        arguments.request,
        arguments.item,
    )
    text = suggest(arguments.input, given, arguments.rows, arguments.name)
    if arguments.output:
        if arguments.output.exists():
            raise InputError(f"{arguments.output}: is there already; expected another --output")
        write_bytes(arguments.output, text.encode())
        print(f"config: {arguments.output}", file=sys.stderr)
    else:
        print(text, end="")


if __name__ == "__main__":
    run(main)
