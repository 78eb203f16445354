"""The command: one argument parser, one call of ``export``, on local copies of remote folders."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from configs.asides import temporary_files
from configs.cli import CommandParser, run, tensorflow_file_errors
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument, is_remote, scratch_folder
from trainer.job import Job
from trainer.staging import at_hand


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
    for name in ("version", "slots"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"argument --{name}: expected an integer from 1 on, received {value}")
    with at_hand(arguments, changes=False, local_only=()):
        print(f"exported {_export(arguments)}", file=sys.stderr)


def _export(arguments: argparse.Namespace) -> Path | str:
    """Where the version is."""
    job, models = Job(arguments.job_dir), arguments.output
    job.check_finished()  # before TensorFlow is loaded

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from serving.export.remote_models import models_here, upload_version
    from serving.export.version_writer import export

    remote = is_remote(models)
    here = models_here(models, scratch_folder(arguments.scratch)) if remote else nullcontext(models)
    with here as folder, tensorflow_file_errors(), temporary_files():
        path = export(
            job,
            folder,
            arguments.version,
            full=arguments.full,
            slots=arguments.slots,
        )
        if not remote:
            return path
        upload_version(path, models)
        return f"{models}/{path.name}"


if __name__ == "__main__":
    run(main)
