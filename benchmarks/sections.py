"""A benchmark command: sections, each in a process of its own, and their figures as a table or
JSON, and of one section as a report that ``benchmarks.figures`` writes into docs.

So a section's peak memory is its own, and none warms another's caches.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.figures.report import Sections, add_report_argument, table, write_report
from benchmarks.speed.options import Figures, Options
from configs import InputError
from configs.cli import CommandParser
from configs.files import write_json
from preprocessing.beam.progress import say


def run_sections(
    package: str,
    sections: Sequence[str],
    description: str,
    beside: Callable[[bool], Figures] | None = None,
) -> None:
    """The command ``python -m PACKAGE``.

    Args:
      package: ``benchmarks.NAME``; its module for each section has ``measure(options: Options) ->
        Figures``, and where ``--report`` is to have more than a list of these,
        ``tables(figures: Figures) -> Sections``.
      sections: the modules' names, in the order they run.
      description: for ``--help``.
      beside: figures that stand beside those of every section, given whether the run is quick.

    Raises:
      InputError: a section failed, or a report is asked of all of them.
    """
    arguments = _parser(package, sections, description).parse_args()
    if arguments.report and not arguments.section:
        raise InputError("--report is of one section; expected --section with it")
    name = package.rpartition(".")[2]
    folder = arguments.output or Path("runs") / (f"{name}-quick" if arguments.quick else name)
    if arguments.section:
        importlib.import_module("configs.tensorflow_import")  # quietly, before a section does
        module = importlib.import_module(f"{package}.{arguments.section}")
        options = Options(arguments.input, folder / arguments.section, arguments.quick)
        options.folder.mkdir(parents=True, exist_ok=True)
        figures: Figures = module.measure(options) | (beside(arguments.quick) if beside else {})
        tables: Callable[[Figures], Sections] = getattr(module, "tables", _listed)
        write_report(arguments.report, tables(figures))
        print(
            json.dumps(figures, indent=1)
            if arguments.json
            else _table({arguments.section: figures})
        )
        return
    report: dict[str, Figures] = {}
    for section in sections:
        say(f"{section} ...")
        command = [
            sys.executable,
            "-m",
            package,
            "--section",
            section,
            "--json",
            "--input",
            str(arguments.input),
        ]
        command += ["--output", str(folder), *(["--quick"] if arguments.quick else [])]
        finished = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)  # noqa: S603 - our own command
        if finished.returncode:
            raise InputError(
                f"section {section}: ended with exit code {finished.returncode}; its message stands"
                " above"
            )
        report[section] = json.loads(finished.stdout)
        write_json(folder / f"{name}.json", report)
    print(json.dumps(report, indent=1) if arguments.json else _table(report))


def _listed(figures: Figures) -> Sections:
    """Figures as they stand in text."""
    rows = [(name, _shown(value)) for name, value in figures.items()]
    return {"figures": [table("figures", ["figure", "value"], rows)]}


def _table(report: dict[str, Figures]) -> str:
    width = max(len(name) for figures in report.values() for name in figures)
    lines = []
    for section, figures in report.items():
        lines += [
            section,
            *(f"  {name:<{width}}  {_shown(value)}" for name, value in figures.items()),
            "",
        ]
    return "\n".join(lines[:-1])


def _shown(value: float | int | str) -> str:
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1_000
        else f"{value:,.0f}"
        if not isinstance(value, str)
        else value
    )


def _parser(package: str, sections: Sequence[str], description: str) -> argparse.ArgumentParser:
    name = package.rpartition(".")[2]
    parser = CommandParser(
        prog=f"python -m {package}",
        description=description,
    )
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data"))
    parser.add_argument("--section", choices=sections, help="this one alone, in this process")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small sizes: shows that everything runs, the times mean nothing",
    )
    parser.add_argument(
        "--input",
        type=Path,
        default=default,
        metavar="DIR",
        help=f"where the logs are, for sections that read any ({default})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"for datasets, jobs and {name}.json (runs/{name})",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON instead of tables; with --section one flat object",
    )
    add_report_argument(parser)
    return parser
