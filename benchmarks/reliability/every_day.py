"""Ten days by ``operations.refresh``, as a schedule runs it each morning: on Globo's logs, in the
quick run on six simulated days. One day's logs are missing, one day's came twice, in one a feature
has been turned to zeros, and one run is killed (kill -9) at a random moment and run again; what was
wrong with the logs is mended before the next day.

Bars: what is served after each day is what that day's rows taught, or what was served before
(``wrong_days`` is 0), every refusal says why (``unexplained`` is 0), the feature is named
(``zeroed_feature_named``), and the killed run leaves what an undisturbed one does
(``killed_other_results`` is 0). ``refresh_over_steps_ratio``: seconds of a day's refresh over those
of the steps' own commands on the same day, 1.3 at most; ``refresh_over_steps_cpu_ratio``: the same
in seconds of the processor, which other programs on the machine hardly change.

In the end one domain is rolled back on a running server (``benchmarks.reliability.roll_back``):
``rollback_on_server_seconds`` below 60, ``rollback_other_domains_changed`` and
``rollback_failed_requests`` 0.

What a day costs, in seconds of the processor, of every process that a command starts.
``full_run_cpu_seconds``: dataset, pre-training, kernels, evaluation, report and model as of the
day before the first refreshed one, of ``full_run_days`` days of logs; a day's share of it is the
one divided by the other. ``refresh_cpu_seconds``: the median of the refreshes of days on which
nothing was wrong, each of which reads three days of logs. ``refresh_over_share_ratio`` is that over
the share of one day, ``refresh_over_read_share_ratio`` that over the share of the rows that it
reads, a full run's seconds being divided by rows in place of days (the median of the days); 1.3 at
most.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import trainer  # noqa: F401 - before TensorFlow

# isort: split
import preprocessing.task as preprocessing_task
import serving.export.__main__ as export_command
import trainer.task as trainer_task
from benchmarks.method.study import ROOT
from benchmarks.reliability.roll_back import roll_back
from benchmarks.reliability.small_job import STEPS, Command, begin, begin_in, finish, kill
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import children_cpu_seconds
from configs import Experiment, load_experiment
from configs.cli import run
from configs.digests.listed_files import sha256_of
from configs.domain_names import folder_name
from operations.refresh.__main__ import REFUSED_CODE
from operations.refresh.__main__ import main as refresh_main
from operations.refresh.exporting import is_current
from operations.refresh.progress_file import ProgressFile
from operations.refresh.run import Refresh
from operations.refresh.summary import REFUSED, Summary
from preprocessing.beam.progress import say
from preprocessing.simulate import main as simulate_main
from serving.export.export_manifest import newest
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

_SEED = 1304
_DAY = timedelta(days=1)
_WINDOWS = (
    "splits={{pretrain: {{start: {start}, end: {end}}}, finetune: {{start: as_of - 3d, end:"
    " as_of - 1d}}, validation: {{start: as_of - 1d, end: as_of}}, test: {{start: as_of, end:"
    " as_of + 1d}}}}"
)
_LAST = "{start: as_of - 1d, end: as_of}"
_SIMULATED = (
    "name=small",
    "simulation={start: 2025-03-03T03:00:00Z, rows: 24_000, days: 11, time_zone: 'UTC-03:00',"
    " users: 150, shops: 40, cuisines: 6, regions: 2, history: 6, shift: 2.0, drift: 1.0,"
    " drift_start: 2025-03-06T03:00:00Z, click_rate: 0.3, conversion_rate: 0.4, candidates: 6}",
    "data.batch_rows=4_096",
    "features.history.max_length=6",
    "topics.scene.values=[home, search]",
    "topics.period.hours={lunch: 11-13, dinner: 17-20}",
    "topics.region.values=[r1, r2]",
    "backbone={embedding_dimension: 4, experts: 2, expert_layers: [8, 6], tower_layers: [6],"
    " attention_layers: [4], debias: {feature: position, layers: [4]}}",
    "pretrain={epochs: 2, batch_size: 256, learning_rate: 0.01, embedding_learning_rate: 0.1}",
    "kernel.width=6",
    "memory={keys: {user: [user_id], shop_scene: [shop_id, scene]}, refresh_hours: 2}",
    "finetune={epochs: 2, batch_size: 64, learning_rate: 0.03, child_learning_rate: 0.01,"
    " activation: {correction: none, level: 0.9}}",
    "evaluation={bootstrap: 20}",
)


@dataclass(frozen=True)
class Days:
    """A log of whole days, and how it is refreshed.

    Attributes:
      config: YAML file.
      settings: overrides of it.
      files: the log's, one a day, in order.
      first: when the first of them begins.
      learned: days that the backbone learns from.
      refreshed: the places of the days that are refreshed.
      zeroed: column that is turned to zeros.
      faults: place -> what is wrong that day.
    """

    config: Path
    settings: tuple[str, ...]
    files: list[Path]
    first: datetime
    learned: int
    refreshed: range
    zeroed: str
    faults: dict[int, str]

    def as_of(self, place: int) -> datetime:
        """When a day is over."""
        return self.first + (place + 1) * _DAY

    def words(self, place: int) -> list[str]:
        """What names the experiment on a command line, as of the end of a day."""
        windows = _WINDOWS.format(
            start=self.first.isoformat(), end=(self.first + self.learned * _DAY).isoformat()
        )
        chosen = [word for text in (*self.settings, windows) for word in ("--set", text)]
        as_of = ["--as-of", self.as_of(place).isoformat()]
        return ["--config", str(self.config), *chosen, *as_of]

    def experiment(self, place: int) -> Experiment:
        """The same, read."""
        words = self.words(place)
        overrides = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        return load_experiment(self.config, [*overrides, f"as_of={self.as_of(place).isoformat()}"])


@dataclass
class Place:
    """The folders of a run: logs as they have come in, job, models and refreshes.

    Attributes:
      folder: of all of it.
      days: what is refreshed.
      seconds: of the refresh of each day on which nothing was wrong.
      cpu_seconds: the same, of the processor.
      rows: that each of these refreshes read.
    """

    folder: Path
    days: Days
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        """Logs that are there."""
        return self.folder / "logs"

    @property
    def job(self) -> Job:
        """The job."""
        return Job(self.folder / "job")

    @property
    def models(self) -> Path:
        """Base path of the model."""
        return self.folder / "models"

    @property
    def log(self) -> Path:
        """What the commands said."""
        return self.folder / "log.txt"

    def bring(self, place: int, fault: str = "") -> None:
        """Has the logs of the windows of a day there, the newest as the fault has it."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        for path in self.days.files[max(0, place - 3) : place]:
            (self.logs / path.name).symlink_to(path)
        newest_file = self.days.files[place]
        if fault == "missing":
            return
        if fault == "zeroed":
            table = pq.read_table(newest_file)
            at = table.column_names.index(self.days.zeroed)
            zeros = pa.array(np.zeros(len(table)), pa.float64()).cast(table.schema.field(at).type)
            pq.write_table(
                table.set_column(at, self.days.zeroed, zeros), self.logs / newest_file.name
            )
            return
        (self.logs / newest_file.name).symlink_to(newest_file)
        if fault == "doubled":
            (self.logs / f"again-{newest_file.name}").symlink_to(newest_file)

    def refresh(self, place: int) -> Command:
        """``operations.refresh`` as of the end of a day."""
        words = [*self.days.words(place), "--input", f"{self.logs}/*.parquet"]
        words += ["--job-dir", str(self.job.folder), "--work", str(self.folder / "work")]
        words += ["--models", str(self.models), *_here()]
        return lambda: run(lambda: refresh_main(words))

    def summary(self, place: int) -> Summary | None:
        """What a day's refresh wrote down."""
        made = Refresh(self.days.experiment(place), "", self.job, self.folder / "work")
        return ProgressFile(made.progress.folder).summary()

    def first_day(self) -> Figures:
        """Backbone and kernels of the days before, and the model of these; what that cost."""
        before, used = self.days.refreshed[0] - 1, children_cpu_seconds()
        logs = self.folder / "first"
        logs.mkdir(parents=True)
        for path in self.days.files[: before + 1]:
            (logs / path.name).symlink_to(path)
        self._steps(before, logs, self.folder / "first-data", ("pretrain", "finetune", "evaluate"))
        rows = (pq.read_metadata(path).num_rows for path in self.days.files[: before + 1])
        return {
            "full_run_days": before + 1,
            "full_run_rows": sum(rows),
            "full_run_cpu_seconds": children_cpu_seconds() - used,
        }

    def steps(self, place: int, data: Path) -> Figures:
        """Seconds of the steps' own commands on a day: what a refresh is made of."""
        start, used = time.perf_counter(), children_cpu_seconds()
        self._steps(place, self.logs, data, ("finetune", "evaluate"), self.job.folder)
        return {
            "steps_seconds": time.perf_counter() - start,
            "steps_cpu_seconds": children_cpu_seconds() - used,
        }

    def _steps(
        self,
        place: int,
        logs: Path,
        data: Path,
        trained: tuple[str, ...],
        transform: Path | None = None,
    ) -> None:
        job = ["--job-dir", str(self.job.folder)]
        # a fitted dataset has rows of every split: the last day is the test as well
        fitted = ["--set", "evaluation.split=validation", "--set", f"splits.test={_LAST}"]
        words = [*self.days.words(place), *([] if transform else fitted)]
        given = [*words, "--input", f"{logs}/*.parquet", "--output", str(data), *_here()]
        given += ["--transform", str(transform)] if transform else []
        finish(lambda: run(lambda: preprocessing_task.main(given)), self.log)
        for step in trained:
            split = ["--split", "validation"] if step == "evaluate" else []
            told = [step, *words, "--data", str(data), *job, *split]
            finish(_command(trainer_task.main, told), self.log)
        if "evaluate" in trained:
            finish(_command(trainer_task.main, ["report", *job]), self.log)
        finish(_command(export_command.main, [*job, "--output", str(self.models)]), self.log)

    def served(self) -> dict[str, str]:
        """Domain -> digest of the weights that are served."""
        store = KernelStore(self.job)
        return {
            name: sha256_of(store.folder / folder_name(name) / str(version) / "weights.npz")
            for name, version in store.active().items()
        }


