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
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from configs.command import CommandParser, run
from configs.errors import InputError
from serving.flags import seconds, whole_number, with_dashes
from serving.servable import Servable
from serving.service import Service, start
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
    for name, what in (
        ("session", "threads within and between operations"),
        ("intra-op", "threads within an operation"),
        ("inter-op", "threads between operations"),
    ):
        parser.add_argument(
            f"--tensorflow-{name}-parallelism", type=whole_number(0), default=0, metavar="N", help=f"{what}; 0: as TensorFlow chooses"
        )
    return parser.parse_args([with_dashes(word) for word in argv])


def main(argv: Sequence[str]) -> None:
    """Serves until SIGTERM or SIGINT. Raises ``InputError`` where there is nothing to serve or the port is taken."""
    arguments = arguments_of(argv)
    base_path = Path(arguments.model_base_path)
    if not base_path.is_dir():
        raise InputError(f"--model-base-path {base_path}: no such directory")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    tf.get_logger().setLevel(logging.ERROR)  # the session loader calls itself deprecated; it is what the C++ server does
    config = _session_config(arguments)
    model = Model(arguments.model_name, base_path, lambda version, path: Servable(version, path, config), _report)
    poll_seconds = arguments.file_system_poll_wait_seconds
    problem = model.refresh()
    if model.version is None and (model.statuses() or not poll_seconds):
        raise InputError(problem)
    said = ""
    while model.version is None and not stop.is_set():
        if problem != said:
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
        )
    except OSError as error:
        raise InputError(str(error)) from None
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
