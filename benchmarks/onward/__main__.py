"""``python -m benchmarks.onward --input FOLDER``: replays Globo's log day by day. Once a day is
over, three arms learn, and the next day judges them: a backbone trained from scratch on all days so
far; one that goes on from that of the day before with the new day alone (``pretrain --from``); and
the first backbone, frozen, with kernels tuned on the newest days. AUC and CPU seconds, and the mean
difference over the days. What is done is not done again; ``onward.json`` is of the days that all
arms have scored so far.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import configs.tensorflow_import  # isort: skip  # noqa: F401 - quietly, before the rest does

import argparse
import json
import os
import sys
from datetime import datetime
from pathlib import Path

from benchmarks.figures.report import add_report_argument, write_report
from benchmarks.method.study import ROOT
from benchmarks.onward.arms import Arms
from benchmarks.onward.days import Replay
from benchmarks.onward.summary import KERNELS, ONWARD, SCRATCH, render
from benchmarks.onward.tables import read_beside, tables
from benchmarks.speed.options import Options
from configs import InputError, load_experiment
from configs.cli import CommandParser, run
from configs.files import read_json
from preprocessing.beam.progress import say

CONFIG = ROOT / "configs" / "globo.yaml"


def main() -> None:
    """The command."""
    arguments = _arguments()
    files = Options(arguments.input, arguments.output, quick=False).globo()
    first, days = arguments.first, arguments.days
    last = first + days + 1
    if first < 1 or days < 1 or last > len(files):
        raise InputError(
            f"--first {first} --days {days}: expected both from 1 on, and {last} days of logs;"
            f" {arguments.input} has {len(files)}"
        )
    replay = Replay(datetime.fromisoformat("2017-10-01T03:00:00Z"), first, days)
    judged = sorted(set(arguments.judged or replay.learned()))
    if unknown := set(judged) - set(replay.learned()):
        raise InputError(
            f"--judged {min(unknown)}: expected days from {first + 1} to {first + days}, which are"
            " learned"
        )
    tasks = load_experiment(CONFIG, arguments.set).tasks.ranking
    beside = read_beside(arguments.beside, judged[0], tasks)
    arguments.output.mkdir(parents=True, exist_ok=True)
    arms = Arms(arguments.output, CONFIG, tuple(arguments.set), files, replay)
    arms.first()
    scored: list[int] = []
    for day in replay.learned():
        arms.run(day, ONWARD)
        say(f"{ONWARD}: day {day} learned, day {day + 1} scored")
    for day in judged:
        before = all(arms.scores(day, arm).exists() for arm in (KERNELS, SCRATCH))
        for arm in (KERNELS, SCRATCH):
            arms.run(day, arm)
            say(f"{arm}: day {day} learned, day {day + 1} scored")
        scored.append(day)
        if not before or day == judged[-1]:
            arms.summarise(scored)
    summary = read_json(arms.summary)
    write_report(arguments.report, tables(summary, beside, replay.start.date()))
    sys.stdout.write(json.dumps(summary, indent=1) + "\n" if arguments.json else render(summary))


def _arguments() -> argparse.Namespace:
    parser = CommandParser(prog="python -m benchmarks.onward", description=__doc__)
    default = Path(os.environ.get("RECSYS_DATA", "../shared/data"))
    parser.add_argument(
        "--input",
        type=Path,
        default=default,
        metavar="DIR",
        help=f"holds globo/*.parquet ({default})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/onward"),
        metavar="DIR",
        help="for datasets, jobs and onward.json (runs/onward)",
    )
    parser.add_argument(
        "--first", type=int, default=4, metavar="N", help="days of the first backbone (4)"
    )
    parser.add_argument(
        "--days", type=int, default=8, metavar="N", help="days that are replayed after them (8)"
    )
    parser.add_argument(
        "--judged",
        type=int,
        nargs="+",
        metavar="DAY",
        help="days after which all arms are compared, 1 being the log's first (all that are"
        " learned); what goes on learns every day",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the config"
    )
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="--output of finished runs of other settings, whose first day stands beside this run's"
        " in the report",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_report_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
