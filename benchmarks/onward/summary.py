"""What the arms of a replay scored, day by day and on average, with paired intervals."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import Experiment, InputError
from configs.terminal.plain_text import fit
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.evaluation.comparison import compare_with_both
from trainer.evaluation.mean_gain import MeanGains
from trainer.metrics.results import DomainResult

SCRATCH, ONWARD, KERNELS = "from scratch", "gone on", "frozen with kernels"
ARMS = (SCRATCH, ONWARD, KERNELS)
SUMMARY = "onward.json"
"""File of a run's folder."""

Costs = Mapping[str, Mapping[str, float]]
"""Step (``DAY/ARM``, such as ``5/gone on``) -> ``data`` and ``training``, CPU seconds."""

_METRIC = "auc"
_SAME = ("row/request", "row/user", "row/timestamp")
_POINTS = 100.0

Summary = dict[str, Any]


def summarise(
    experiment: Experiment,
    scores: Mapping[int, Mapping[str, Path]],
    costs: Costs,
    settings: Sequence[str] = (),
) -> Summary:
    """Compares the arms on the days that all of them have scored.

    Args:
      experiment: names tasks, resamples and seed.
      scores: day that was learned last -> arm -> its scores of the next day (``Arms.scores``).
      costs: of every step.
      settings: what the run was given in place of its config's.

    Returns:
      ``settings``; ``days``: of each, its number, ``rows``, and of every arm ``auc`` by task and
      the CPU seconds of ``data`` and ``training``; ``mean``: task -> ``over_scratch`` and
      ``over_kernels``, the mean difference of what has gone on, in AUC points, with its 95%
      interval (users are drawn in all days at once); ``cost``: arm -> CPU seconds of all days;
      ``training_share``: what going on cost in training, as a share of training from scratch.

    Raises:
      InputError: the arms have not scored the same rows.
    """
    held = {day: _read(paths) for day, paths in scores.items()}
    rows = _joined(held)
    gains, domains, days = MeanGains(experiment, rows), dict[str, DomainResult](), []
    begin = 0
    for day, arms in held.items():
        inside = np.arange(begin, begin + len(arms[ONWARD]["logits"]))
        begin = inside[-1] + 1
        onward, kernels = (arms[arm]["logits"] for arm in (ONWARD, KERNELS))
        found = compare_with_both(experiment, rows, inside, onward, kernels)
        name = f"day={day}"
        gains.add(name, inside, onward, kernels, found)
        domains[name] = DomainResult(rows=len(inside), active=True, tasks=found)
        of_arms = {SCRATCH: "backbone", ONWARD: "kernel", KERNELS: "all"}
        days.append(
            {
                "day": day,
                "rows": len(inside),
                "arms": {
                    arm: {
                        "auc": {
                            task: getattr(found[task][_METRIC], of_arms[arm])
                            for task in experiment.tasks.ranking
                        },
                        **costs.get(f"{day}/{arm}", {}),
                    }
                    for arm in ARMS
                },
            }
        )
    results = gains.results(domains)
    mean = {
        task: {
            "over_scratch": _points(results[task][_METRIC].delta, results[task][_METRIC].ci95),
            "over_kernels": _points(
                results[task][_METRIC].delta_all, results[task][_METRIC].ci95_all
            ),
        }
        for task in experiment.tasks.ranking
    }
    cost = {
        arm: {
            kind: sum(costs.get(f"{day}/{arm}", {}).get(kind, 0.0) for day in held)
            for kind in ("data", "training")
        }
        for arm in ARMS
    }
    share = cost[ONWARD]["training"] / cost[SCRATCH]["training"]
    return {
        "settings": list(settings),
        "days": days,
        "mean": mean,
        "cost": cost,
        "training_share": share,
    }


def render(summary: Summary) -> str:
    """Tables for people."""
    tasks = list(summary["mean"])
    titles = [f"{task.upper()}, {arm}" for task in tasks for arm in ARMS] + [
        f"CPU s, {arm}" for arm in ARMS
    ]
    rows = [["learned until day", *titles]]
    for day in summary["days"]:
        arms = day["arms"]
        aucs = [auc(arms[arm]["auc"][task]) for task in tasks for arm in ARMS]
        spent = [
            f"{arms[arm].get('data', 0.0) + arms[arm].get('training', 0.0):,.0f}" for arm in ARMS
        ]
        rows.append([str(day["day"]), *aucs, *spent])
    lines = fit(rows, rows[0])
    for task in tasks:
        for key, other in (("over_scratch", SCRATCH), ("over_kernels", KERNELS)):
            found = summary["mean"][task][key]
            lines.append(f"{task.upper()}, {ONWARD} over {other}: {gain(found)} points")
    for arm in ARMS:
        cost = summary["cost"][arm]
        lines.append(
            f"{arm}: {cost['training']:,.0f} CPU s of training, {cost['data']:,.0f} of datasets"
        )
    lines.append(f"training, {ONWARD} / {SCRATCH}: {summary['training_share']:.3f}")
    return "\n".join(lines) + "\n"


def _read(paths: Mapping[str, Path]) -> dict[str, dict[str, np.ndarray]]:
    held = {}
    for arm, path in paths.items():
        with np.load(path, allow_pickle=False) as arrays:
            held[arm] = {name: arrays[name] for name in arrays.files}
    first = held[SCRATCH]
    for arm, arrays in held.items():
        if any(not np.array_equal(arrays[name], first[name]) for name in _SAME):
            raise InputError(
                f"{paths[arm]}: scores of other rows than {paths[SCRATCH]}; delete both"
            )
    return held


def _joined(held: Mapping[int, Mapping[str, Mapping[str, np.ndarray]]]) -> BackboneOutputs:
    """The rows of all days, with the logits from scratch."""

    def join(parts: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(parts))

    names = next(iter(held.values()))[SCRATCH].keys() - {"logits"}
    logits: Floats = join(arms[SCRATCH]["logits"] for arms in held.values())
    columns = {name: join(arms[SCRATCH][name] for arms in held.values()) for name in names}
    return BackboneOutputs(logits, np.empty((len(logits), 1, 0), np.float32), columns)


def _points(delta: Any, interval: Any) -> dict[str, Any]:
    if isinstance(delta, str):
        return {"points": delta, "ci95": interval}
    ends = interval if isinstance(interval, str) else [_POINTS * end for end in interval]
    return {"points": _POINTS * delta, "ci95": ends}


def gain(found: Mapping[str, Any]) -> str:
    """A mean difference in points and its interval, as text; why there is none where it is one."""
    if isinstance(found["points"], str):
        return str(found["points"])
    ends = found["ci95"]
    between = "" if isinstance(ends, str) else " [{:+.2f}, {:+.2f}]".format(*ends)
    return f"{found['points']:+.2f}{between}"


def auc(value: Any) -> str:
    """An AUC as text."""
    return value if isinstance(value, str) else f"{value:.4f}"
