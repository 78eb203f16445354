"""Processes of Beam that listen at a port of this machine: its pool of workers, its job service."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from configs import InputError

BOOT = Path(__file__).parents[2] / "deploy" / "portable" / "boot"
"""The documentation's example of what starts a worker."""

_INSTALLED = "/opt/recommender/bin/python"
"""What it has in place of the Python of an environment."""

_PATIENCE = 120.0
"""Seconds until a process must listen."""


@contextmanager
def worker_pool(
    folder: Path,
    python: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of Beam's pool of workers, which starts them by the documentation's example.

    Args:
      folder: where the pool works, and keeps its log, ``worker_pool_main.txt``.
      python: of the environment in which this package is installed.
      environment: variables of the pool and of its workers; this process's where None.

    Raises:
      InputError: the example is not as it was, or the pool does not come up.
    """
    boot = folder / "boot"
    text = BOOT.read_text(encoding="utf-8")
    if _INSTALLED not in text:
        raise InputError(f"{BOOT}: expected {_INSTALLED} in it")
    boot.write_text(text.replace(_INSTALLED, str(python)), encoding="utf-8")
    boot.chmod(0o755)
    with listening(
        "apache_beam.runners.worker.worker_pool_main",
        lambda port: [f"--service_port={port}", f"--container_executable={boot}"],
        folder,
        python,
        environment,
    ) as address:
        yield address


@contextmanager
def listening(
    module: str,
    flags: Callable[[int], list[str]],
    folder: Path,
    python: str | Path = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of a module as a process that listens, in another folder than the command's; it
    and all that it has started are killed in the end.

    Args:
      module: what ``python -m`` runs.
      flags: of it, by its port.
      folder: where it works, and keeps its log, called as the module is.
      python: that runs it.
      environment: its variables; this process's where None.

    Raises:
      InputError: it does not listen.
    """
    (address,) = free_addresses(1)
    host, _, port = address.rpartition(":")
    with (folder / f"{module.rpartition('.')[2]}.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - Beam, from an environment of ours
            [python, "-I", "-m", module, *flags(int(port))],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _PATIENCE
        while not _answers(host, int(port)):
            if process.poll() is not None or time.monotonic() > until:
                raise InputError(f"{module} does not listen: see {log.name}")
            time.sleep(0.1)
        yield f"localhost:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_addresses(count: int) -> list[str]:
    """Addresses of this machine at which nobody listened a moment ago."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in taken]


def _answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0
