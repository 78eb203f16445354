"""An S3 server on loopback (moto's, a process of its own), and writers into it that are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from configs import InputError
from preprocessing import filesystem

BUCKET = "bucket"
_SECONDS = 60
_KEYS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def object_store() -> Iterator[str]:
    """Starts the server and gives a bucket's path; clients of this process, and of those that it
    starts, find it by their environment. Raises ``InputError`` where the server does not start.
    """
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as server:  # noqa: S603 - moto's
        try:
            _wait(port, server)
            os.environ.update(_KEYS, AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}")
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}"
        finally:
            server.terminate()


def killed_after(changes: int, act: Callable[[], object]) -> Callable[[], None]:
    """Something to be run in a process of its own, which kills itself before the change of what is
    stored that comes after so many, by the signal that nobody can catch.
    """

    def run() -> None:
        beam, created, left = filesystem._beam(), filesystem._created, iter(range(changes))

        def counted(change: Callable[..., Any]) -> Callable[..., Any]:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return change

        class Cut:
            """Beam's file systems, counted."""

            def __getattr__(self, name: str) -> Any:
                found = getattr(beam, name)
                return counted(found) if name in ("rename", "delete") else found

        cut = Cut()
        filesystem._beam = lambda: cut
        filesystem._created = lambda path: counted(created)(path)
        act()

    return run


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise InputError("the object store did not start; it needs moto and flask: make install")
