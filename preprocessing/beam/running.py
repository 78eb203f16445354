"""Runs a graph of Beam, and turns what went wrong into the one line that a user can act on."""

import copy
import re
from collections.abc import Callable

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, PortableOptions

from configs import InputError
from preprocessing.beam import counters
from preprocessing.beam.fork_pool import WorkerDied, Workers
from preprocessing.beam.progress import say

_ERROR_LINE = re.compile(r"^(?:RuntimeError: )*(?:[\w.]+\.)?(\w*Error): (.*)$", re.MULTILINE)
_USER_CAUSED = ("InputError", "BeamIOError", "OSError", "PermissionError", "FileNotFoundError")


def run_graph(
    build: Callable[[beam.Pipeline], None], options: PipelineOptions, workers: Workers | None = None
) -> dict[str, int]:
    """Builds a graph and runs it to its end.

    Args:
      build: adds the steps to a pipeline.
      options: Beam's.
      workers: processes to use instead of those that Beam would start.

    Returns:
      What the runner counted (``preprocessing.beam.counters``).

    Raises:
      InputError: Beam refuses the options, or the graph failed for a reason outside the program.
    """
    again = copy.deepcopy(options)  # runners change theirs
    local = again.view_as(DirectOptions)
    try:
        return _run_once(build, options, workers)
    except InputError:
        raise
    except Exception as error:
        if local.direct_running_mode != "multi_threading":
            raise
        # Seldom, under load, Beam's threaded local runner loses its place in what a thread has
        # written ("Invalid PaneInfoEncoding"). Steps may be run again, as any runner may; a mistake
        # of ours fails again.
        first = next(iter(str(error).splitlines()), "")
        say(
            f"warning: the local runner failed ({type(error).__name__}: {first}); once more, in one"
            " thread"
        )
        local.direct_running_mode, local.direct_num_workers = "in_memory", 1
        return _run_once(build, again, None)


def _run_once(
    build: Callable[[beam.Pipeline], None], options: PipelineOptions, workers: Workers | None
) -> dict[str, int]:
    try:
        pipeline = beam.Pipeline(
            runner=workers.runner(options) if workers else None, options=options
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"Beam refuses its options: {error}") from None
    try:
        with pipeline:
            build(pipeline)
        return counters.counted(pipeline.result)
    except InputError:
        raise
    except WorkerDied as death:
        raise InputError(str(death)) from None
    except Exception as error:
        # Runners turn a step's exception into text; what a user can cause must still be one line,
        # and a mistake of ours a traceback.
        found = _ERROR_LINE.findall(str(error))
        if found and found[-1][0] in _USER_CAUSED:
            raise InputError(re.sub(r" \[while running '[^']*'\]$", "", found[-1][1])) from None
        if isinstance(error, OSError):
            raise InputError(str(error)) from None
        endpoint = options.view_as(PortableOptions).job_endpoint
        if endpoint and isinstance(error, grpc.RpcError | grpc.FutureTimeoutError):
            raise InputError(
                f"--job_endpoint {endpoint}: the job service does not answer; start it, or name"
                " another HOST:PORT"
            ) from None
        raise
