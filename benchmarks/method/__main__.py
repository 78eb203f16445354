"""``python -m benchmarks.method``: runs a named study and writes its figures as JSON and as one
self-contained ``report.html``.

A finished cell (a method under a seed) is not run twice; a killed run goes on where it was.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

import trainer  # noqa: F401 - before TensorFlow

# isort: split
import tensorflow as tf

from benchmarks.method.cells import Cell, cells_of, read_cells, run_cells
from benchmarks.method.report import write_report
from benchmarks.method.results import Results
from benchmarks.method.sections import report_of
from benchmarks.method.study import ROOT, Study, load_study
from benchmarks.method.text import render_text
from configs import InputError, load_experiment
from configs.cli import CommandParser, run
from configs.files import write_json
from preprocessing.beam.progress import say


def main() -> None:
    """The command."""
    arguments = _parser().parse_args()
    study = load_study("quick" if arguments.quick else arguments.study)
    folder = arguments.output or Path("runs") / "method"
    seeds = tuple(dict.fromkeys(arguments.seeds or study.seeds))
    cells, reported = cells_of(study, seeds, arguments.only), cells_of(study, seeds)
    if not arguments.no_run:
        tf.config.experimental.enable_op_determinism()
        for _ in run_cells(study, cells, _logs(study, arguments.input), folder):
            _write(study, reported, folder)
    result = _write(study, reported, folder)
    print(json.dumps(result, indent=1) if arguments.json else render_text(result))
    say(f"report: {folder / study.name / 'report.html'}")


def _write(study: Study, cells: list[Cell], folder: Path) -> dict[str, object]:
    """The report of what is finished so far; a long study can be read while it runs."""
    experiments = [
        *(cell.trained for cell in cells),
        load_experiment(ROOT / study.config, study.set),
    ]
    crossing = max(experiments, key=lambda experiment: len(experiment.domains))
    result = report_of(
        study,
        Results(read_cells(cells, folder), crossing.domains),
        shlex.join(["python", "-m", "benchmarks.method", *sys.argv[1:]]),
    )
    write_json(folder / study.name / "report.json", result)
    write_report(result, folder / study.name / "report.html")
    return result


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
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
