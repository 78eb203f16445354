"""``python -m operations.drift A B``: says what has changed between two windows of rows.

A is a dataset that preprocessing.task has written; B is another one, or a log of requests (TFRecord
files of PredictionLog). Exit code 3 where a threshold of the config's section 'drift' is crossed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.cli import CommandParser, add_config_arguments, read_config, run
from configs.errors import InputError

CROSSED = 3
"""The exit code where a threshold is crossed."""


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(
        prog="python -m operations.drift",
        description=__doc__,
    )
    parser.add_argument("first", type=Path, metavar="A", help="dataset of the window before")
    parser.add_argument(
        "other", type=Path, metavar="B", help="dataset of the window after, or a log of requests"
    )
    add_config_arguments(parser)
    parser.add_argument("--split", metavar="NAME", help="of A (all that have rows)")
    parser.add_argument(
        "--other-split",
        metavar="NAME",
        help="of B (all that have rows; with --job-dir evaluation.split)",
    )
    parser.add_argument(
        "--model-name", metavar="NAME", help="whose requests of a log are read (the only one's)"
    )
    parser.add_argument(
        "--job-dir",
        type=Path,
        metavar="DIR",
        help=(
            "job whose transform says what is known; where B is a dataset, also: calibration by"
            " domain, and the age of the backbone"
        ),
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page, too")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Raises ``InputError``; exits with code 3 where a threshold is crossed."""
    given = parse_arguments(arguments)
    from operations.drift.paths import check_dataset, check_dataset_or_log, is_dataset
    from preprocessing.dataset.manifest import as_of_dataset

    newest = given.other if is_dataset(given.other) else given.first
    experiment = read_config(given, as_of_dataset(newest))
    if given.html is not None and not given.html.parent.is_dir():
        raise InputError(f"--html {given.html}: no such directory: {given.html.parent}")
    from trainer.job import Job

    check_dataset(given.first, given.split)
    job = Job(given.job_dir) if given.job_dir else None
    today = given.other_split or (experiment.evaluation.split if job else None)
    check_dataset_or_log(given.other, today if is_dataset(given.other) else given.other_split)
    if job:
        job.check_finished()
    import trainer  # noqa: F401 - must come before TensorFlow
    from operations.drift.compare import compare
    from operations.drift.drift_text import render_text

    result = compare(
        experiment,
        given.first,
        given.other,
        split=given.split,
        other_split=given.other_split,
        model=given.model_name,
        job=job,
    )
    if given.html is not None:
        from operations.drift.drift_page import write_drift_page

        write_drift_page(result, given.html)
        print(f"page: {given.html}", file=sys.stderr)
    if given.json:
        print(json.dumps(result.model_dump(mode="json"), indent=1, allow_nan=False))
    else:
        sys.stdout.write(render_text(result))
    if result.drifted:
        sys.exit(CROSSED)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