def measure(options: Options) -> Figures:
    """See the module."""
    begin_in(options.folder, *STEPS, "operations.refresh.run")
    days = _simulated(options.folder) if options.quick else _globo(options)
    place, random = Place(options.folder / "job", days), np.random.default_rng(_SEED)
    place.folder.mkdir()
    figures = place.first_day()
    say(
        f"full run: {figures['full_run_cpu_seconds']:.1f} s of the processor,"
        f" {figures['full_run_days']} days"
    )
    counts = dict.fromkeys(("released", "unchanged", REFUSED), 0)
    wrong = unexplained = 0
    for day in days.refreshed:
        fault = days.faults.get(day, "")
        place.bring(day, fault)
        before, former = place.served(), newest(place.models)
        if fault == "killed":
            figures |= _killed(place, day, random)
        elif day == days.refreshed[0] and not options.quick:
            beside = _copy(place, options.folder / "steps")
            figures |= beside.steps(day, beside.folder / "data")
        code, seconds, cpu_seconds = _run(place.refresh(day), place.log)
        summary = place.summary(day)
        outcome = summary.outcome if summary else "none"
        say(
            f"day {day}{f' ({fault})' if fault else ''}: {outcome} in {seconds:.1f} s, "
            f"{cpu_seconds:.1f} s of the processor"
        )
        for reason in summary.reasons if summary else ():
            say(f"  {reason}")
        counts[outcome] = counts.get(outcome, 0) + 1
        if not fault:
            place.seconds.append(seconds)
            place.cpu_seconds.append(cpu_seconds)
            place.rows.append(sum(summary.rows.values()) if summary else 0)
        wrong += int(not _is_right(place, day, code, before, former))
        unexplained += int(outcome == REFUSED and not (summary and summary.reasons))
        if fault in ("missing", "doubled", "zeroed"):
            said = " ".join(summary.reasons) if summary else ""
            figures[f"{fault}_refused"] = int(outcome == REFUSED)
            if fault == "zeroed":
                figures["zeroed_feature_named"] = int(f"'{days.zeroed}'" in said)
    figures |= {"wrong_days": wrong, "unexplained": unexplained}
    figures |= {f"days_{name}": count for name, count in counts.items()}
    return figures | _costs(place, figures) | roll_back(place.job, place.models, place.folder)


