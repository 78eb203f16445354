"""``python -m benchmarks.student --job-dir TEACHER STUDENT ...``: every job on the rows of one
split, as it is served and by its backbone alone, its size, and how many rows a second its backbone
scores. Differences are to the first job.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import argparse
import json
import sys
from pathlib import Path

from benchmarks.figures.report import add_report_argument, write_report
from configs.cli import CommandParser, add_config_arguments, read_config, run
from trainer.job import Job
from trainer.prerequisites import check_dataset, check_split


def main() -> None:
    """The command."""
    arguments = _arguments()
    experiment, jobs = read_config(arguments), [Job(folder) for folder in arguments.job_dir]
    split = arguments.split or experiment.evaluation.split
    check_split(experiment, split)
    check_dataset(arguments.data, split)
    for job in jobs:
        job.check_finished()

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from benchmarks.student.compare import compare, render, tables

    found = compare(experiment, arguments.data, jobs, split)
    write_report(arguments.report, tables(found))
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if arguments.json else render(found))


def _arguments() -> argparse.Namespace:
    parser = CommandParser(prog="python -m benchmarks.student", description=__doc__)
    add_config_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset to read")
    parser.add_argument(
        "--job-dir",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="jobs whose transform is the dataset's; differences are to the first",
    )
    parser.add_argument("--split", help="split to judge; evaluation.split by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_report_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
