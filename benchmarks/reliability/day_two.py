"""A job's second day: a region that the backbone has never heard of, logs of new days alone, names
that no kernel has, versions that have aged. Everything by the commands, as a user runs them.

The quickstart's job is trained with the regions r1 to r3; r4 comes later. Beside it stand the
figures of the sections ``activation_rules`` and ``zero_shot_calibration``, and, where Globo's logs
are at hand, whether a kernel that is active there is below its fallback on the test days.
"""

import json
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT, load_study
from benchmarks.reliability import activation_rules, zero_shot_calibration
from benchmarks.reliability.below_fallback import below_fallback
from benchmarks.reliability.hot_add import Answers
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import run_process
from configs import Experiment, load_experiment
from configs.domain_definitions import definition_of
from configs.domain_names import (
    ALL,
    AUTO,
    BACKBONE,
    conditions_of,
    domain_name,
    is_single_topic,
)
from configs.domains import Domain
from configs.files import read_json
from serving.client import Client
from serving.selfcheck import running_server
from serving.wire.signatures import SERVED_DOMAIN
from trainer.job import Job
from trainer.kernels.fallback import answering_domain
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune

_ADDED = "region=r4"
_FIRST_REGIONS = "topics.region.values=[r1, r2, r3]"
_MODEL = "selfcheck"
_DAY = timedelta(days=1)


def measure(options: Options) -> Figures:
    """See the module."""
    scene = _Scene.of(options)
    scene.first_day()
    figures = scene.added_value("new_region", scene.data, scene.job)
    figures |= scene.new_days_alone()
    figures |= scene.names()
    figures |= scene.a_day_later()
    figures |= {
        "quickstart_kernels_equal_to_their_parent": len(equal_to_parent(scene.job)),
        "quickstart_active_below_fallback": len(
            below_fallback(scene.experiment(), scene.data, scene.job)
        ),
    }
    figures |= _globo(options)
    if options.quick:
        return figures | {"rules": "not measured in the quick run", "zero_shot": "neither"}
    for name, section in (("rules", activation_rules), ("zero_shot", zero_shot_calibration)):
        own = replace(options, folder=options.folder / name)
        own.folder.mkdir(parents=True, exist_ok=True)
        figures |= {f"{name}_{key}": value for key, value in section.measure(own).items()}
    return figures


def equal_to_parent(job: Job) -> list[str]:
    """Stored versions whose arrays are those of a version of a domain above theirs."""
    store = KernelStore(job)
    stored = {
        domain: [store.load(domain, version) for version in store.versions(domain)]
        for domain in store.domains()
    }
    found = []
    for domain, kernels in stored.items():
        singles = [domain_name([condition]) for condition in conditions_of(domain)]
        above = {ALL, *(singles if len(singles) > 1 else ())} - {domain}
        for kernel in kernels:
            others = [other for name in above for other in stored.get(name, [])]
            if any(_same(kernel.weights, other.weights) for other in others):
                found.append(f"{domain} {kernel.version}")
    return found


def plant(
    store: KernelStore, domain: str, source: str, experiment: Experiment, factor: float
) -> int:
    """Stores a version that no training gave: the newest of ``source``, its weights times
    ``factor``.
    """
    kernel = store.load(source, store.versions(source)[-1])
    topics = experiment.topics
    definition = definition_of(Domain.parse(domain, topics), topics)
    weights = {name: factor * array for name, array in kernel.weights.items()}
    record = kernel.manifest.model_copy(update={"definition": definition})
    return store.add(domain, weights, record)


def _a_day_later(experiment: Experiment) -> dict[str, dict[str, str]]:
    """Every split but that of pre-training, a day later."""
    return {
        name: {
            end: (moment if name == experiment.pretrain.split else moment + _DAY).isoformat()
            for end, moment in (("start", split.start), ("end", split.end))
        }
        for name, split in experiment.splits.items()
    }


def _globo(options: Options) -> Figures:
    """How many of Globo's active kernels are below their fallback on its test days."""
    if options.quick:
        return {"globo_active_below_fallback": "not measured in the quick run"}
    if not (options.input / "globo").is_dir():
        return {"globo_active_below_fallback": f"not measured: no {options.input / 'globo'}"}
    logs = str(options.globo()[0].parent.resolve() / "*.parquet")
    bench = Bench(
        load_experiment(ROOT / "configs" / "globo.yaml"), logs, options.folder.parent / "globo"
    )
    shutil.rmtree(bench.job.kernels, ignore_errors=True)
    finetune(bench.experiment, bench.data, bench.job, [])
    below = below_fallback(bench.experiment, bench.data, bench.job)
    return {
        "globo_active": len(KernelStore(bench.job).active()),
        "globo_active_below_fallback": len(below),
        "globo_kernels_equal_to_their_parent": len(equal_to_parent(bench.job)),
    }


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(array, other[name]) for name, array in one.items()
    )


