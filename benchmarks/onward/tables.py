"""The tables of ``--report``: day by day, the mean over the days, and what runs of other settings
scored.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.figures.report import Sections, table
from benchmarks.onward.summary import ARMS, KERNELS, ONWARD, SCRATCH, SUMMARY, Summary, auc, gain
from configs import InputError
from configs.files import read_object

_TITLES = {
    SCRATCH: "trained again on all days",
    ONWARD: "gone on",
    KERNELS: "first backbone, frozen, with kernels",
}
_SECONDS = {SCRATCH: "trained again, s", ONWARD: "gone on, s", KERNELS: "kernels, s"}


def read_beside(folders: Sequence[Path], first: int, tasks: Sequence[str]) -> list[Summary]:
    """The summaries of other runs.

    Args:
      folders: where they are.
      first: day that a run has learned last where it is judged first.
      tasks: that it is judged by.

    Raises:
      InputError: there is none, or it is of another first day or of other tasks.
    """
    found = []
    for folder in folders:
        run = read_object(folder / SUMMARY, "settings", "days", "mean")
        other = min((day["day"] for day in run["days"]), default=None)
        if (other, list(run["mean"])) != (first, list(tasks)):
            raise InputError(
                f"--beside {folder}: a run that is first judged after day {other}, by"
                f" {', '.join(run['mean'])}; expected day {first} and {', '.join(tasks)}, as here"
            )
        found.append(run)
    return found


def tables(summary: Summary, beside: Sequence[Summary], start: date) -> Sections:
    """Sections of a report.

    Args:
      summary: of this run, with its ``settings``.
      beside: of other runs, as ``read_beside`` gives them.
      start: first day of the log.

    Returns:
      ``days``: AUC of every task and CPU seconds of training, by arm; ``mean``: what has gone on
      over the other arms, in AUC points, and its share of their CPU time; ``settings``: each run's
      settings, the others first, and the AUC of what has gone on.
    """
    runs = [*beside, summary]
    first = _judged(summary["days"][0], start)
    tasks = list(summary["mean"])
    names = [", ".join(run["settings"]) or "default" for run in runs]
    scored = [run["days"][0]["arms"][ONWARD]["auc"] for run in runs]
    return {
        "days": [
            table(
                "days",
                ["judged on", *_TITLES.values(), *_SECONDS.values()],
                [_day(day, tasks, start) for day in summary["days"]],
            )
        ],
        "mean": [
            table(
                "mean",
                [
                    f"{ONWARD}, over",
                    *map(str.upper, tasks),
                    "training, of the other's",
                    "datasets, of the other's",
                ],
                [
                    _mean(summary, tasks, "over_scratch", SCRATCH),
                    _mean(summary, tasks, "over_kernels", KERNELS),
                ],
            )
        ],
        "settings": [
            table(
                "settings",
                ["settings", *(f"{task.upper()}-AUC on {first}" for task in tasks)],
                [
                    (name, *(auc(found[task]) for task in tasks))
                    for name, found in zip(names, scored, strict=True)
                ],
            )
        ],
    }


def _judged(day: Mapping[str, Any], start: date) -> str:
    """The day after the one that was learned last, which is the first where that is 1."""
    return f"{start + timedelta(days=day['day']):%m-%d}"


def _day(day: Mapping[str, Any], tasks: Sequence[str], start: date) -> list[Any]:
    arms = day["arms"]
    aucs = [" / ".join(auc(arms[arm]["auc"][task]) for task in tasks) for arm in ARMS]
    spent = [arms[arm].get("training") for arm in ARMS]
    return [_judged(day, start), *aucs, *(None if s is None else round(s) for s in spent)]


def _mean(summary: Summary, tasks: Sequence[str], key: str, arm: str) -> list[str]:
    gains = [gain(summary["mean"][task][key]) for task in tasks]
    shares = [_share(summary["cost"], arm, kind) for kind in ("training", "data")]
    return [_TITLES[arm], *gains, *shares]


def _share(cost: Mapping[str, Mapping[str, float]], arm: str, kind: str) -> str:
    own, other = cost[ONWARD][kind], cost[arm][kind]
    share = f"{own / other:.2f} of " if other else ""
    return f"{share}{other:,.0f} s"
