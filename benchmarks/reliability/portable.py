"""A small dataset by Beam's own runner in one process, and the same behind job services: with the
steps in the command (``LOOPBACK``), and in a pool of installed workers that runs in another folder
(``EXTERNAL``), which ``deploy/portable/boot`` starts; the second by a job service of its own
process, too. Then vocabularies counted in one partition and in 64.

Bars: each is the first dataset, byte for byte (``other_datasets``, ``other_vocabularies`` are 0).
Seconds are those of the commands, starts of workers included.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability.listening import listening, worker_pool
from benchmarks.reliability.small_job import Command, Small, begin_in, digests, finish
from benchmarks.speed.options import Figures, Options
from preprocessing.beam import vocabularies
from preprocessing.beam.progress import say

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
    with worker_pool(folder) as pool, _job_service(folder) as service:
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
def _job_service(folder: Path) -> Iterator[str]:
    """The address of Beam's own job service."""
    module = "apache_beam.runners.portability.local_job_service_main"
    with listening(module, lambda port: ["--port", str(port)], folder) as address:
        yield address
