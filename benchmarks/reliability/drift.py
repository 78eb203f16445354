"""How much a kernel is better than the kernel of all traffic, from one day to another.

A test over users says how far the difference is known for the days that judge, and a log of a
hundred thousand rows a day makes that error small. What the difference is on the next day moves by
itself. This is measured on days that test nothing: kernels learn from the first days of the
fine-tuning window alone, and are compared on each of the days after it, up to the last one of the
validation window. ``finetune.activation.drift`` is what is found here.
"""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT, load_study
from benchmarks.speed.options import Figures, Options
from configs import Experiment, load_experiment
from configs.domains import ALL, Domain
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.task import parse_arguments
from trainer.evaluation.comparison import paired_rows
from trainer.evaluation.kernel_rows import KernelRows
from trainer.job import Job
from trainer.kernels.scoring import score_rows
from trainer.metrics.paired_tests import PairedTest, paired_test
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune

_DAY = timedelta(days=1)
_LEARNED, _LATER = "learned_{}", "day_{}"  # names of splits


def measure(options: Options) -> Figures:
    """See the module. ``WINDOW_kernels`` is how many domains' kernels learned something of their
    own from so many days; ``drift_TASK_points`` the standard deviation of a kernel's difference
    between days, in AUC points, less what users explain; ``drift_points`` that of all tasks.
    """
    path, logs = ROOT / "configs" / "globo.yaml", None
    settings: tuple[str, ...] = ()
    if options.quick:
        path, settings = ROOT / "configs" / "quickstart.yaml", load_study("quick").set
    else:
        logs = str(options.globo()[0].parent.resolve() / "*.parquet")
    bench = Bench(load_experiment(path, settings), logs, options.folder.parent / "globo")
    days, windows = _windows(bench.experiment)
    data = options.folder / "data"
    _, flags = parse_arguments(["--config", "-", "--output", str(data)])
    by_days = load_experiment(path, [*settings, *windows, *_roles(1, days)])
    DatasetJob(by_days, bench.logs, str(data), tuple(flags), str(bench.job.folder)).run()
    figures: Figures = {"days": days}
    excess: dict[str, list[float]] = {task: [] for task in bench.experiment.tasks.ranking}
    for learned in range(1, days - 1):
        experiment = load_experiment(path, [*settings, *windows, *_roles(learned, days)])
        job = _without_kernels(bench.job, options.folder / f"job-{learned}")
        finetune(experiment, data, job, [])
        found = dict(_differences(experiment, data, job, range(learned, days)))
        figures[f"{learned}_days_kernels"] = len({domain for domain, _ in found})
        for (_, task), tests in found.items():
            deltas = [test.delta for test in tests]
            errors = [test.standard_error**2 for test in tests]
            if len(tests) > 1:
                excess[task].append(float(np.var(deltas, ddof=1) - np.mean(errors)))
    for task, variances in excess.items():
        figures[f"drift_{task}_points"] = _deviation(variances)
    return figures | {"drift_points": _deviation([v for found in excess.values() for v in found])}


def _windows(experiment: Experiment) -> tuple[int, list[str]]:
    """How many days there are from the beginning of the fine-tuning window to the end of
    validation, and splits: of each day, and of all days before each.
    """
    first = experiment.splits[experiment.finetune.split].start
    days = (experiment.splits[experiment.finetune.validation].end - first) // _DAY

    def split(name: str, start: int, end: int) -> str:
        moments = (f"{(first + day * _DAY).isoformat()}" for day in (start, end))
        return f"splits.{name}={{start: '{next(moments)}', end: '{next(moments)}'}}"

    each = [split(_LATER.format(day), day, day + 1) for day in range(1, days)]
    return days, each + [split(_LEARNED.format(day), 0, day) for day in range(1, days - 1)]


def _roles(learned: int, days: int) -> list[str]:
    """Kernels learn from the first days and are stopped on the next; the last one is judged."""
    last = _LATER.format(days - 1)
    return [
        f"finetune.split={_LEARNED.format(learned)}",
        f"finetune.validation={_LATER.format(learned)}",
        f"pretrain.validation={last}",
        f"evaluation.split={last}",
    ]


def _without_kernels(job: Job, folder: Path) -> Job:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(job.backbone, Job(folder).backbone)
    return Job(folder)


def _differences(
    experiment: Experiment, data: Path, job: Job, days: range
) -> Iterator[tuple[tuple[str, str], list[PairedTest]]]:
    """For each domain that has a kernel of its own and each task, its test against the kernel of
    all traffic on each day where it is defined.
    """
    store = KernelStore(job)
    kernels = {name: store.load(name, store.versions(name)[-1]) for name in store.domains()}
    if ALL not in kernels:
        return
    source = KernelRows.open(experiment, data, job, list(kernels.values()))
    tests: dict[tuple[str, str], list[PairedTest]] = {}
    for name in map(_LATER.format, days):
        rows = source.of_split(name, name)
        for domain, kernel in kernels.items():
            inside = rows.domain_rows(Domain.parse(domain, experiment.topics))
            if domain == ALL or not len(inside):
                continue
            own, of_all = (
                score_rows(one.shape, one.weights, rows, inside) for one in (kernel, kernels[ALL])
            )
            for task, pair in paired_rows(experiment, rows, inside, own, of_all):
                if task in experiment.tasks.ranking and (test := paired_test(*pair)):
                    tests.setdefault((domain, task), []).append(test)
    yield from tests.items()


def _deviation(variances: list[float]) -> float | str:
    """In AUC points; a mean below 0 is less than users explain."""
    if not variances:
        return "not measured: no kernel has learned something of its own"
    return 100.0 * float(np.sqrt(max(0.0, float(np.mean(variances)))))
