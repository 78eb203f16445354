"""What sections measure on: Globo's logs where they are at hand, small simulated ones in the quick
run; dataset and backbone of them, each made where the section's folder has none yet.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.method.bench import Bench
from benchmarks.method.study import ROOT, load_study
from benchmarks.speed.options import Options
from configs import Experiment, load_experiment
from preprocessing.beam.dataset_job import Job
from preprocessing.simulate import simulate
from preprocessing.task import parse_arguments
from trainer.data.dataset import Dataset
from trainer.training.backbone_step import Learner
from trainer.training.pretrain import MOST_AT_ONCE


def logs_of(options: Options) -> tuple[Path, list[str], list[Path]]:
    """Config, settings and log files."""
    if not options.quick:
        return ROOT / "configs" / "globo.yaml", [], options.globo()
    study = load_study("quick")
    settings = [*study.set, "data.batch_rows=4096"]
    folder = options.folder / "logs"
    if not folder.exists():
        simulate(load_experiment(ROOT / study.config, settings), folder)
    return ROOT / study.config, settings, sorted(folder.glob("*.parquet"))


def dataset_of(options: Options) -> tuple[Dataset, Experiment]:
    """The dataset of these logs."""
    config, settings, logs = logs_of(options)
    experiment, folder = load_experiment(config, settings), options.folder / "data"
    if not (folder / "manifest.json").exists():
        _, flags = parse_arguments(["--config", "-", "--output", str(folder)])
        Job(experiment, _glob(logs), str(folder), tuple(flags)).run()
    return Dataset.open(folder, experiment), experiment


def finished_bench(options: Options, *settings: str) -> Bench:
    """Dataset and pre-trained backbone of these logs.

    Args:
      options: of the section.
      settings: ``key.path=value`` on top of the config's.
    """
    config, own, logs = logs_of(options)
    return Bench(load_experiment(config, [*own, *settings]), _glob(logs), options.folder)


def learn(learner: Learner, batches: Iterator[Any], steps: int) -> int:
    """Learns from the next batches of a dataset's iterator as pre-training does. Returns their
    rows.
    """
    rows = 0
    for done in range(0, steps, MOST_AT_ONCE):
        losses, learned = learner.steps(batches, tf.constant(min(MOST_AT_ONCE, steps - done)))
        losses.numpy()  # pre-training reads them, too
        rows += int(learned)
    return rows


def _glob(logs: list[Path]) -> str:
    return str(logs[0].resolve().parent / "*.parquet")
