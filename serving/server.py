"""The embedded model server: TensorFlow Serving's gRPC API, flags and version policy, in Python.

``python -m serving.server --model-name M --model-base-path MODELS --port 8500`` serves the newest version under MODELS, the way
``tensorflow_model_server`` does with the same flags; clients cannot tell the two apart but by their speed. It serves any SavedModel.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from configs.command import CommandParser, run
from configs.errors import InputError
from serving.flags import seconds, whole_number, with_dashes
from serving.processes import shared_port, stop_with_parent, workers
from serving.servable import Servable
from serving.service import Service, start, try_address
from serving.versions import Model

_DRAIN_SECONDS = 10.0
"""How long requests that are being run may take to finish after SIGTERM."""
_DECODED = 8
"""How many times its message a request's decoded inputs may take: short strings grow that much, and a shape may claim anything."""


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, flags with dashes or, as TensorFlow Serving spells them, underscores. Exits with code 2 on a bad one."""
    parser = CommandParser(prog="python -m serving.server", description="Serve a SavedModel over gRPC, as TensorFlow Serving does.")
    parser.add_argument("--model-name", default="default", metavar="NAME", help="what requests call the model (%(default)s)")
    parser.add_argument("--model-base-path", required=True, metavar="DIR", help="directory with a directory for each version")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every one (%(default)s)")
    parser.add_argument("--port", type=whole_number(0, 65535), default=8500, help="port; 0 for a free one, which is printed (%(default)s)")
    parser.add_argument(
        "--grpc-max-threads",
        type=whole_number(1),
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="requests run at once (%(default)s)",
    )
    parser.add_argument(
        "--file-system-poll-wait-seconds", type=seconds, default=1.0, metavar="S", help="look for a new version; 0: only at the start (1)"
    )
    parser.add_argument("--max-message-bytes", type=whole_number(1), default=64 << 20, metavar="N", help="largest request (64 MiB)")
    parser.add_argument(
        "--processes",
        type=whole_number(1, 256),
        default=1,
        metavar="N",
        help="processes that share the port, each with a copy of the model in memory; a connection stays with one of them (%(default)s)",
    )
    parser.add_argument(
        "--tensorflow-session-parallelism",
        type=whole_number(0),
        default=1,  # a recommender's many small operations lose more to threads than they gain, and requests run side by side anyway
        metavar="N",
        help="threads within and between a request's operations; 0: as TensorFlow chooses (%(default)s)",
    )
    for name, what in (("intra-op", "within an operation"), ("inter-op", "between operations")):
        flag = f"--tensorflow-{name}-parallelism"
        parser.add_argument(flag, type=whole_number(0), default=0, metavar="N", help=f"threads {what}; 0: as the flag above")
    return parser.parse_args([with_dashes(word) for word in argv])


def main(argv: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ``InputError`` where there is nothing to serve or the port is taken; exits with code 1 where
    one of several processes ended by itself.
    """
    arguments = arguments_of(argv)
    if not Path(arguments.model_base_path).is_dir():
        raise InputError(f"--model-base-path {arguments.model_base_path}: no such directory")
    stop = _stop_at_signals()
    if arguments.processes == 1:
        _serve(arguments, stop, lambda: None)
        return
    try:
        try_address(arguments.host, arguments.port)
        with shared_port(arguments.host, arguments.port) as port:
            arguments.port = port
            with workers(arguments.processes - 1, _work, arguments, stop) as all_ready:
                _serve(arguments, stop, all_ready)
    except ChildProcessError as error:
        _report(f"error: {error}; the server stops")
        sys.exit(1)
    except OSError as error:
        raise InputError(str(error)) from None


def _work(arguments: argparse.Namespace, ready: Any) -> None:
    """One of the other processes, in itself."""
    stop = _stop_at_signals()
    stop_with_parent(stop)
    run(lambda: _serve(arguments, stop, ready.set, says=False))


def _stop_at_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _serve(arguments: argparse.Namespace, stop: threading.Event, ready: Callable[[], None], *, says: bool = True) -> None:
    """Serves in this process until ``stop``; ``ready`` is called when it listens, then ``says`` prints where."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    tf.get_logger().setLevel(logging.ERROR)  # the session loader calls itself deprecated; it is what the C++ server does
    config = _session_config(arguments)
    base_path = Path(arguments.model_base_path)
    model = Model(arguments.model_name, base_path, lambda version, path: Servable(version, path, config), _report)
    poll_seconds = arguments.file_system_poll_wait_seconds
    problem = model.refresh()
    if model.version is None and (model.statuses() or not poll_seconds):
        raise InputError(problem)
    said = ""
    while model.version is None and not stop.is_set():
        if problem != said and says:
            _report(f"{problem}; waiting for one")
        said = problem
        stop.wait(poll_seconds)
        problem = model.refresh()
    if stop.is_set():
        return
    try:
        server, port = start(
            Service(model, _DECODED * arguments.max_message_bytes),
            arguments.host,
            arguments.port,
            arguments.grpc_max_threads,
            arguments.max_message_bytes,
            shared=arguments.processes > 1,
        )
    except OSError as error:
        raise InputError(str(error)) from None
    ready()
    if says and not stop.is_set():
        print(f"Serving {model.name} version {model.version} on {arguments.host}:{port}", flush=True)
    if poll_seconds:
        model.poll(poll_seconds)
    stop.wait()
    server.stop(_DRAIN_SECONDS).wait()
    model.close()


def _session_config(arguments: argparse.Namespace) -> object:
    both = arguments.tensorflow_session_parallelism
    return tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=arguments.tensorflow_intra_op_parallelism or both,
        inter_op_parallelism_threads=arguments.tensorflow_inter_op_parallelism or both,
    )


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
