"""A small dataset by Beam's own runner in one process, and the same behind job services: with the
steps in the command (``LOOPBACK``), and in a pool of installed workers that runs in another folder
(``EXTERNAL``), which ``deploy/portable/boot`` starts; the second by a job service of its own
process, too. Then vocabularies counted in one partition and in 64.

Bars: each is the first dataset, byte for byte (``other_datasets``, ``other_vocabularies`` are 0).
Seconds are those of the commands, starts of workers included.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.method.study import ROOT
from benchmarks.reliability.small_job import Command, Small, begin_in, digests, finish
from benchmarks.reliability.workers import free_addresses
from benchmarks.speed.options import Figures, Options
from configs import InputError
from preprocessing.beam import vocabularies
from preprocessing.beam.progress import say

_PATIENCE = 120.0
"""Seconds until a process of Beam's must listen."""

_INSTALLED = "/opt/recommender/bin/python"
"""What the example of the documentation has in place of this environment's Python."""

_IN_PROCESS = ("--direct_running_mode=in_memory",)
_PORTABLE = ("--runner=PortableRunner", "--shared_filesystem")


def measure(options: Options) -> Figures:
    """See the module."""
    begin_in(options.folder, "preprocessing.beam.dataset_job")
    folder = options.folder.resolve()  # the pool's workers run in another than this command
    small, log = Small(folder), folder / "log.txt"
    finish(small.simulate(), log)
    figures: Figures = {"local_seconds": finish(small.preprocess(), log)}
    expected, other = digests(small.data), 0
    with _pool(folder) as pool, _job_service(folder) as service:
        external = ("--environment_type=EXTERNAL", f"--environment_config={pool}")
        for name, flags in {
            "loopback": ("--job_endpoint=embed", "--environment_type=LOOPBACK"),
            "pool": ("--job_endpoint=embed", *external),
            "service": (f"--job_endpoint={service}", *external),
        }.items():
            data = folder / name
            seconds = finish(small.preprocess_to(data, *_PORTABLE, *flags), log)
            say(f"{name}: {seconds:.1f} s")
            figures[f"{name}_seconds"] = seconds
            other += digests(data) != expected
    figures |= {"files": len(expected), "other_datasets": other}
    found = []
    for count in (1, 64):
        data = folder / f"partitions-{count}"
        finish(_in_partitions(small.preprocess_to(data, *_IN_PROCESS), count), log)
        found.append(digests(data))
    return figures | {"other_vocabularies": sum(each != expected for each in found)}


def _in_partitions(command: Command, count: int) -> Command:
    def act() -> None:
        vocabularies.partitions_for = lambda rows: count
        command()

    return act


@contextmanager
def _pool(folder: Path) -> Iterator[str]:
    """The address of Beam's pool of workers, which starts them by the documentation's example."""
    boot = folder / "boot"
    text = (ROOT / "deploy" / "portable" / "boot").read_text(encoding="utf-8")
    if _INSTALLED not in text:
        raise InputError(f"deploy/portable/boot: expected {_INSTALLED} in it")
    boot.write_text(text.replace(_INSTALLED, sys.executable), encoding="utf-8")
    boot.chmod(0o755)
    module = "apache_beam.runners.worker.worker_pool_main"
    with _listening(
        lambda port: [module, f"--service_port={port}", f"--container_executable={boot}"],
        folder,
    ) as address:
        yield address


@contextmanager
def _job_service(folder: Path) -> Iterator[str]:
    """The address of Beam's own job service."""
    module = "apache_beam.runners.portability.local_job_service_main"
    with _listening(lambda port: [module, "--port", str(port)], folder) as address:
        yield address


@contextmanager
def _listening(words: Callable[[int], list[str]], folder: Path) -> Iterator[str]:
    """A module of Beam's as a process that listens, in another folder than the command's; it and
    all that it has started are killed in the end.
    """
    (address,) = free_addresses(1)
    host, _, port = address.rpartition(":")
    module, *more = words(int(port))
    with (folder / f"{module.rpartition('.')[2]}.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - Beam, from this environment
            [sys.executable, "-I", "-m", module, *more],
            cwd=folder,
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


def _answers(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0
