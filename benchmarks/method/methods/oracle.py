"""The simulator's true probabilities: the best that any model can reach, on average."""

from typing import Any

import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.method.outcome import Outcome
from configs import Experiment, InputError
from configs.domains import ALL
from trainer.backbone.frozen_pass import Floats
from trainer.evaluation.oracle import true_probabilities

_CLIP = 1e-6


def oracle(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Logits of every task's true probability of every row."""
    logits = {}
    for split in splits:
        truth = true_probabilities(experiment, bench.dataset, bench.any_rows(split))
        if truth is None:
            raise InputError("oracle: needs the config's evaluation.truth and its files")
        true = [_logit(truth[task]) for task in experiment.tasks.towers]
        logits[split] = {ALL: np.stack(true, axis=1)}
    return {"": Outcome(logits, parameters=0, rows=0, seconds=0.0)}


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, _CLIP, 1.0 - _CLIP)
    return np.log(clipped / (1.0 - clipped)).astype(np.float32)
