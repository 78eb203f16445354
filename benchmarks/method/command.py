"""Runs a study's cells and writes its report; ``python -m benchmarks.method`` reads the flags."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from configs.tensorflow_import import tf

# isort: split
from benchmarks.method.cells import Cell, cells_of, read_cells, run_cells
from benchmarks.method.report import write_report
from benchmarks.method.results import Results
from benchmarks.method.sections import report_of
from benchmarks.method.study import Study
from benchmarks.method.text import render_text
from configs.files import write_json
from preprocessing.beam.progress import say


def run_study(
    study: Study,
    folder: Path,
    logs: str | None,
    *,
    seeds: tuple[int, ...],
    only: Sequence[str],
    runs: bool,
    prints_json: bool,
    command: Sequence[str],
) -> None:
    """Runs what is not finished yet, writes the report and prints it.

    Args:
      study: what is run.
      folder: where everything is left.
      logs: glob of the logs; None where the study simulates its own.
      seeds: instead of the study's.
      only: names of methods to run; all where empty. The report shows all that is finished.
      runs: False writes the report of what is finished.
      prints_json: print JSON instead of tables.
      command: words of the command line, which the report names.

    Raises:
      InputError: a method's name that is not the study's, or what a cell cannot be run on.
    """
    cells, reported = cells_of(study, seeds, only), cells_of(study, seeds)
    if runs:
        tf.config.experimental.enable_op_determinism()
        for _ in run_cells(study, cells, logs, folder):
            _write(study, reported, folder, command)
    result = _write(study, reported, folder, command)
    print(json.dumps(result, indent=1) if prints_json else render_text(result))
    say(f"report: {folder / study.name / 'report.html'}")


def _write(
    study: Study, cells: list[Cell], folder: Path, command: Sequence[str]
) -> dict[str, object]:
    """The report of what is finished so far; a long study can be read while it runs."""
    experiment = study.experiment()
    experiments = [*(cell.trained for cell in cells), experiment]
    crossing = max(experiments, key=lambda experiment: len(experiment.domains))
    result = report_of(
        study,
        Results(read_cells(cells, folder), crossing.domains, experiment.tasks.ranking),
        shlex.join(["python", "-m", "benchmarks.method", *command]),
    )
    write_json(folder / study.name / "report.json", result)
    write_report(result, folder / study.name / "report.html")
    return result
