"""The command: one argument parser, one call of ``export``."""

import sys

from configs.cli import CommandParser, run
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument
from serving.export.job_export import export


def main() -> None:
    """The command."""
    parser = CommandParser(
        prog="python -m serving.export",
        description="Export a job's backbone and active kernels as one SavedModel.",
    )
    parser.add_argument(
        "--job-dir",
        type=folder_argument,
        required=True,
        metavar="DIR",
        help="with a finished backbone",
    )
    parser.add_argument(
        "--output",
        type=folder_argument,
        required=True,
        metavar="MODELS",
        help="base path of the model; versions are folders in it",
    )
    parser.add_argument("--version", type=int, metavar="N", help="the next free integer by default")
    parser.add_argument(
        "--full", action="store_true", help="write everything anew, not the kernels alone"
    )
    parser.add_argument(
        "--slots",
        type=int,
        metavar="N",
        help="slots for kernels and the backbone; leaves head-room by default",
    )
    add_scratch_argument(parser)
    arguments = parser.parse_args()
    path = export(
        arguments.job_dir,
        arguments.output,
        arguments.version,
        full=arguments.full,
        slots=arguments.slots,
        scratch=arguments.scratch,
    )
    print(f"exported {path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
