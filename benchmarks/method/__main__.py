"""``python -m benchmarks.method``: runs a named study and writes its figures as JSON and as one
self-contained ``report.html``.

A finished cell (a method under a seed) is not run twice; a killed run goes on where it was.
"""

import argparse
import os
import sys
from pathlib import Path

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.method.study import Study, load_study
from configs import InputError
from configs.cli import CommandParser, run


def main() -> None:
    """The command."""
    arguments = _parser().parse_args()
    study = load_study("quick" if arguments.quick else arguments.study)
    folder = arguments.output or Path("runs") / "method"
    logs = None if arguments.no_run else _logs(study, arguments.input)
    from benchmarks.method.command import run_study  # TensorFlow: not for --help or a wrong path

    run_study(
        study,
        folder,
        logs,
        seeds=tuple(dict.fromkeys(arguments.seeds or study.seeds)),
        only=arguments.only,
        runs=not arguments.no_run,
        prints_json=arguments.json,
        command=sys.argv[1:],
    )


def _logs(study: Study, given: Path) -> str | None:
    if study.logs is None:
        return None
    if not given.is_dir():
        raise InputError(f"{given}: no such folder; give --input or RECSYS_DATA")
    if not any(given.glob(study.logs)):
        raise InputError(f"{given}: holds no {study.logs}; give --input or RECSYS_DATA")
    return str(given.resolve() / study.logs)  # the same dataset however the folder is written


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m benchmarks.method",
        description=__doc__,
    )
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data"))
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--study",
        default="globo",
        metavar="NAME",
        help="a file of benchmarks/method/studies, or a path (globo)",
    )
    which.add_argument(
        "--quick",
        action="store_true",
        help="the five-minute study: every method once on a small simulation",
    )
    parser.add_argument(
        "--input", type=Path, default=default, metavar="DIR", help=f"where the logs are ({default})"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where everything is left (runs/method)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help="instead of the study's")
    parser.add_argument(
        "--only",
        nargs="+",
        default=(),
        metavar="METHOD",
        help="runs these methods only; the report shows all that is finished",
    )
    parser.add_argument(
        "--no-run", action="store_true", help="writes the report of what is finished"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


if __name__ == "__main__":
    run(main)
