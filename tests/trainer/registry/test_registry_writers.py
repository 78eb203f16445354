"""Writers of one registry at the same time: processes that add, and one that is killed."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from configs import InputError
from configs import files as files_module
from configs.asides import sole_writer
from tests.trainer.conftest import MANIFEST, SHAPE, bare_job, one_line, random_kernel
from tests.trainer.registry.test_kernel_registry import files
from trainer.job import Job
from trainer.registry import kernel_registry as store_module
from trainer.registry import kernel_version, state_files
from trainer.registry.kernel_registry import KernelStore

PROCESSES, ADDS = 3, 6


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return bare_job(tmp_path)


def started(function: Callable[..., None], *arguments: object) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(
        target=function, args=arguments, daemon=True
    )
    process.start()
    return process


def add_many(job: Job, writer: int, domain: str) -> None:
    """Adds and activates, like a fine-tuning job; the seed says who wrote."""
    store = KernelStore(job)
    for number in range(ADDS):
        seed = 100 * writer + number
        store.activate(
            domain, store.add(domain, random_kernel(SHAPE, seed), {**MANIFEST, "seed": seed})
        )


def test_writers_of_different_domains_lose_nothing(job: Job) -> None:
    writers = [started(add_many, job, writer, f"region=r{writer}") for writer in range(PROCESSES)]
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0] * PROCESSES
    store = KernelStore(job)
    assert store.active() == {f"region=r{writer}": ADDS for writer in range(PROCESSES)}
    for writer in range(PROCESSES):
        for number in range(ADDS):
            kernel = store.load(f"region=r{writer}", number + 1)
            np.testing.assert_equal(kernel.weights, random_kernel(SHAPE, 100 * writer + number))


def test_writers_of_one_domain_each_get_their_own_version(job: Job) -> None:
    writers = [started(add_many, job, writer, "all") for writer in range(PROCESSES)]
    for process in writers:
        process.join(60)
    assert [process.exitcode for process in writers] == [0] * PROCESSES
    store = KernelStore(job)
    kernels = [store.load("all", version) for version in store.versions("all")]
    assert [kernel.version for kernel in kernels] == list(range(1, PROCESSES * ADDS + 1))
    seeds = [kernel.manifest.seed for kernel in kernels]
    for writer in range(PROCESSES):
        assert [seed for seed in seeds if seed // 100 == writer] == [
            100 * writer + number for number in range(ADDS)
        ]
    for kernel in kernels:
        np.testing.assert_equal(kernel.weights, random_kernel(SHAPE, kernel.manifest.seed))


def test_readers_see_whole_versions_while_writers_write(job: Job) -> None:
    writers = [started(add_many, job, writer, f"region=r{writer}") for writer in range(PROCESSES)]
    store, read = KernelStore(job), 0
    while any(process.is_alive() for process in writers):
        for domain, version in store.active().items():
            assert store.load(domain, version).version == version
        for domain in store.domains():
            versions = store.versions(domain)
            assert versions == list(range(1, len(versions) + 1)) != []
            kernel = store.load(domain, versions[-1])
            np.testing.assert_equal(kernel.weights, random_kernel(SHAPE, kernel.manifest.seed))
            read += 1
    assert read
    assert [process.exitcode for process in writers] == [0] * PROCESSES


def test_threads_wait_for_each_other_too(job: Job) -> None:
    threads = [
        threading.Thread(target=add_many, args=(job, writer, "all")) for writer in range(PROCESSES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert KernelStore(job).versions("all") == list(range(1, PROCESSES * ADDS + 1))


def hidden(job: Job) -> list[str]:
    return sorted(path.name for path in job.kernels.rglob(".*") if path.name != ".lock")


def stop_at(patch: Callable[[Callable[[], None]], None], act: Callable[[], None]) -> None:
    """Acts until a patched step is reached, where the process stops for good."""

    def forever() -> None:
        signal.pause()

    patch(forever)
    act()


def add_home(job: Job, domain: str = "scene=home") -> None:
    KernelStore(job).add(domain, random_kernel(SHAPE, 9), MANIFEST)


def at_card(job: Job) -> None:
    """Stops while a version's files are being written."""

    def patch(stop: Callable[[], None]) -> None:
        kernel_version.card = lambda manifest: stop()  # type: ignore[assignment,func-returns-value]

    stop_at(patch, lambda: add_home(job))