def _costs(place: Place, figures: Figures) -> Figures:
    """What a day's refresh costs, beside the full run and the steps' own commands."""
    full = float(figures["full_run_cpu_seconds"])
    share, of_row = (full / float(figures[f"full_run_{what}"]) for what in ("days", "rows"))
    read = [
        seconds / (of_row * rows)
        for seconds, rows in zip(place.cpu_seconds, place.rows, strict=True)
    ]
    found: Figures = {
        "refresh_seconds": float(np.median(place.seconds)),
        "refresh_cpu_seconds": float(np.median(place.cpu_seconds)),
        "refresh_over_share_ratio": float(np.median(place.cpu_seconds)) / share,
        "refresh_over_read_share_ratio": float(np.median(read)),
    }
    if "steps_seconds" in figures:
        found |= {
            "refresh_over_steps_ratio": place.seconds[0] / float(figures["steps_seconds"]),
            "refresh_over_steps_cpu_ratio": place.cpu_seconds[0]
            / float(figures["steps_cpu_seconds"]),
        }
    return found


def _is_right(
    place: Place, day: int, code: int, before: dict[str, str], former: Path | None
) -> bool:
    """Whether what is served after a day is what its rows taught, or what was served before."""
    summary, store = place.summary(day), KernelStore(place.job)
    if summary is None or (code == REFUSED_CODE) != (summary.outcome == REFUSED):
        return False
    if summary.outcome == REFUSED:
        return place.served() == before and newest(place.models) == former
    window = place.days.experiment(day).splits["validation"]
    ends = [window.start.isoformat(), window.end.isoformat()]
    taught = [
        list((store.manifest(name, version).windows or {}).get("validation", ())) == ends
        for name in summary.changed
        for version in [store.active().get(name)]
        if version is not None
    ]
    return code == 0 and all(taught) and is_current(place.job, place.models)


