"""``python -m preprocessing.simulate``: a food-delivery marketplace's logs, with the true
probabilities beside them.

Writes ``impressions-YYYY-MM-DD.parquet`` (one a day, named by the UTC date on which the day
begins), ``truth/YYYY-MM-DD.parquet`` (read by evaluation alone) and ``_simulation.json``. The same
config, seed and library versions give the same bytes.
"""

import argparse
import json
from datetime import timedelta
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from configs import ConfigError, Experiment, InputError
from configs.cli import CommandParser, add_config_arguments, read_config, run
from configs.files import replaced_folder, write_unsynced
from configs.progress import tracked
from configs.schema import Split
from configs.terminal.plain_text import fit
from preprocessing.auc import roc_auc
from preprocessing.filesystem import is_local
from preprocessing.simulator.log_tables import TruthNames, log_table, truth_table
from preprocessing.simulator.marketplace import Impressions, Marketplace

SIMULATION = "_simulation.json"  # the underscore keeps it from being read as a log
"""What was simulated; also the mark of a folder that this command made and may replace."""

Summary = dict[str, object]
Outcomes = dict[str, npt.NDArray[Any]]
"""``click``, ``conversion``, ``click_rate``, ``click_rate_logged``, ``order_rate`` (true
probabilities, see ``marketplace``) and ``seconds`` (since 1970) of impressions, each ``[rows]``.
"""


def simulate(
    experiment: Experiment, output: str | PathLike[str], rows: int | None = None
) -> Summary:
    """Simulates an experiment's marketplace into a folder, all of it or nothing.

    Args:
      experiment: with a ``simulation`` section.
      output: folder of the logs on this machine; an earlier simulation in it is replaced.
      rows: instead of ``simulation.rows``.

    Returns:
      What ``_simulation.json`` holds: ``seed``, ``simulation`` (the settings), ``rows``,
      ``requests``; by the names of the config's tasks the clicks per impression and the orders per
      click; and ``best_auc``: for ``all`` and each split with both outcomes, the AUC that the true
      probabilities reach (those of an order after a click on clicked rows), and ``CLICK_logged``
      reaches by also knowing the position.

    Raises:
      ConfigError: the experiment has no ``simulation`` section, or its tasks are other ones.
      InputError: the folder holds something else, cannot be written, or is at a store.
    """
    if not is_local(fspath(output)):
        raise InputError(
            f"{fspath(output)}: logs are simulated into a folder of this machine; name one, and"
            " copy it to the store"
        )
    marketplace = marketplace_of(experiment, rows)
    settings, names = marketplace.settings, TruthNames.of(experiment.tasks)
    days: list[Outcomes] = []
    with replaced_folder(Path(output), SIMULATION) as folder:
        (folder / "truth").mkdir()
        requests = 0
        for day in tracked("simulate", range(settings.days), "days"):
            shown = marketplace.simulate_day(day)
            date = (settings.start + timedelta(days=day)).date()
            # Without the stored Arrow schema, dictionary-encoded lists read back as the plain
            # strings they are.
            pq.write_table(
                log_table(marketplace, shown, requests),
                folder / f"impressions-{date}.parquet",
                store_schema=False,
            )
            pq.write_table(
                truth_table(shown, requests, names),
                folder / "truth" / f"{date}.parquet",
                store_schema=False,
            )
            requests += len(shown.click)
            days.append(_outcomes(shown))
        summary = {
            "seed": experiment.seed,
            "simulation": settings.model_dump(mode="json"),
            "requests": requests,
        } | _summarise(experiment, days)
        write_unsynced(folder / SIMULATION, (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def marketplace_of(experiment: Experiment, rows: int | None = None) -> Marketplace:
    """An experiment's marketplace before its first day; ``rows`` instead of ``simulation.rows``.
    Raises ``ConfigError``.
    """
    if experiment.simulation is None:
        raise ConfigError(
            f"experiment '{experiment.name}' has no 'simulation' section; expected one, as in"
            " configs/quickstart.yaml"
        )
    settings = (
        experiment.simulation
        if rows is None
        else experiment.simulation.model_copy(update={"rows": rows})
    )
    return Marketplace(
        settings,
        settings.drift_start or experiment.splits[experiment.finetune.split].start,
        experiment.seed,
    )


def _outcomes(shown: Impressions) -> Outcomes:
    outcomes: Outcomes = {
        name: getattr(shown, name).ravel()
        for name in ("click", "conversion", "click_rate", "click_rate_logged", "order_rate")
    }
    outcomes["seconds"] = np.repeat(shown.offers.requests.time / 1e6, shown.click.shape[1])
    return outcomes


def _summarise(experiment: Experiment, days: list[Outcomes]) -> Summary:
    rows = {name: np.concatenate([day[name] for day in days]) for name in days[0]}
    windows = {"all": rows} | {
        name: _within(rows, split) for name, split in experiment.splits.items()
    }
    clicks, names = int(rows["click"].sum()), TruthNames.of(experiment.tasks)
    return {
        "rows": len(rows["click"]),
        names.click: clicks / len(rows["click"]),
        names.order: float(rows["conversion"].sum() / max(1, clicks)),
        "best_auc": {name: _best_auc(window, names) for name, window in windows.items()},
    }


def _within(rows: Outcomes, split: Split) -> Outcomes:
    inside = (rows["seconds"] >= split.start.timestamp()) & (
        rows["seconds"] < split.end.timestamp()
    )
    return {name: values[inside] for name, values in rows.items()}


def _best_auc(rows: Outcomes, names: TruthNames) -> dict[str, float | None]:
    clicked = rows["click"] == 1
    return {
        names.click: roc_auc(rows["click"], rows["click_rate"]),
        names.logged: roc_auc(rows["click"], rows["click_rate_logged"]),
        names.order: roc_auc(rows["conversion"][clicked], rows["order_rate"][clicked]),
        names.both: roc_auc(rows["conversion"], rows["click_rate"] * rows["order_rate"]),
    }


def _render(summary: Summary, names: TruthNames) -> str:
    """The summary for people; all digits are in ``_simulation.json``."""
    lines = [
        f"rows              {summary['rows']:,}",
        f"requests          {summary['requests']:,}",
        f"clicks            {summary[names.click]:.2%} of rows",
        f"orders            {summary[names.order]:.2%} of clicks",
        "",
    ]
    best: Any = summary["best_auc"]
    tasks = (names.click, names.logged, names.order, names.both)
    click, order, both = (name.upper() for name in (names.click, names.order, names.both))
    titles = ["best reachable AUC", click, f"{click}, position known", order, both]
    rows = [titles] + [
        [name, *("-" if aucs[task] is None else format(aucs[task], ".4f") for task in tasks)]
        for name, aucs in best.items()
    ]
    return "\n".join([*lines, *fit(rows, right=titles[1:])])


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, received '{text}'")
    return int(text)


def main() -> None:
    """Reads the command line, simulates, and prints what came of it on stdout."""
    parser = CommandParser(
        prog="python -m preprocessing.simulate",
        description="A food-delivery marketplace's logs, with the true probabilities.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of the logs; an earlier simulation in it is replaced",
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        metavar="N",
        help="impressions, about, instead of the config's simulation.rows",
    )
    arguments = parser.parse_args()
    experiment = read_config(arguments)
    summary = simulate(experiment, arguments.output, arguments.rows)
    print(_render(summary, TruthNames.of(experiment.tasks)))


if __name__ == "__main__":
    run(main)
