"""The online test from live traffic to figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.online.compare import View, in_treatment, sums_by_user, view
from benchmarks.online.play import Luck, play
from benchmarks.online.scores import server_scores
from benchmarks.online.traffic import Traffic, draw_traffic
from configs import Experiment, InputError
from configs.domains import AUTO, BACKBONE
from configs.files import read_object
from configs.section import read_section
from preprocessing.logs.schema import served_columns
from preprocessing.simulate import SIMULATION
from preprocessing.simulator.log_tables import TruthNames
from preprocessing.simulator.world import Floats
from serving.selfcheck import running_server
from serving.wire.version_files import version_directories
from trainer.job import Job
from trainer.metrics.results import EvaluationResult

_MODEL = "online"
_LIVE = 1
"""Tells the seeds of live traffic from those of the logs."""
_METRICS = ("auc", "gauc")


def online_test(
    experiment: Experiment,
    job: Job,
    models: Path,
    *,
    requests: int = 20_000,
    candidates: int = 30,
    rank_by: str | None = None,
    control: str = BACKBONE,
    treatment: str = AUTO,
    seed: int | None = None,
) -> dict[str, Any]:
    """Starts the embedded server, asks it for both arms' scores, and plays every ranking.

    Args:
      experiment: that of the logs: its ``simulation`` and ``seed`` make the world.
      job: that of the exported model.
      models: base path of the model; its newest version is served.
      requests: live requests.
      candidates: shops retrieved for each.
      rank_by: the task over all rows whose probability ranks; the last one where None.
      control: domain that its requests ask for, as any request can.
      treatment: the same.
      seed: of the requests, the assignment to arms, the luck and the resamples; the experiment's
        where None.

    Returns:
      What was asked (``split``, ``days``, ``requests``, ``users``, ``candidates``, ``shown``,
      ``rank_by``, ``control``, ``treatment``, ``seed``); ``views`` by name (``compare.View``);
      ``served``, for each arm: rows by the domain that served them; and ``offline``: the AUC and
      GAUC of backbone and active kernels over all rows by task, and the best reachable, from the
      job's ``reports/metrics.json`` (None where it is not there).

    Raises:
      InputError: the world or the tasks are not those of the job, or its logs, no such task or
        domain, or nothing to serve.
      StatusError: the server failed.
    """
    tasks = experiment.tasks
    TruthNames.of(tasks)  # refuses tasks that are not simulated
    rank_by = rank_by or tasks.ranked_by
    if rank_by not in tasks.ranking:
        raise InputError(
            f"'{rank_by}' is no task over all rows to rank by; the config has:"
            f" {', '.join(tasks.ranking)}"
        )
    _check(experiment, job, models, (control, treatment))
    offline = _offline(job)
    seed = experiment.seed if seed is None else seed
    of_requests, of_luck, of_order, of_resamples = (
        np.random.SeedSequence([seed, _LIVE]).generate_state(4).tolist()
    )
    traffic = draw_traffic(experiment, requests, candidates, of_requests)
    with running_server(models, _MODEL) as target:
        asked, served = server_scores(
            target, _MODEL, traffic, served_columns(job.experiment()), (control, treatment), rank_by
        )
    scores = {
        "random": np.random.default_rng(of_order).random(traffic.order_rate.shape, np.float32),
        "control": asked[control],
        "treatment": asked[treatment],
        "true": traffic.attraction
        * (1.0 if tasks.targets[rank_by].label == tasks.labels[0] else traffic.order_rate),
    }
    return {
        "split": experiment.evaluation.split,
        "days": [date.isoformat() for date in traffic.days],
        "requests": requests,
        "users": len(np.unique(traffic.user)),
        "candidates": candidates,
        "shown": len(traffic.examination),
        "rank_by": rank_by,
        "control": control,
        "treatment": treatment,
        "seed": seed,
        "views": views(
            traffic,
            scores,
            Luck.draw(traffic, of_luck),
            in_treatment(traffic.user, seed),
            of_resamples,
        ),
        "served": {
            "control": dict(served[control].most_common()),
            "treatment": dict(served[treatment].most_common()),
        },
        "offline": offline,
    }


def views(
    traffic: Traffic,
    scores: Mapping[str, Floats],
    luck: Luck,
    treated: np.ndarray[Any, np.dtype[np.bool_]],
    seed: int,
) -> dict[str, View]:
    """Plays every arm and lays them side by side in three ways.

    Args:
      traffic: the requests.
      scores: ``[requests, candidates]`` of ``control`` and ``treatment``, and of the reference
        lines ``random`` and ``true``.
      luck: the draws, the same for every arm.
      treated: whether a request's user is in the treatment half ``[requests]``.
      seed: of the resamples.

    Raises:
      InputError: a half has no user.
    """
    if treated.all() or not treated.any():
        raise InputError(
            f"all of the {len(traffic.user)} requests fell into one arm; ask for more requests"
        )
    played = {name: play(traffic, ranking, luck) for name, ranking in scores.items()}
    halves = {"control": ~treated, "treatment": treated}
    split = {
        name: sums_by_user(traffic.user[half], played[name][0][half])
        for name, half in halves.items()
    }
    drawn, expected = (
        {name: sums_by_user(traffic.user, outcomes[kind]) for name, outcomes in played.items()}
        for kind in (0, 1)
    )
    shown = len(traffic.examination)
    return {
        "split_users": view(split, shown, seed, paired=False),
        "paired": view(drawn, shown, seed, paired=True),
        "expected": view(expected, shown, seed, paired=True),
    }


def _check(experiment: Experiment, job: Job, models: Path, domains: tuple[str, ...]) -> None:
    """Raises ``InputError`` for what would make the figures meaningless."""
    trained = job.experiment()
    if trained.simulation != experiment.simulation:
        raise InputError(
            f"{job.folder}: trained on another marketplace: its 'simulation' section is not that of"
            f" '{experiment.name}'"
        )
    if trained.tasks.spaces != experiment.tasks.spaces:
        raise InputError(
            f"{job.folder}: trained for {trained.tasks.words}; '{experiment.name}' has"
            f" {experiment.tasks.words}"
        )
    described = Path(experiment.data.input or "").parent / SIMULATION
    if experiment.simulation and described.is_file():
        logs = read_object(described, "seed", "simulation")
        if (logs["seed"], logs["simulation"]) != (
            experiment.seed,
            experiment.simulation.model_dump(mode="json"),
        ):
            raise InputError(
                f"{described}: these logs were simulated with another 'simulation' section or seed;"
                " play in the world of the logs"
            )
    known = [AUTO, BACKBONE, *(domain.name for domain in experiment.domains)]
    for domain in domains:
        if domain not in known:
            raise InputError(f"'{domain}' is no domain of the config; it has: {', '.join(known)}")
    if not models.is_dir() or not version_directories(models):
        raise InputError(f"{models}: no version of a model; run serving.export first")


def _offline(job: Job) -> dict[str, Any] | None:
    path = job.reports / "metrics.json"
    if not path.exists():
        return None
    evaluated = read_section(path, EvaluationResult)
    best = evaluated.oracle
    return {"split": evaluated.split} | {
        task: {
            metric: evaluated.overall[task][metric].model_dump(mode="json")
            | {"best": best[task][metric] if best else None}
            for metric in _METRICS
        }
        for task in evaluated.ranked
    }
