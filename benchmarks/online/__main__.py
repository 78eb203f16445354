"""``python -m benchmarks.online``: would the kernels have helped online? The package says what
is simulated.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import argparse
import json
import sys
from pathlib import Path

from benchmarks.figures.report import add_report_argument, block, write_report
from benchmarks.online.table import WIDEST, render
from configs import InputError
from configs.cli import CommandParser, add_config_arguments, read_config, run, whole_number
from configs.domains import AUTO, BACKBONE
from configs.files import write_json
from trainer.job import Job

_RESULT = "online.json"


def main() -> None:
    """The command; exit code 1, after one line, where the server fails."""
    arguments = _arguments()
    experiment, job = read_config(arguments), Job(arguments.job_dir)
    job.check_finished()
    if not arguments.models.is_dir():
        raise InputError(f"--models: no such directory: {arguments.models}")

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from benchmarks.online.trial import online_test
    from serving.wire.errors import StatusError

    try:
        result = online_test(
            experiment,
            job,
            arguments.models,
            requests=arguments.requests,
            candidates=arguments.candidates,
            rank_by=arguments.rank_by,
            control=arguments.control,
            treatment=arguments.treatment,
            seed=arguments.seed,
        )
    except StatusError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if arguments.output:
        write_json(arguments.output / _RESULT, result)
    write_report(arguments.report, {"test": [block("test", render(result, WIDEST))]})
    sys.stdout.write(json.dumps(result, indent=1) + "\n" if arguments.json else render(result))


def _arguments() -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m benchmarks.online",
        description="A simulated online A/B test of an exported model.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--job-dir", type=Path, required=True, metavar="DIR", help="the job that was exported"
    )
    parser.add_argument(
        "--models",
        type=Path,
        required=True,
        metavar="MODELS",
        help="base path of the model; its newest version is served",
    )
    parser.add_argument(
        "--requests",
        type=whole_number(1),
        default=20_000,
        metavar="N",
        help="live requests (%(default)s)",
    )
    parser.add_argument(
        "--candidates",
        type=whole_number(1),
        default=30,
        metavar="N",
        help="shops to rank in a request; simulation.candidates are shown (%(default)s)",
    )
    parser.add_argument(
        "--rank-by",
        metavar="TASK",
        help="the config's task over all rows whose probability ranks (the last one)",
    )
    parser.add_argument(
        "--control",
        default=BACKBONE,
        metavar="DOMAIN",
        help="domain that control's requests ask for (%(default)s)",
    )
    parser.add_argument(
        "--treatment",
        default=AUTO,
        metavar="DOMAIN",
        help="domain that treatment's requests ask for (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        metavar="N",
        help="of requests, arms and luck, not of the world (the config's)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"also write the JSON to DIR/{_RESULT}"
    )
    add_report_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
