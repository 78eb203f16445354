"""The frozen backbone's predicted over observed positives (PCOC) on its own pre-training rows: the
quickstart under three seeds, each another world, and under the first with other settings.

"Without" is the same backbone without its intercepts (``trainer.training.intercepts``): the
position logit left out, and nothing in its place.
"""

from pathlib import Path

from benchmarks.figures.report import Sections, table
from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT
from benchmarks.speed.options import Figures, Options
from configs import Experiment, load_experiment
from trainer.backbone.frozen_pass import open_frozen, run_frozen
from trainer.backbone.model import intercepts_of
from trainer.job import Job
from trainer.kernels.scoring import predicted_rows
from trainer.metrics.task_metrics import UNDEFINED, pcoc, to_json

LOWEST, HIGHEST = 0.97, 1.03
"""What PCOC is to lie between."""

_WITHOUT = "_without"
_SEEDS = (17, 18, 19)
_VARIANTS = {
    "strong_position": "simulation.position_bias=1.2",
    "without_debias": "backbone.debias=null",
    "progressive": "pretrain.progressive=true",
}
_TITLES = {f"seed_{seed}": f"quickstart, seed {seed}" for seed in _SEEDS} | {
    "strong_position": "a stronger position bias",
    "without_debias": "without position debias",
    "progressive": "progressive pre-training",
}


def measure(options: Options) -> Figures:
    """See the module."""
    worlds = {f"seed_{seed}": [f"seed={seed}"] for seed in _SEEDS[: 1 if options.quick else None]}
    worlds |= {name: [f"seed={_SEEDS[0]}", setting] for name, setting in _VARIANTS.items()}
    if options.quick:
        for settings in worlds.values():
            settings += ["simulation.rows=30_000", "pretrain.epochs=1", "pretrain.batch_size=256"]
    figures: Figures = {}
    for name, settings in worlds.items():
        experiment = load_experiment(ROOT / "configs" / "quickstart.yaml", settings)
        bench = Bench(experiment, None, options.folder)
        found = zero_shot_pcoc(experiment, bench.data, bench.job)
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    served = [value for name, value in figures.items() if not name.endswith(_WITHOUT)]
    return figures | {"outside": sum(not _calibrated(value) for value in served)}


def tables(figures: Figures) -> Sections:
    """The backbones that were measured, each with its PCOC by task, such as ``1.12 / 1.22``."""
    rows = []
    for world, title in _TITLES.items():
        named = {
            name.removeprefix(f"{world}_"): value
            for name, value in figures.items()
            if name.startswith(f"{world}_")
        }
        tasks = [name for name in named if not name.endswith(_WITHOUT)]
        if named:
            rows.append((title, _joined(named, tasks, _WITHOUT, 2), _joined(named, tasks, "", 3)))
    return {"pcoc": [table("pcoc", ["backbone", "without intercepts", "as served"], rows)]}


def _joined(named: Figures, tasks: list[str], end: str, digits: int) -> str:
    values = [named[f"{task}{end}"] for task in tasks]
    return " / ".join(v if isinstance(v, str) else f"{v:.{digits}f}" for v in values)


def _calibrated(value: float | str) -> bool:
    return value != UNDEFINED and LOWEST <= float(value) <= HIGHEST


def zero_shot_pcoc(
    experiment: Experiment, data: Path, job: Job, split: str | None = None
) -> Figures:
    """PCOC of a job's frozen backbone, and what it would be without its intercepts.

    Args:
      experiment: that the backbone was trained with.
      data: folder of a dataset that it can read.
      job: where the backbone is.
      split: whose rows are scored; those that it was trained on where None.

    Returns:
      ``TASK`` and ``TASK_without`` of each task over all rows; "undefined" where the rows are of
      one class.
    """
    dataset, backbone = open_frozen(experiment, data, job)
    rows = run_frozen(backbone, dataset, split or experiment.pretrain.split, None, "zero-shot")
    intercepts = intercepts_of(backbone)
    plain = rows.logits - (0.0 if intercepts is None else intercepts.numpy())
    served, without = (predicted_rows(experiment.tasks, logits) for logits in (rows.logits, plain))
    figures: Figures = {}
    for task in experiment.tasks.ranking:
        labels = rows.labels(experiment.tasks.targets[task].label)
        figures[task] = to_json(pcoc(labels, served[task], rows.weights))
        figures[f"{task}{_WITHOUT}"] = to_json(pcoc(labels, without[task], rows.weights))
    return figures
