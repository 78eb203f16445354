"""``python -m benchmarks.speed``: how fast every stage is, beside the peers and beside what the machine allows.

Every section runs in a process of its own, so that its peak memory is its own and no section warms another's caches.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.speed.hardware import machine
from benchmarks.speed.options import Figures, Options
from configs import InputError
from configs.command import CommandParser, run
from preprocessing.progress import say
from trainer.job import write_json

SECTIONS = ("preprocessing", "input", "step", "vocabulary", "billion", "kernels", "serving")
"""Modules of this package; each has ``measure(options: Options) -> Figures``."""


def main() -> None:
    """The command."""
    arguments = _parser().parse_args()
    folder = arguments.output or Path("runs") / ("speed-quick" if arguments.quick else "speed")
    if arguments.section:
        section = importlib.import_module(f"benchmarks.speed.{arguments.section}")
        options = Options(arguments.input, folder / arguments.section, arguments.quick)
        options.folder.mkdir(parents=True, exist_ok=True)
        figures: Figures = section.measure(options) | machine(arguments.quick)
        print(json.dumps(figures, indent=1) if arguments.json else _table({arguments.section: figures}))
        return
    report: dict[str, Figures] = {}
    for name in SECTIONS:
        say(f"{name} ...")
        command = [sys.executable, "-m", "benchmarks.speed", "--section", name, "--json", "--input", str(arguments.input)]
        command += ["--output", str(folder), *(["--quick"] if arguments.quick else [])]
        finished = subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True)  # noqa: S603 - our own command
        if finished.returncode:
            raise InputError(f"section {name}: ended with exit code {finished.returncode}; its message stands above")
        report[name] = json.loads(finished.stdout)
        write_json(folder / "speed.json", report)
    print(json.dumps(report, indent=1) if arguments.json else _table(report))


def _table(report: dict[str, Figures]) -> str:
    width = max(len(name) for figures in report.values() for name in figures)
    lines = []
    for section, figures in report.items():
        lines += [section, *(f"  {name:<{width}}  {_shown(value)}" for name, value in figures.items()), ""]
    return "\n".join(lines[:-1])


def _shown(value: float | int | str) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1_000 else f"{value:,.0f}" if not isinstance(value, str) else value


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data"))
    parser.add_argument("--section", choices=SECTIONS, help="this one alone, in this process")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that everything runs, the times mean nothing")
    parser.add_argument("--input", type=Path, default=default, metavar="DIR", help=f"where the logs are ({default})")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for datasets, jobs and speed.json (runs/speed)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables; with --section one flat object")
    return parser


if __name__ == "__main__":
    run(main)
