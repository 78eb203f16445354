"""``python -m benchmarks.datasets globo --source DIR --output DIR``: the logs of the study
``globo`` from the files that Globo.com publishes. ``check --input DIR`` holds such logs, made here
or elsewhere, against the rules that they are made by.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures.report import add_report_argument, write_report
from configs.cli import CommandParser, run, share, whole_number
from configs.errors import InputError
from configs.terminal.plain_text import fit

_SEED, _USERS = 17, 0.32


def main() -> None:
    """The command."""
    arguments = _arguments()
    {"globo": _make, "check": _check}[arguments.action](arguments)


def _make(arguments: argparse.Namespace) -> None:
    from benchmarks.datasets.globo import make_logs

    if arguments.users == 0:
        raise InputError("--users is 0; expected a share above 0, up to 1")
    summary = make_logs(arguments.source, arguments.output, arguments.seed, arguments.users)
    sys.stdout.write(json.dumps(summary, indent=1) + "\n" if arguments.json else _render(summary))


def _render(summary: dict[str, Any]) -> str:
    doubtful = summary["uneven_sessions"]
    lines = [
        f"read      {summary['clicks']:,} clicks in {summary['files']:,} files",
        f"left out  {summary['outside']:,} clicks outside the days",
        f"          {summary['first_clicks']:,} clicks on an article nobody had clicked before",
        f"written   {summary['rows']:,} rows, {summary['requests']:,} requests of"
        f" {summary['users']:,} users",
    ]
    if doubtful:
        lines.append(
            f"doubtful  {doubtful:,} sessions have other numbers of clicks than their session_size:"
            " are all files whole?"
        )
    return "\n".join(lines) + "\n"


def _check(arguments: argparse.Namespace) -> None:
    from benchmarks.datasets.globo_rules import RULES, SIZES, check_log

    checked = check_log(arguments.input)
    rules = checked.rules
    write_report(arguments.report, checked.report())
    if arguments.json:
        print(json.dumps(asdict(checked), indent=1))
    else:
        table = [[rule.text, f"{rule.seen:,}", rule.of, f"{rule.broken:,}"] for rule in rules]
        shares = zip(checked.beside, checked.drawn, strict=True)
        sizes = [[str(n), f"{one:.2%}", f"{other:.2%}"] for n, (one, other) in enumerate(shares)]
        print("\n".join([*fit([RULES, *table]), "", *fit([SIZES, *sizes])]))
    if broken := [rule.text for rule in rules if not rule.holds]:
        raise InputError(f"{arguments.input}: not so everywhere: {'; '.join(broken)}")


def _arguments() -> argparse.Namespace:
    parser = CommandParser(prog="python -m benchmarks.datasets", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    globo = actions.add_parser("globo", help="make the logs of the study globo")
    globo.add_argument(
        "--source", type=Path, required=True, metavar="DIR", help="the unpacked public files"
    )
    globo.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for a file a day"
    )
    globo.add_argument(
        "--seed",
        type=whole_number(0),
        default=_SEED,
        metavar="N",
        help=f"of the users and articles that are drawn ({_SEED})",
    )
    globo.add_argument(
        "--users",
        type=share,
        default=_USERS,
        metavar="SHARE",
        help=f"share of the users whose clicks become rows ({_USERS})",
    )
    check = actions.add_parser("check", help="hold such logs against their rules")
    check.add_argument(
        "--input", type=Path, required=True, metavar="DIR", help="folder with a file a day"
    )
    add_report_argument(check)
    for action in (globo, check):
        action.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
