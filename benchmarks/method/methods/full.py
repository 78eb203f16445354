"""Full fine-tuning: a whole backbone for every domain, all of its weights trained on the
domain's rows.
"""

import time
from typing import Any, Literal

from pydantic import NonNegativeInt

from benchmarks.method.bench import Bench
from benchmarks.method.columns import read_rows, read_scored_rows
from benchmarks.method.methods.update import Update, trainable_copy
from benchmarks.method.options import chosen_domains, read_options
from benchmarks.method.outcome import Outcome
from benchmarks.method.trainee import Trainee, train_domains
from configs import Experiment
from configs.domains import ALL, Domain


class Full(Update):
    """Options.

    Attributes:
      epochs: over a domain's rows.
      start: what domains start from: ``update``, the backbone after ``update_epochs`` over the
        window's traffic of all domains (as domains' kernels start from the kernel of all traffic),
        or ``backbone``.
      update_epochs: as above.
      domains: names; every domain where empty.
    """

    epochs: NonNegativeInt = 2
    start: Literal["update", "backbone"] = "update"
    update_epochs: NonNegativeInt = 1
    domains: tuple[str, ...] = ()


def full(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trains a copy of the backbone for every domain on its rows of ``finetune.split``.

    ``all``, and with it a domain without rows in the window, is scored by what the domains start
    from.
    """
    settings = read_options(Full, "full", options)
    domains = chosen_domains(experiment, settings.domains)
    begun = time.perf_counter()
    window = read_rows(bench.dataset, [experiment.finetune.split])
    validation = read_scored_rows(bench, experiment.finetune.validation)
    trainee, rows, figures = Trainee(trainable_copy(bench), experiment, settings), 0, {}
    if settings.start == "update":
        figures[ALL] = trainee.train(
            trainee.weights(), window, validation, Domain(ALL), settings.update_epochs
        )
        rows = len(window.logits) * settings.update_epochs
    seconds = time.perf_counter() - begun

    scored = {split: read_rows(bench.dataset, [split]) for split in splits}
    logits = {
        split: {ALL: trainee.score(data, data.domain_rows(Domain(ALL)))}
        for split, data in scored.items()
    }
    judged = [trainee.judged(validation, Domain(ALL))]
    before = Outcome(logits, trainee.parameters, rows, seconds, notes={"stopping_auc": figures})
    return {"": train_domains(trainee, window, validation, domains, scored, before, judged)}
