"""The backbone itself trained on, on the window's traffic of all domains: what recency alone
brings where all weights may move.
"""

import time
from typing import Any

import keras
from pydantic import NonNegativeFloat, PositiveFloat

from benchmarks.method.bench import Bench
from benchmarks.method.columns import read_rows
from benchmarks.method.options import Training, read_options
from benchmarks.method.outcome import Outcome
from benchmarks.method.trainee import Trainee
from configs import Experiment
from configs.domains import ALL, Domain


class Update(Training):
    """Options: of ``Training``; steps are smaller than in pre-training (our choice)."""

    learning_rate: PositiveFloat | None = 0.0003
    embedding_learning_rate: NonNegativeFloat | None = 0.005


def update(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trains all weights of a copy of the backbone on all rows of ``finetune.split``; one model
    for all domains.
    """
    settings = read_options(Update, "update", options)
    start = time.perf_counter()
    window, validation = (
        read_rows(bench.dataset, [split])
        for split in (experiment.finetune.split, experiment.finetune.validation)
    )
    trainee = Trainee(trainable_copy(bench), experiment, settings)
    figures = trainee.train(trainee.weights(), window, validation, Domain(ALL))
    seconds = time.perf_counter() - start
    logits = {}
    for split in splits:
        data = read_rows(bench.dataset, [split])
        logits[split] = {ALL: trainee.score(data, data.domain_rows(Domain(ALL)))}
    rows = len(window.logits) * settings.epochs
    return {
        "": Outcome(
            logits, trainee.parameters, rows, seconds, notes={"stopping_auc": {ALL: figures}}
        )
    }


def trainable_copy(bench: Bench) -> keras.Model:
    """The backbone with weights of its own, all trainable, and its debias input."""
    return keras.saving.load_model(bench.job.backbone / "model.keras", compile=False)
