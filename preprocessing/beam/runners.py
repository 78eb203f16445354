"""Which of Beam's runners a job may use, and what their workers must be able to read."""

from collections.abc import Mapping
from pathlib import PurePath

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from configs import InputError
from preprocessing import filesystem

_IN_THE_COMMAND = "LOOPBACK"  # the environment whose steps run in the command's own process


def check_runner(options: PipelineOptions, paths: Mapping[str, str | None], shared: bool) -> None:
    """Raises ``InputError`` where a runner gives wrong results, or its workers would not find a
    path.

    Args:
      options: Beam's.
      paths: by the name that the user gave them under; None where there is none.
      shared: whether the user says that every worker has the command's local folders.
    """
    runner = _runner_name(options)
    if runner == "dask":
        raise InputError(
            "--runner DaskRunner: Beam's runner for Dask loses what a step gives at the end of a"
            " bundle and mixes up the outputs of a step, so that datasets come out wrong; expected"
            " another runner (docs/scaling.md)"
        )
    if runner == "portable" and not options.view_as(PortableOptions).job_endpoint:
        raise InputError(
            "--runner PortableRunner: no job service; name it by --job_endpoint HOST:PORT"
            " (docs/scaling.md)"
        )
    if _runs_here(runner, options):
        return
    local = {name: path for name, path in paths.items() if path and filesystem.is_local(path)}
    for name, path in local.items():
        if shared and not PurePath(path).is_absolute():
            raise InputError(
                f"{name} {path}: counts from this command's folder, and workers run in others;"
                " expected an absolute path on the mount"
            )
        if not shared:
            raise InputError(
                f"{name} {path}: a folder of this machine, which the workers of"
                f" {options.view_as(StandardOptions).runner} have not; expected a path that they"
                " can read, such as gs://BUCKET/..., or --shared_filesystem where it is a mount"
                " that every worker has under the same name"
            )


def _runner_name(options: PipelineOptions) -> str:
    """In lower case, without its package and without the word runner, as Beam understands it."""
    name = options.view_as(StandardOptions).runner or StandardOptions.DEFAULT_RUNNER
    return str(name).rpartition(".")[2].lower().removesuffix("runner")


def _runs_here(runner: str, options: PipelineOptions) -> bool:
    local = {name.lower().removesuffix("runner") for name in StandardOptions.LOCAL_RUNNERS}
    return runner in local or options.view_as(PortableOptions).environment_type == _IN_THE_COMMAND
