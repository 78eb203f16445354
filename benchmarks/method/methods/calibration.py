"""Every domain's bias and scale alone: what of a kernel's gain in log loss is no more than
calibration.

logit' = a logit + b for each task, with a > 0 (Platt 1999, "Probabilistic Outputs for Support
Vector Machines ...", on a logit), so the order of a domain's rows by a task
that waits on no other is the backbone's.
"""

import time
from typing import Any

import numpy as np
from pydantic import PositiveFloat
from scipy.optimize import minimize
from scipy.special import expit

from benchmarks.method.bench import Bench
from benchmarks.method.options import chosen_domains, read_options
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import ALL, Domain
from configs.section import Section
from trainer.backbone.frozen_pass import Floats
from trainer.kernels.scoring import task_rows


class Calibration(Section):
    """Options.

    Attributes:
      precision: of the prior N(0, 1 / precision) of log a and of b, in rows: so that a domain with
        a handful of positives stays near the backbone (our choice).
    """

    precision: PositiveFloat = 1.0


def calibration(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Fits every domain's two numbers of each task on its rows of ``finetune.split``, by maximum
    likelihood, each on the rows where it is defined.

    Returns:
      As ``tuned.tune``: ``""``, every domain under its own; ``all``, every domain under those of
      all traffic. No domain is off.
    """
    precision = read_options(Calibration, "calibration", options).precision
    window, everyone = bench.any_rows(experiment.finetune.split), Domain(ALL)
    seconds: dict[str, float] = {}
    learned: dict[str, int] = {}
    lines: list[tuple[Domain, Floats]] = []
    for domain in [everyone, *chosen_domains(experiment, ())]:
        begun = time.perf_counter()
        inside = window.domain_rows(domain)
        if not len(inside):
            continue
        fitted = []
        for place, task in enumerate(experiment.tasks.towers):
            chosen, labels = task_rows(experiment, window, inside, task)
            rows = inside[chosen]
            fitted.append(
                fit_line(window.logits[rows, place], labels, window.weights[rows], precision)
            )
        lines.append((domain, np.array(fitted, np.float32)))
        learned[domain.name] = len(inside)
        seconds[domain.name] = time.perf_counter() - begun

    own: dict[str, dict[str, Floats]] = {}
    for split in splits:
        data = bench.any_rows(split)
        own[split] = {
            domain.name: data.logits[data.domain_rows(domain)] * line[:, 0] + line[:, 1]
            for domain, line in lines
        }

    def outcome(names: list[str]) -> Outcome:
        logits = {split: {name: found[name] for name in names} for split, found in own.items()}
        return Outcome(
            logits,
            parameters=2 * len(experiment.tasks.towers),
            rows=sum(learned[name] for name in names),
            seconds=sum(seconds[name] for name in names),
        )

    return {"": outcome(list(seconds)), "all": outcome([ALL])}


def fit_line(
    logits: Floats, labels: Floats, weights: Floats, precision: float
) -> tuple[float, float]:
    """The a and b that minimise  -sum_n w_n log p(y_n | a logit_n + b) + precision / 2 ((log a)^2 +
    b^2).

    Args:
      logits: ``[N]``.
      labels: 0 or 1, ``[N]``.
      weights: of the rows, ``[N]``.
      precision: of the prior, above 0.
    """
    x, y, w = (values.astype(np.float64) for values in (logits, labels, weights))

    def loss(found: Floats) -> tuple[float, Floats]:
        scale, bias = np.exp(found[0]), found[1]
        total = scale * x + bias
        slope = w * (expit(total) - y)
        value = w @ (np.logaddexp(0.0, total) - y * total) + 0.5 * precision * (found @ found)
        return float(value), np.array([scale * (slope @ x), slope.sum()]) + precision * found

    log_scale, bias = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return float(np.exp(log_scale)), float(bias)