def at_rename(job: Job) -> None:
    """Stops when the version is whole, right before it is renamed."""

    def patch(stop: Callable[[], None]) -> None:
        store_module.publish = lambda moves: stop()

    stop_at(patch, lambda: add_home(job))


def at_active(job: Job) -> None:
    """Stops before ``active.json`` changes."""

    def patch(stop: Callable[[], None]) -> None:
        state_files.write_sealed = lambda path, content: stop()

    stop_at(patch, lambda: KernelStore(job).activate("all", 1))


def at_removal(job: Job) -> None:
    """Stops when a domain is gone but its files are not yet deleted."""

    def patch(stop: Callable[[], None]) -> None:
        files_module.sync = lambda folder: stop()

    stop_at(patch, lambda: KernelStore(job).remove("all"))


@pytest.fixture
def kernels(job: Job) -> KernelStore:
    """One version of the kernel of all traffic and two of a region's."""
    store = KernelStore(job)
    for domain, seed in (("all", 1), ("region=r1", 2), ("region=r1", 3)):
        store.add(domain, random_kernel(SHAPE, seed), MANIFEST)
    store.activate("region=r1", 1)
    return store


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.mark.parametrize("stage", [at_card, at_rename, at_active, at_removal])
def test_a_killed_writer_leaves_no_trace(
    stage: Callable[[Job], None], job: Job, kernels: KernelStore
) -> None:
    before = files(job.kernels)
    writer = started(stage, job)
    wait_for(
        lambda: bool(hidden(job)) and Path(f"/proc/{writer.pid}/wchan").exists() and asleep(writer)
    )
    gone = ["all"] if stage is at_removal else []

    def visible() -> dict[str, bytes]:
        return {
            name: content
            for name, content in files(job.kernels).items()
            if not name.startswith(".")
        }

    expected = {
        name: content for name, content in before.items() if not name.startswith((".", *gone))
    }
    assert visible() == expected, "while it is at work"
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    assert hidden(job)
    assert visible() == expected, "once it is dead"
    assert kernels.domains() == [name for name in ("all", "region=r1") if name not in gone]
    assert kernels.add("period=lunch", random_kernel(SHAPE, 5), MANIFEST) == 1
    assert hidden(job) == []
    assert {
        name: content for name, content in visible().items() if not name.startswith("period=lunch")
    } == expected


def asleep(process: BaseProcess) -> bool:
    """Whether a process has nothing to do, as in ``signal.pause``, twice in a row."""

    def state() -> str:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    first = state()
    time.sleep(0.05)
    return first == state() == "S"


def test_a_living_writer_is_waited_for_and_not_disturbed(
    job: Job, kernels: KernelStore, capfd: pytest.CaptureFixture[str]
) -> None:
    first = started(at_card, job)
    wait_for(lambda: bool(hidden(job)))
    second = started(add_home, job, "region=r9")
    wait_for(lambda: "waiting for another writer" in capfd.readouterr().err)
    second.join(0.2)
    assert second.is_alive()
    assert hidden(job), "its files are not swept while it lives"
    assert kernels.domains() == ["all", "region=r1"], "readers do not wait"
    assert kernels.load("region=r1", 1)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    second.join(30)
    assert second.exitcode == 0
    assert kernels.versions("region=r9") == [1]
    assert hidden(job) == []


def test_a_failed_writer_lets_the_next_one_in(job: Job) -> None:
    with pytest.raises(RuntimeError), sole_writer(job.kernels) as aside:
        (aside / "half").write_text("half")
        raise RuntimeError
    assert hidden(job) == []
    with sole_writer(job.kernels) as aside:
        assert list(aside.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(job: Job) -> None:
    job.kernels.write_text("a file")
    with pytest.raises(InputError, match="kernels: cannot be written to") as error:
        KernelStore(job).add("all", random_kernel(SHAPE, 1), MANIFEST)
    one_line(error)
