"""``python -m preprocessing.simulate``: a food-delivery marketplace's logs, with the true
probabilities beside them.

Writes ``impressions-YYYY-MM-DD.parquet`` (one a day, named by the UTC date on which the day
begins), ``truth/YYYY-MM-DD.parquet`` (read by evaluation alone) and ``_simulation.json``. The same
config, seed and library versions give the same bytes.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from configs import ConfigError, Experiment, InputError
from configs.cli import CommandParser, add_config_arguments, read_config, run
from configs.files import atomic_directory, write_unsynced
from configs.progress import tracked
from configs.schema import Split
from preprocessing.auc import roc_auc
from preprocessing.simulator.log_tables import log_table, truth_table
from preprocessing.simulator.marketplace import Impressions, Marketplace

SIMULATION = "_simulation.json"  # the underscore keeps it from being read as a log
"""What was simulated; also the mark of a folder that this command made and may replace."""

Summary = dict[str, object]
Outcomes = dict[str, npt.NDArray[Any]]
"""``click``, ``conversion``, ``ctr``, ``ctr_logged``, ``cvr`` and ``seconds`` (since 1970) of
impressions, each ``[rows]``.
"""


def simulate(experiment: Experiment, output: Path, rows: int | None = None) -> Summary:
    """Simulates an experiment's marketplace into a folder, all of it or nothing.

    Args:
      experiment: with a ``simulation`` section.
      output: folder of the logs; an earlier simulation in it is replaced.
      rows: instead of ``simulation.rows``.

    Returns:
      What ``_simulation.json`` holds: ``seed``, ``simulation`` (the settings), ``rows``,
      ``requests``, ``ctr`` (clicks per impression), ``cvr`` (orders per click), and ``best_auc``:
      for ``all`` and each split with both outcomes, the AUC that the true ``ctr``, ``cvr`` (on
      clicked rows) and ``ctcvr`` reach, and ``ctr_logged`` reaches by also knowing the position.

    Raises:
      ConfigError: the experiment has no ``simulation`` section.
      InputError: the folder holds something else, or cannot be written.
    """
    marketplace = marketplace_of(experiment, rows)
    settings = marketplace.settings
    days: list[Outcomes] = []
    with _replaced_whole(output) as folder:
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
                truth_table(shown, requests),
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
        for name in ("click", "conversion", "ctr", "ctr_logged", "cvr")
    }
    outcomes["seconds"] = np.repeat(shown.offers.requests.time / 1e6, shown.click.shape[1])
    return outcomes


def _summarise(experiment: Experiment, days: list[Outcomes]) -> Summary:
    rows = {name: np.concatenate([day[name] for day in days]) for name in days[0]}
    windows = {"all": rows} | {
        name: _within(rows, split) for name, split in experiment.splits.items()
    }
    clicks = int(rows["click"].sum())
    return {
        "rows": len(rows["click"]),
        "ctr": clicks / len(rows["click"]),
        "cvr": float(rows["conversion"].sum() / max(1, clicks)),
        "best_auc": {name: _best_auc(window) for name, window in windows.items()},
    }


def _within(rows: Outcomes, split: Split) -> Outcomes:
    inside = (rows["seconds"] >= split.start.timestamp()) & (
        rows["seconds"] < split.end.timestamp()
    )
    return {name: values[inside] for name, values in rows.items()}


def _best_auc(rows: Outcomes) -> dict[str, float | None]:
    clicked = rows["click"] == 1
    return {
        "ctr": roc_auc(rows["click"], rows["ctr"]),
        "ctr_logged": roc_auc(rows["click"], rows["ctr_logged"]),
        "cvr": roc_auc(rows["conversion"][clicked], rows["cvr"][clicked]),
        "ctcvr": roc_auc(rows["conversion"], rows["ctr"] * rows["cvr"]),
    }


@contextmanager
def _replaced_whole(output: Path) -> Iterator[Path]:
    """A new folder beside ``output`` that takes its place at the end, and vanishes if anything goes
    wrong before.

    Raises:
      InputError: ``output`` is no folder of this command, or cannot be written.
    """
    output = output.resolve()
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder to write")
    try:
        if output.exists() and any(output.iterdir()) and not (output / SIMULATION).is_file():
            raise InputError(
                f"{output}: holds files but no {SIMULATION}; expected a new or empty folder, or an"
                " earlier simulation to replace"
            )
        with atomic_directory(output, replace=True) as aside:
            yield aside
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from None


def _render(summary: Summary) -> str:
    """The summary for people; all digits are in ``_simulation.json``."""
    lines = [
        f"rows              {summary['rows']:,}",
        f"requests          {summary['requests']:,}",
        f"clicks            {summary['ctr']:.2%} of rows",
        f"orders            {summary['cvr']:.2%} of clicks",
        "",
    ]
    best: Any = summary["best_auc"]
    tasks = ("ctr", "ctr_logged", "cvr", "ctcvr")
    width = max(len("best reachable AUC"), *map(len, best))
    titles = ("   CTR", "CTR, position known", "   CVR", " CTCVR")
    lines.append("  ".join([f"{'best reachable AUC':<{width}}", *titles]))
    for name, aucs in best.items():
        cells = (
            f"{'-' if aucs[task] is None else format(aucs[task], '.4f'):>{len(title)}}"
            for task, title in zip(tasks, titles, strict=True)
        )
        lines.append("  ".join([f"{name:<{width}}", *cells]))
    return "\n".join(lines)


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
        type=Path,
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
    summary = simulate(read_config(arguments), arguments.output, arguments.rows)
    print(_render(summary))


if __name__ == "__main__":
    run(main)
