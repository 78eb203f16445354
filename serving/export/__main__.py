"""The command: one argument parser, one call of ``export``."""

import sys
from pathlib import Path

from configs.asides import temporary_files
from configs.cli import CommandParser, run, tensorflow_file_errors
from trainer.job import Job


def main() -> None:
    """The command."""
    parser = CommandParser(
        prog="python -m serving.export",
        description="Export a job's backbone and active kernels as one SavedModel.",
    )
    parser.add_argument(
        "--job-dir", type=Path, required=True, metavar="DIR", help="with a finished backbone"
    )
    parser.add_argument(
        "--output",
        type=Path,
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
    arguments = parser.parse_args()
    for name in ("version", "slots"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"argument --{name}: expected an integer from 1 on, received {value}")
    job = Job(arguments.job_dir)
    job.check_finished()  # before TensorFlow is loaded

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from serving.export.version_writer import export

    with tensorflow_file_errors(), temporary_files():
        path = export(
            job,
            arguments.output,
            arguments.version,
            full=arguments.full,
            slots=arguments.slots,
        )
    print(f"exported {path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
