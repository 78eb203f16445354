"""Cells: a method under a seed. A finished cell is not run twice; what decides it is part of its
file.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.method.bench import Bench
from benchmarks.method.draws import Draws
from benchmarks.method.methods import METHODS
from benchmarks.method.outcome import figures
from benchmarks.method.study import ROOT, Method, Study
from configs import Experiment, InputError, load_experiment
from configs.files import read_object, write_json
from configs.random_streams import STREAMS
from preprocessing.beam.progress import say


@dataclass(frozen=True)
class Cell:
    """One method under one seed.

    Attributes:
      name: of the method.
      seed: of everything random in it.
      method: its settings.
      built: the experiment that decides dataset and backbone.
      trained: the experiment of what is trained on it.
      digest: of all that decides the figures.
    """

    name: str
    seed: int
    method: Method
    built: Experiment
    trained: Experiment
    digest: str

    def path(self, folder: Path) -> Path:
        """Where its figures are kept; the digest keeps studies of one folder, which may share
        names of methods, from each other's.
        """
        return folder / "cells" / f"{self.name}-{self.seed}-{self.digest}.json"

    def outcomes(self, folder: Path) -> dict[str, Any] | None:
        """Suffix -> figures of exactly these settings; None where they are not there."""
        path = self.path(folder)
        found: dict[str, Any] | None = (
            read_object(path, "outcomes")["outcomes"] if path.exists() else None
        )
        return found


def cells_of(study: Study, seeds: tuple[int, ...], only: Sequence[str] = ()) -> list[Cell]:
    """Every cell, or those of some methods, those of one backbone together. Raises
    ``InputError`` where a method is unknown.
    """
    for name in only:
        if name not in study.methods:
            raise InputError(
                f"--only: '{name}' is no method of study '{study.name}'; there are:"
                f" {', '.join(study.methods)}"
            )
    cells = []
    kept, tasks = _kept_columns(study), study.experiment().tasks
    for name, method in study.methods.items():
        if only and name not in only:
            continue
        if method.run not in METHODS:
            raise InputError(
                f"methods.{name}.run: '{method.run}' is no method; there are: {', '.join(METHODS)}"
            )
        for seed in (seed for seed in seeds if not method.seeds or seed in method.seeds):
            base = [*study.set, *kept, f"seed={seed}", *method.backbone]
            built = load_experiment(ROOT / study.config, base)
            trained = load_experiment(ROOT / study.config, [*base, *method.set])
            if trained.tasks.spaces != tasks.spaces:
                raise InputError(
                    f"methods.{name}: its tasks are {trained.tasks.words}, and a study compares"
                    f" those of its config, {tasks.words}"
                )
            decisive = [
                method.run,
                _settings(built),
                _settings(trained),
                method.options,
                study.splits,
                study.resamples,
                study.logs,
                *([study.rates.definition] if study.rates else []),
                STREAMS,  # cells of other draws cannot be paired with these
            ]
            digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
            cells.append(Cell(name, seed, method, built, trained, digest))
    return sorted(
        cells,
        key=lambda cell: (
            cell.seed,
            json.dumps(cell.built.model_dump(mode="json")),
            cell.method.run,
            cell.trained.kernel.tap,
        ),
    )


def _settings(experiment: Experiment) -> dict[str, Any]:
    """What may decide a cell: all but how its moments were written, and what runs every day."""
    return experiment.model_dump(
        mode="json",
        exclude={
            "as_of": True,
            "drift": True,
            "refresh": True,
            "data": {"time_zone", "day_starts"},
        },
    )


def _kept_columns(study: Study) -> list[str]:
    """The override by which all datasets of a study hold what any of its methods remembers by, so
    that methods with memory and without share one.
    """
    columns: dict[str, None] = {}
    for method in study.methods.values():
        overrides = [*study.set, *method.backbone, *method.set]
        experiment = load_experiment(ROOT / study.config, overrides)
        if experiment.memory:
            columns |= dict.fromkeys((*experiment.data.topic_columns, *experiment.memory.columns))
    return [f"data.topic_columns={json.dumps(list(columns))}"] if columns else []


def run_cells(study: Study, cells: list[Cell], logs: str | None, folder: Path) -> Iterator[Cell]:
    """Runs what is not finished; gives every cell back as it is done."""
    bench: Bench | None = None
    rates = study.rates
    waiting = [cell for cell in cells if cell.outcomes(folder) is None]
    for number, cell in enumerate(waiting, 1):
        say(f"[{number}/{len(waiting)}] {cell.method.title}, seed {cell.seed}")
        if bench is None or bench.experiment != cell.built:
            bench = None  # its forward passes go before the next one's come
            bench = Bench(cell.built, logs, folder, rates)
        outcomes = METHODS[cell.method.run](
            bench, cell.trained, list(study.splits), cell.method.options
        )
        rows = {split: bench.any_rows(split) for split in study.splits}
        draws = {
            split: Draws(data.columns["row/user"], data.weights, study.resamples)
            for split, data in rows.items()
        }
        window = bench.any_rows(cell.trained.finetune.split)
        write_json(
            cell.path(folder),
            {
                "digest": cell.digest,
                "outcomes": {
                    suffix: figures(outcome, rows, window, cell.trained, draws)
                    for suffix, outcome in outcomes.items()
                },
            },
        )
        yield cell


def read_cells(cells: list[Cell], folder: Path) -> dict[tuple[str, int], Any]:
    """Outcomes of the finished cells by ``NAME`` or ``NAME/SUFFIX`` and seed."""
    found = {}
    for cell in cells:
        for suffix, outcome in (cell.outcomes(folder) or {}).items():
            found[f"{cell.name}/{suffix}" if suffix else cell.name, cell.seed] = outcome
    return found
