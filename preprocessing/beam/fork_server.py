"""Is the process that worker processes are forked from (``preprocessing.beam.fork_pool``)."""

import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import grpc
from apache_beam.options.pipeline_options import PipelineOptions

from preprocessing.beam import progress

_children: set[int] = set()


def _fork_workers(flags: list[str]) -> None:
    """The process that forks: one worker for each line of standard input, until its end. Reports
    go to standard output.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Ctrl-C ends this process and all workers without a word
    sys.modules["keras"] = None  # type: ignore[assignment]  # TensorFlow would import it, a third of its time; no step needs it
    import preprocessing.beam.pipelines
    import preprocessing.dataset.tfrecord_writer
    import preprocessing.features.statistics  # noqa: F401 - every step, for all workers

    gc.freeze()  # collecting garbage would write to the memory that workers share
    signal.signal(signal.SIGCHLD, _report_deaths)
    while line := sys.stdin.readline():
        worker_id, control = line.split()
        if child := os.fork():
            _children.add(child)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os._exit(_work(worker_id, control, flags))
    # The command has ended, or was killed: then Beam's worker may wait for it for ever.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for child in _children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _report_deaths(number: int, frame: FrameType | None) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            return
        _children.discard(child)
        if status:
            os.write(1, f"died {status}\n".encode())
            for other in _children:  # what they do is lost, and Beam would wait for it
                os.kill(other, signal.SIGKILL)


def _work(worker_id: str, control: str, flags: list[str]) -> int:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    from configs.tensorflow_import import tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # there are as many workers as cores
    FileSystems.set_options(PipelineOptions(flags))
    progress.forward(lambda rows: os.write(1, f"rows {rows}\n".encode()))
    try:
        SdkHarness(control, worker_id=worker_id, state_cache_size=0).run()
    except grpc.RpcError:
        return 0  # the command is gone, and so is the work
    return 0


if __name__ == "__main__":
    from preprocessing.beam.logging import keep_quiet, keep_quiet_about_forks

    keep_quiet()
    keep_quiet_about_forks()
    _fork_workers(sys.argv[1:])
