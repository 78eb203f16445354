"""The registry under kill -9: a writer adds, activates, deactivates and removes kernels, and is
killed at a random moment, again and again.

What is found afterwards must be what the writer had finished, or that and the one change it was at:
every version whole, with the weights that its seed gives, and ``active.json`` of versions that
exist. The next write must leave nothing of the killed one.
"""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.speed.options import Figures, Options
from configs import InputError
from configs.files import write_json
from preprocessing.beam.progress import say
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore

_KILLS, _KILLS_QUICK = 100, 5
_LONGEST_SECONDS = 0.15  # a writer lives; one change takes some milliseconds
_DOMAINS = ("all", "scene=home", "region=r1", "region=r1,scene=home")
_SHAPE = KernelShape(widths=(64, 16, 1), activation="relu", residual=True, tap="tower")

Change = tuple[str, str, int]
"""What is done, the domain, and a seed."""


@dataclass(frozen=True)
class State:
    """What a registry holds: seed of every version by domain, and the active versions."""

    seeds: dict[str, dict[int, int]] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)

    def after(self, change: Change) -> "State":
        """The state that a change leads to."""
        action, domain, seed = change
        others = {name: version for name, version in self.active.items() if name != domain}
        versions = self.seeds.get(domain, {})
        newest = max(versions, default=0)
        if action == "add":
            return State({**self.seeds, domain: {**versions, newest + 1: seed}}, self.active)
        if action == "activate":
            return State(self.seeds, {**others, domain: newest})
        if action == "deactivate":
            return State(self.seeds, others)
        return State({name: found for name, found in self.seeds.items() if name != domain}, others)


def measure(options: Options) -> Figures:
    """See the module."""
    job = _new_job(options.folder / "job")
    generator = np.random.default_rng(options.quick)
    kills = _KILLS_QUICK if options.quick else _KILLS
    state, unclean, inside, left, changes, versions = State(), 0, 0, 0, 0, 0
    start = time.perf_counter()
    for number in range(kills):
        done, killed = _killed_writer(
            job, state, number, float(generator.uniform(0.0, _LONGEST_SECONDS))
        )
        inside += bool(_traces(job))
        found, problem = _found(job, state, number, done)
        if not killed:
            problem = problem or "the writer failed before it was killed; its message stands above"
        if problem:
            say(f"kill {number + 1}: {problem}")
            unclean += 1
        changes, versions = changes + done, versions + _added(state, number, done)
        state = found.after(("add", "all", -number - 1))
        _apply(KernelStore(job), ("add", "all", -number - 1))
        left += len(_traces(job))
    return {
        "kills": kills,
        "kills_inside_a_write": inside,
        "unclean_registries": unclean,
        "traces_after_the_next_write": left,
        "changes_finished": changes,
        "versions_written": versions + kills,
        "versions_left": sum(map(len, state.seeds.values())),
        "run_seconds": time.perf_counter() - start,
    }


def changes_from(state: State, seed: int) -> Iterator[tuple[Change, State]]:
    """An endless run of changes and where each leads: a function of where it starts and of the
    seed.
    """
    generator = np.random.default_rng([seed, 1])
    while True:
        domain = _DOMAINS[generator.integers(len(_DOMAINS))]
        action = str(
            generator.choice(["add", "activate", "deactivate", "remove"], p=[0.6, 0.2, 0.1, 0.1])
        )
        change = (
            action if domain in state.seeds else "add",
            domain,
            int(generator.integers(1, 1 << 30)),
        )
        state = state.after(change)
        yield change, state


def _apply(store: KernelStore, change: Change) -> None:
    action, domain, seed = change
    if action == "add":
        settings = {
            "split": "finetune",
            "validation": "validation",
            "regulariser": "none",
            "beta": 0.0,
        }
        rows = {"train": 1, "validation": 1}
        manifest = {
            "shape": _SHAPE.to_json(),
            "seed": seed,
            "rows": rows,
            "finetune": settings,
            "validation": {},
            "activated": True,
        }
        store.add(
            domain, _weights(seed), manifest, {"requests": "", "scores": {"click": [float(seed)]}}
        )
    elif action == "activate":
        store.activate(domain, store.versions(domain)[-1])
    elif action == "deactivate":
        store.deactivate(domain)
    else:
        store.remove(domain)


def _weights(seed: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    generator = np.random.default_rng(abs(seed))
    return {
        name: generator.standard_normal(size, np.float32)
        for name, size in _SHAPE.variables().items()
    }


def _killed_writer(job: Job, state: State, seed: int, seconds: float) -> tuple[int, bool]:
    """Runs a writer and kills it after as many seconds of work; how many changes it had
    finished, and whether it had to be killed.
    """
    reading, writing = os.pipe()

    def write() -> None:
        store = KernelStore(job)
        os.write(writing, b"r")
        for change, _ in changes_from(state, seed):
            _apply(store, change)
            os.write(writing, b".")

    process = multiprocessing.get_context("fork").Process(target=write, daemon=True)
    process.start()
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as told:
        told.read(1)
        time.sleep(seconds)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        return len(told.read()), process.exitcode == -signal.SIGKILL


def _found(job: Job, before: State, seed: int, done: int) -> tuple[State, str]:
    """What a killed writer left, and what is wrong with it, if anything."""
    store = KernelStore(job)
    try:
        seeds = {
            domain: {
                version: _seed_of(store, domain, version) for version in store.versions(domain)
            }
            for domain in store.domains()
        }
        found = State(seeds, store.active())
    except InputError as error:
        return before, str(error)
    states = [before]
    for (change, state), _ in zip(changes_from(before, seed), range(done + 1), strict=False):
        last = change
        states.append(state)
    allowed = [
        *states[-2:],
        states[-2].after(("deactivate", *last[1:])) if last[0] == "remove" else states[-1],
    ]
    return found, "" if found in allowed else f"neither before nor after {last}: {found}"


def _seed_of(store: KernelStore, domain: str, version: int) -> int:
    kernel = store.load(domain, version)
    seed = kernel.manifest.seed or 0
    if any(
        not np.array_equal(kernel.weights[name], values) for name, values in _weights(seed).items()
    ):
        raise InputError(f"{domain} {version}: other weights than its seed gives")
    return seed


def _added(before: State, seed: int, done: int) -> int:
    return sum(
        change[0] == "add"
        for (change, _), _ in zip(changes_from(before, seed), range(done), strict=False)
    )


def _traces(job: Job) -> list[Path]:
    """All that no reader sees, but the lock."""
    return (
        [path for path in job.kernels.rglob(".*") if path.name != ".lock"]
        if job.kernels.exists()
        else []
    )


def _new_job(folder: Path) -> Job:
    shutil.rmtree(folder, ignore_errors=True)
    job = Job(folder)
    tensors = {f"layer_{number}/kernel": "0" * 64 for number in range(40)}
    write_json(
        job.backbone / "fingerprint.json",
        {"fingerprint": "f" * 64, "transform": "t" * 64, "tensors": tensors},
    )
    return job