@dataclass(frozen=True)
class _Scene:
    """The folders of one run, and the settings that its commands are given."""

    folder: Path
    settings: tuple[str, ...]

    @classmethod
    def of(cls, options: Options) -> "_Scene":
        """An empty folder: what an earlier run left is no first day."""
        shutil.rmtree(options.folder, ignore_errors=True)
        options.folder.mkdir(parents=True)
        quick = (*load_study("quick").set, "topics.region.values=[r1, r2, r3, r4]")
        return cls(options.folder, quick if options.quick else ())

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def job(self) -> Job:
        return Job(self.folder / "job")

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def experiment(self, *settings: str) -> Experiment:
        """The config with all four regions, and further settings."""
        return load_experiment(ROOT / "configs/quickstart.yaml", [*self.settings, *settings])

    def run(self, step: str, module: str, *words: str, settings: tuple[str, ...] = ()) -> str:
        """Runs a command on the quickstart's config; gives what it printed."""
        chosen = [word for setting in (*self.settings, *settings) for word in ("--set", setting)]
        config = ["--config", str(ROOT / "configs/quickstart.yaml"), *chosen]
        return run_process([*module.split(), *config, *words], self.folder / f"{step}.log").log

    def kernels(self, step: str, job: Job, *words: str) -> None:
        """Runs ``trainer.task kernels``."""
        command = ["trainer.task", "kernels", *words, "--job-dir", str(job.folder)]
        run_process(command, self.folder / f"{step}.log")

    def export(self, step: str, job: Job, models: Path) -> Path:
        """Exports a job; gives the new version's folder."""
        command = ["serving.export", "--job-dir", str(job.folder), "--output", str(models)]
        run_process(command, self.folder / f"{step}.log")
        return max(models.iterdir(), key=lambda path: int(path.name))

    def first_day(self) -> None:
        """Logs, dataset, backbone, kernels and version 1, with three regions; the rows of
        pre-training are deleted afterwards, so whoever reads them fails.
        """
        first = (_FIRST_REGIONS,)
        where = ("--data", str(self.data), "--job-dir", str(self.job.folder))
        self.run("simulate", "preprocessing.simulate", "--output", str(self.logs))
        logs = ("--input", str(self.logs / "*.parquet"))
        self.run(
            "preprocess", "preprocessing.task", *logs, "--output", str(self.data), settings=first
        )
        self.run("pretrain", "trainer.task pretrain", *where, settings=first)
        self.run("finetune", "trainer.task finetune", *where, settings=first)
        self.export("export", self.job, self.models)
        shutil.copytree(self.job.folder, self.folder / "job-of-day-one")
        shutil.copytree(self.models, self.folder / "models-of-day-one")
        shutil.rmtree(self.data / "pretrain")

    def added_value(self, name: str, data: Path, job: Job) -> Figures:
        """Adds the fourth region to a finished job; where its rows teach a kernel nothing that
        that of all traffic does not know, a made-up one stands in, so that it is seen how it is
        served.
        """
        models = self.models if job == self.job else self.folder / "models-of-day-one"
        words = ("--data", str(data), "--job-dir", str(job.folder), "--domains", _ADDED)
        self.run(f"{name}-finetune", "trainer.task finetune", *words)
        store = KernelStore(job)
        by_rule, learned = _ADDED in store.active(), bool(store.versions(_ADDED))
        if not learned:
            plant(store, _ADDED, ALL, self.experiment(), 0.9)
        if not by_rule:
            self.kernels(f"{name}-activate", job, "activate", _ADDED, "1")
        before = Answers(models / "1", job)
        after = Answers(self.export(f"{name}-export", job, models), job)
        others = [*store.active(), AUTO, BACKBONE]
        named = [domain for domain in others if domain not in (_ADDED, AUTO)]
        return {
            f"{name}_learned_a_kernel": int(learned),
            f"{name}_activated_by_rule": int(by_rule),
            f"{name}_served": int(after.served(_ADDED) == {_ADDED}),
            f"{name}_other_domains": len(named),
            f"{name}_other_domains_changed": sum(
                before.scores(domain) != after.scores(domain) for domain in named
            ),
            f"{name}_columns_of_all_domains_changed": len(
                before.side_by_side(named) ^ after.side_by_side(named)
            ),
        }

    def new_days_alone(self) -> Figures:
        """The same on a copy of the first day's job, from logs that begin with the fine-tuning
        window, and once more with a day of the pre-training window beside them.
        """
        job = Job(self.folder / "job-of-day-one")
        start = self.experiment().splits["finetune"].start
        days = sorted(self.logs.glob("*.parquet"))
        new = [path for path in days if path.stem[-10:] >= f"{start:%Y-%m-%d}"]
        late = [path for path in days if path not in new][-1]
        digests = []
        for name, files in (("new", new), ("late", [late, *new])):
            logs, data = self.folder / f"{name}-logs", self.folder / f"{name}-data"
            logs.mkdir()
            for path in files:
                (logs / path.name).symlink_to(path.resolve())
            words = ("--input", str(logs), "--output", str(data), "--transform", str(job.folder))
            self.run(f"{name}-preprocess", "preprocessing.task", *words)
            digests.append(read_json(data / "manifest.json")["transform_digest"])
        manifest = read_json(self.folder / "new-data" / "manifest.json")
        return {
            "new_days_pretrain_rows": manifest["splits"]["pretrain"]["rows"],
            "late_rows_change_the_transform": int(digests[0] != digests[1]),
        } | self.added_value("new_days", self.folder / "new-data", job)

    def names(self) -> Figures:
        """Asks version 2 by names that are inactive, reordered, misspelt or empty, in the graph and
        through the embedded server; counts the rows that another domain answers than should.
        """
        store, experiment = KernelStore(self.job), self.experiment()
        gains = {
            domain: store.load(domain, version).measured_gain
            for domain, version in store.active().items()
        }
        expected = {d.name: {answering_domain(d, gains)} for d in experiment.domains}
        asked = dict(expected)
        for name in list(expected):
            reordered = ",".join(reversed(name.split(",")))
            asked[reordered] = expected[name]
        answers = Answers(max(self.models.iterdir(), key=lambda path: int(path.name)), self.job)
        automatic = answers.served(AUTO)
        asked |= {"": automatic, "scene=hoem": automatic, "no such domain": automatic}
        rows = self.job.golden_requests()
        with running_server(self.models) as target, Client(target, _MODEL) as client:
            by_server = {
                name: {row[SERVED_DOMAIN] for row in client.predict(rows, name)} for name in asked
            }
        return {
            "names_asked": len(asked),
            "names_inactive": sum(name not in gains for name in expected),
            "names_wrong_in_the_graph": sum(
                answers.served(name) != served for name, served in asked.items()
            ),
            "names_wrong_by_the_server": sum(
                by_server[name] != served for name, served in asked.items()
            ),
        }

    def a_day_later(self) -> Figures:
        """Fine-tunes everything again, every window a day later, with one domain pinned and one
        whose served kernel has been made to rank upside down.
        """
        store = KernelStore(self.job)
        idle = [name for name in store.domains() if name not in store.active()]
        while sum(map(is_single_topic, store.active())) < 2 and idle:
            name = idle.pop()
            if is_single_topic(name):
                self.kernels("serve", self.job, "activate", name, str(store.versions(name)[-1]))
        before = store.active()
        pinned, stale = [name for name in before if is_single_topic(name)][:2]
        self.kernels("pin", self.job, "pin", pinned)
        planted = plant(store, stale, stale, self.experiment(), -3.0)
        self.kernels("plant", self.job, "activate", stale, str(planted))
        self.kernels("unpin", self.job, "unpin", stale)
        shifted = (f"splits={json.dumps(_a_day_later(self.experiment()))}",)
        data = self.folder / "later-data"
        logs = ("--input", str(self.logs / "*.parquet"), "--transform", str(self.job.folder))
        self.run(
            "later-preprocess",
            "preprocessing.task",
            *logs,
            "--output",
            str(data),
            settings=shifted,
        )
        where = ("--data", str(data), "--job-dir", str(self.job.folder))
        self.run("later-finetune", "trainer.task finetune", *where, settings=shifted)
        self.export("later-export", self.job, self.models)
        after, decisions = store.active(), store.decisions()
        outcomes = [decision.outcome for decision in decisions.values()]
        return {
            "day_later_activated": outcomes.count("activate"),
            "day_later_kept": outcomes.count("keep"),
            "day_later_deactivated": outcomes.count("deactivate"),
            "day_later_stale_still_served": int(after.get(stale) == planted),
            "day_later_pinned_changed": int(after.get(pinned) != before[pinned]),
            "day_later_active_below_fallback": len(
                below_fallback(self.experiment(*shifted), data, self.job)
            ),
        }