def _killed(place: Place, day: int, random: np.random.Generator) -> Figures:
    """Runs a day undisturbed in a copy, kills it at a random moment here, and goes on there."""
    beside = _copy(place, place.folder.parent / "undisturbed")
    code, seconds, _ = _run(beside.refresh(day), beside.log)
    expected = (code, beside.served(), beside.models.exists())
    process = begin(place.refresh(day), place.log)
    time.sleep(float(random.uniform(0.0, seconds)))
    inside = kill(process)
    code, *_ = _run(place.refresh(day), place.log)
    received = (code, place.served(), place.models.exists())
    return {"killed_at_work": int(inside), "killed_other_results": int(received != expected)}


def _copy(place: Place, folder: Path) -> Place:
    """A copy of what a refresh reads and changes."""
    shutil.copytree(place.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("*data"))
    return Place(folder, place.days)


def _run(command: Command, log: Path) -> tuple[int, float, float]:
    """Runs a command to its end; its exit code, its seconds, and those of the processor."""
    start, used = time.perf_counter(), children_cpu_seconds()
    process = begin(command, log)
    process.join()
    return process.exitcode or 0, time.perf_counter() - start, children_cpu_seconds() - used


def _command(main: Callable[[], None], words: list[str]) -> Command:
    def act() -> None:
        sys.argv[1:] = words
        run(main)

    return act


def _here() -> list[str]:
    """Beam's options: as many processes as there are cores, two at most."""
    count = min(2, os.cpu_count() or 1)
    mode = "in_memory" if count == 1 else "multi_processing"
    return [f"--direct_running_mode={mode}", f"--direct_num_workers={count}"]


def _simulated(folder: Path) -> Days:
    config, logs = ROOT / "configs" / "quickstart.yaml", folder / "simulated"
    settings = (*_SIMULATED, "data.time_zone=UTC-03:00")
    words = [word for text in settings for word in ("--set", text)]
    windows = _WINDOWS.format(start="2025-03-03T03:00:00Z", end="2025-03-06T03:00:00Z")
    words = ["--config", str(config), *words, "--set", windows, "--as-of", "2025-03-08"]
    finish(_command(simulate_main, [*words, "--output", str(logs)]), folder / "simulate.txt")
    return Days(
        config,
        settings,
        sorted(path.resolve() for path in logs.glob("*.parquet")),
        datetime.fromisoformat("2025-03-03T03:00:00Z"),
        3,
        range(5, 11),
        "rating",
        {6: "missing", 7: "doubled", 8: "zeroed", 9: "killed"},
    )


def _globo(options: Options) -> Days:
    return Days(
        ROOT / "configs" / "globo.yaml",
        ("data.time_zone=UTC-03:00",),
        [path.resolve() for path in options.globo()],
        datetime.fromisoformat("2017-10-01T03:00:00Z"),
        3,
        range(6, 16),
        "item_age_hours",
        {8: "missing", 10: "doubled", 12: "zeroed", 14: "killed"},
    )
