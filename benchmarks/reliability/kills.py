"""Every step of a small job is killed (kill -9) at a random moment, again and again, and run once
more: preprocessing in one process and in two, pre-training, fine-tuning, evaluation, export,
``kernels activate``, ``remove`` and ``rollback``, ``memory refresh``, and a server while it loads.

Bars: what the rerun leaves is what an undisturbed run leaves (``STEP_other_results`` is 0), to the
bit where a step writes the same bits twice; nothing of the killed run is left over, neither files
(``STEP_left_over``) nor processes (``STEP_left_processes``).
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from benchmarks.reliability.small_job import Command, Small, begin, digests, finish, kill
from benchmarks.speed.options import Figures, Options
from configs import InputError
from configs.digests.listed_files import sha256_of
from configs.files import read_object
from configs.memory import Memory
from preprocessing.beam.progress import say
from trainer.job import Job
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import memory_read

_SEED, _KILLS, _KILLS_QUICK = 1304, 20, 1
_PATIENCE = 20.0
"""Seconds that processes of a killed run may take to notice."""
_HIDDEN = (".aside-", ".partial", "tmp", "_temp")
"""What the names of unfinished files have in them; temporary files must all be gone."""
_DOMAIN = "scene=home"

Outcome = dict[str, str]
"""What a step has left: file or fact -> digest or value."""


@dataclass(frozen=True)
class Step:
    """A step that is killed.

    Attributes:
      name: of it.
      needs: folders of a small job that it reads or goes on with.
      command: the step.
      outcome: of a finished step.
      done: whether a killed step had done all before; running it again would be another change.
      then: what is run in its place then; it changes nothing, but clears up as any writer does.
    """

    name: str
    needs: tuple[str, ...]
    command: Command
    outcome: Callable[[], Outcome]
    done: Callable[[], bool] = lambda: False
    then: Command | None = None


def measure(options: Options) -> Figures:
    """See the module."""
    root = options.folder
    shutil.rmtree(root, ignore_errors=True)
    temporary = root / "temporary"
    temporary.mkdir(parents=True)
    os.environ["TMPDIR"], tempfile.tempdir = str(temporary), str(temporary)
    sound, work = Small(root / "sound"), Small(root / "work")
    for small in (sound, work):
        small.folder.mkdir()
    work.build()  # at the place where it runs later: manifests name their logs
    shutil.copytree(work.folder, sound.folder, dirs_exist_ok=True)
    random = np.random.default_rng(_SEED)
    figures: Figures = {}
    for step in steps(work):
        say(f"{step.name} ...")
        kills = _KILLS_QUICK if options.quick else _KILLS
        figures |= killed(step, sound.folder, work.folder, kills, random)
    totals = ("kills", "other_results", "left_over", "left_processes")
    return {
        name: sum(int(value) for key, value in figures.items() if key.endswith(f"_{name}"))
        for name in totals
    } | figures


def steps(work: Small) -> list[Step]:
    """The steps, at their place."""
    job, kernels = Job(work.job), work.job / "kernels"

    def served() -> int | None:
        return KernelStore(job).active().get(_DOMAIN)

    def backbone() -> Outcome:
        finished = read_object(job.backbone / "fingerprint.json")
        return {
            "fingerprint": str(finished["fingerprint"]),
            "history": sha256_of(job.backbone / "history.json"),
            "golden": sha256_of(job.golden),
            **dict.fromkeys(digests(job.backbone), ""),
        }

    def version() -> Outcome:
        folder = work.models / "1"
        record = read_object(folder / "assets.extra" / "export.json")
        names = [name for name in record["files"] if name != "saved_model.pb"]
        graph = {"kernels": str(record["kernels"]), "sources": str(record["sources"])}
        same = {name: sha256_of(folder / name) for name in names if "fingerprint.pb" not in name}
        return graph | same | dict.fromkeys(digests(work.models), "")

    newest, tuned = served(), ("data", "job")
    nothing = work.kernels("activate", "all", "1")  # it is active
    return [
        *(
            Step(
                f"preprocess_{processes}",
                ("logs",),
                work.preprocess(processes),
                lambda: digests(work.data),
            )
            for processes in (1, 2)
        ),
        Step("pretrain", ("data",), work.train("pretrain"), backbone),
        Step(
            "finetune",
            ("data", "job/backbone"),
            work.train("finetune"),
            lambda: digests(kernels) | digests(job.memory),
        ),
        Step("evaluate", tuned, work.train("evaluate"), lambda: digests(job.reports)),
        Step("export", ("job",), work.export(), version, lambda: (work.models / "1").exists()),
        Step(
            "activate",
            ("job",),
            work.kernels("activate", _DOMAIN, "1"),
            lambda: digests(kernels),
        ),
        Step(
            "remove",
            ("job",),
            work.kernels("remove", _DOMAIN),
            lambda: digests(kernels),
            lambda: _DOMAIN not in KernelStore(job).domains(),
            nothing,
        ),
        Step(
            "rollback",
            ("job",),
            work.kernels("rollback", _DOMAIN),
            lambda: digests(kernels),
            lambda: served() != newest,
            nothing,
        ),
        Step(
            "memory_refresh",
            ("data", "job"),
            work.memory("refresh"),
            lambda: digests(job.memory),
            lambda: MemoryStore(job).served(_remembered(job)).version == 2,
            work.memory("activate", "2"),
        ),
        Step("server", ("models",), partial(_serve, work.models), lambda: digests(work.models)),
    ]


def _remembered(job: Job) -> Memory:
    memory = memory_read(KernelStore(job))
    if memory is None:
        raise InputError(f"{job.kernels}: no active kernel reads memory")
    return memory


def _serve(models: Path) -> None:
    """A server that ends when it has loaded its models and listens."""
    import io
    import sys

    from configs.cli import run
    from serving.server import main as server

    class Ends(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("Serving"):
                os._exit(0)
            return len(text)

    sys.stdout = Ends()
    words = ["--model-base-path", str(models), "--port", "0"]
    run(lambda: server.main(words))


def killed(step: Step, sound: Path, work: Path, kills: int, random: np.random.Generator) -> Figures:
    """Kills a step at random moments of an undisturbed run's time, and runs it again.

    Args:
      step: the step, which works in ``work``.
      sound: a finished small job.
      work: is made anew each time.
      kills: how often.
      random: draws the moments.
    """
    log = sound.parent / f"{step.name}.txt"
    _prepare(step, sound, work)
    seconds = finish(step.command, log)
    expected = step.outcome()
    inside = other = left_over = left_processes = 0
    for number in range(kills):
        _prepare(step, sound, work)
        process = begin(step.command, log)
        time.sleep(float(random.uniform(0.0, seconds)))
        inside += process.is_alive()
        left_processes += _kill_alone(process)
        if not step.done():
            seconds = min(seconds, finish(step.command, log))
        elif step.then:
            finish(step.then, log)
        received = step.outcome()
        if received != expected:
            other += 1
            names = {n for n, _ in expected.items() ^ received.items()}
            say(f"{step.name}, kill {number + 1}: others than undisturbed: {sorted(names)[:8]}")
        traces = _traces(work) + list(Path(tempfile.gettempdir()).iterdir())
        left_over += bool(traces)
        for path in traces:
            say(f"{step.name}, kill {number + 1}: left over: {path}")
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return {
        f"{step.name}_kills": kills,
        f"{step.name}_kills_at_work": inside,
        f"{step.name}_other_results": other,
        f"{step.name}_left_over": left_over,
        f"{step.name}_left_processes": left_processes,
        f"{step.name}_seconds": seconds,
    }


def _prepare(step: Step, sound: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    for name in step.needs:
        shutil.copytree(sound / name, work / name)


def _kill_alone(process: BaseProcess) -> int:
    """Kills a command's own process; how many of its others had to be killed, too, since they did
    not end by themselves.
    """
    group = process.pid or 0
    process.kill()
    process.join()
    give_up = time.monotonic() + _PATIENCE
    while _alive(group):
        if time.monotonic() > give_up:
            kill(process)
            return 1
        time.sleep(0.02)
    return 0


def _alive(group: int) -> bool:
    """Whether a process group has a process that is no zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False


def _traces(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if any(word in path.name for word in _HIDDEN)]
    return [path for path in found if not any(parent in found for parent in path.parents)]
