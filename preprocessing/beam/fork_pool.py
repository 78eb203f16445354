"""Gives Beam's local runner worker processes of this machine. They are forks of one process that
has imported everything (``preprocessing.beam.fork_server``).

Beam's own ``multi_processing`` starts each worker of each graph as a fresh interpreter, which then
imports Beam and TensorFlow: four times about four seconds of a core for two workers. Here one
process imports them once, while the command is still looking at the logs, and a worker is a fork of
it: ready at once, its memory shared. Beam asks for workers by its protocol for external worker
pools, and talks to them as to any others, so what a graph does and who shares its work stay Beam's
business.
"""

import os
import signal
import subprocess
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

import grpc
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import ExternalEnvironment
from apache_beam.utils import thread_pool_executor

from preprocessing.beam import progress

CAN_FORK = sys.platform == "linux"  # elsewhere system libraries do not outlive a fork


class WorkerDied(BaseException):
    """Raised in the main thread, wherever that waits; Beam itself would wait for the dead
    worker's answer for ever.
    """


class Workers(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The processes of a job: ``with Workers(flags) as workers: workers.runner(options)``, in the
    main thread.

    A worker that ends before its time raises ``WorkerDied`` there, with the reason.
    """

    def __init__(self, flags: tuple[str, ...]) -> None:
        self._died = ""
        # A signal of its own: SIGINT is ignored where the command runs in the background.
        self._former_handler = signal.signal(signal.SIGUSR1, self._raise)
        self._former_hook = threading.excepthook
        threading.excepthook = self._hide_broken_connections
        command = [sys.executable, "-m", "preprocessing.beam.fork_server", *flags]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._forks = subprocess.Popen(  # noqa: S603 - our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._server = grpc.server(thread_pool_executor.shared_unbounded_instance())
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, self._server)
        self._address = f"localhost:{self._server.add_insecure_port('localhost:0')}"
        self._server.start()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop(None)
        assert self._forks.stdin  # noqa: S101 - a pipe
        self._forks.stdin.close()
        self._forks.wait()
        threading.excepthook = self._former_hook
        signal.signal(signal.SIGUSR1, self._former_handler)

    def runner(self, options: PipelineOptions) -> FnApiRunner:
        """A runner for one graph, which must be run with these options."""
        options.view_as(
            DirectOptions
        ).direct_running_mode = "external"  # "multi_processing" makes the runner start its own
        return FnApiRunner(default_environment=ExternalEnvironment(self._address))

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Beam wants a worker."""
        assert self._forks.stdin  # noqa: S101 - a pipe
        self._forks.stdin.write(f"{request.worker_id} {request.control_endpoint.url}\n".encode())
        self._forks.stdin.flush()
        return beam_fn_api_pb2.StartWorkerResponse()

    def _hide_broken_connections(self, args: threading.ExceptHookArgs) -> None:
        """Beam's threads that served a dead worker end with traces; ``WorkerDied`` says what
        there is to say.
        """
        if not issubclass(args.exc_type, grpc.RpcError):
            self._former_hook(args)

    def _listen(self) -> None:
        assert self._forks.stdout  # noqa: S101 - a pipe
        with self._forks.stdout as lines:
            for line in lines:
                word, number = line.decode().split()
                if word == "rows":
                    progress.advance(int(number))
                elif not self._died:
                    self._died = f"a worker process died ({_cause(int(number))})"
                    signal.pthread_kill(
                        threading.main_thread().ident or 0, signal.SIGUSR1
                    )  # a thread that waits is woken by nothing else

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise WorkerDied(self._died)


def forks_wanted(options: PipelineOptions) -> bool:
    """Whether a job's options ask Beam's local runner for processes, in a thread that can be
    told of their deaths.
    """
    runner = options.view_as(StandardOptions).runner or ""
    in_main = threading.current_thread() is threading.main_thread()
    return (
        CAN_FORK
        and in_main
        and runner.endswith("FnApiRunner")
        and options.view_as(DirectOptions).direct_running_mode == "multi_processing"
    )


def _cause(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return "killed, most likely because memory ran out; fewer --direct_num_workers need less"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
