"""Gradient-boosted trees over what the transform gives: a strong model that is no network
(LightGBM; Ke et al. 2017).
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, PositiveInt

from benchmarks.method.bench import Bench, Remembered
from benchmarks.method.boosted_features import BoostedFeatures
from benchmarks.method.columns import joined_rows, read_rows
from benchmarks.method.options import read_options, training_splits
from benchmarks.method.outcome import Outcome
from configs import Experiment, InputError
from configs.domains import ALL, Domain
from configs.schema import RANKING_TASKS
from configs.section import Section
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.data.progress_bar import row_bar
from trainer.kernels.kernel import Rows
from trainer.training.judging_users import stopping_rows

_CLIP = 1e-6


class Boosted(Section):
    """Options.

    Attributes:
      rounds: trees at most, for each of the two tasks.
      learning_rate: share of a tree that is added.
      leaves: of a tree.
      patience: trees without a better AUC on the stopping users of validation before a task stops;
        its best number of trees is kept.
      threads: of the two processors that studies are run on.
      splits: trained on; where empty ``finetune.split``, and ``pretrain.split`` too unless
        ``frozen``: on its own training rows the backbone's logits know the labels.
      memory: whether trees read what the experiment's ``memory`` section says, too.
      frozen: whether they read the frozen backbone's logits and the topics in the place of
        features.
    """

    rounds: PositiveInt = 300
    learning_rate: PositiveFloat = 0.1
    leaves: PositiveInt = Field(127, ge=2)
    patience: PositiveInt = 30
    threads: PositiveInt = 2
    splits: tuple[str, ...] = ()
    memory: bool = False
    frozen: bool = False


def boosted(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trains a model of CTR and one of CTCVR on all rows; one pair for all domains, which are among
    the features.

    Features: see ``boosted_features``. ``parameters`` are the values of leaves and the thresholds
    of splits; ``rows`` counts every tree's pass over the rows.
    """
    settings = read_options(Boosted, "boosted", options)
    chosen = settings.splits or ((experiment.finetune.split,) if settings.frozen else ())
    training = training_splits(experiment, chosen, splits)
    memory = experiment.memory if settings.memory else None
    if settings.memory and memory is None:
        raise InputError("options of boosted.memory: the experiment has no memory section")
    judging = experiment.finetune.validation
    remembered = bench.remembered(memory, [*training, judging]) if memory else None
    begun = time.perf_counter()
    data, validation = (
        _rows(bench, of, settings.frozen, remembered) for of in (training, [judging])
    )
    features = BoostedFeatures(
        experiment, bench.dataset.fitted, data, training, memory, settings.frozen
    )
    held_out = stopping_rows(validation, Domain(ALL))
    train_set = lightgbm.Dataset(
        features.matrix(data), feature_name=features.names, categorical_feature=features.categorical
    )
    stop_set = lightgbm.Dataset(features.matrix(validation)[held_out], reference=train_set)
    models = {
        task: _train(experiment, settings, task, train_set, data, stop_set, validation, held_out)
        for task in RANKING_TASKS
    }
    seconds = time.perf_counter() - begun + (remembered.seconds if remembered else 0.0)

    remembered = bench.remembered(memory, splits) if memory else None
    logits, clipped = {}, {}
    for split in splits:
        x = features.matrix(_rows(bench, [split], settings.frozen, remembered))
        raw = {
            task: np.asarray(models[task].predict(x, raw_score=True), np.float64)
            for task in RANKING_TASKS
        }
        clipped[split] = float((raw["ctcvr"] >= raw["ctr"]).mean()) if len(x) else 0.0
        logits[split] = {ALL: task_logits(raw["ctr"], raw["ctcvr"])}
    rounds = {task: model.current_iteration() for task, model in models.items()}
    trees = [tree for model in models.values() for tree in model.dump_model()["tree_info"]]
    return {
        "": Outcome(
            logits,
            parameters=sum(2 * tree["num_leaves"] - 1 for tree in trees),
            rows=len(data.logits) * sum(rounds.values()),
            seconds=seconds,
            notes={
                "rounds": rounds,
                "best_rounds": {task: model.best_iteration for task, model in models.items()},
                "clipped": clipped,
            },
        )
    }


def _rows(
    bench: Bench, splits: Sequence[str], frozen: bool, remembered: Remembered | None
) -> BackboneOutputs:
    """The rows of splits, one after the other, with what trees read of them."""
    rows = (
        joined_rows([bench.any_rows(split) for split in splits])
        if frozen
        else read_rows(bench.dataset, splits)
    )
    if remembered is None:
        return rows
    return replace(rows, memory=np.concatenate([remembered.memory[split] for split in splits]))


def task_logits(ctr: npt.NDArray[np.float64], ctcvr: npt.NDArray[np.float64]) -> Floats:
    """Logits ``[N, 2]`` of CTR and CVR from two models' logits ``[N]`` of CTR and CTCVR, so that
    their product is p_ctcvr again.

    The CVR is p_ctcvr / p_ctr, at most 1 - 1e-6: two models may contradict each other, and where
    p_ctcvr is the greater one, p_ctr stands in for it. Everywhere else rows keep the order of
    p_ctcvr, but for differences below float32's resolution.
    """
    log_cvr = np.minimum(np.logaddexp(0.0, -ctr) - np.logaddexp(0.0, -ctcvr), np.log1p(-_CLIP))
    return np.stack([ctr, log_cvr - np.log(-np.expm1(log_cvr))], axis=1).astype(np.float32)


def _train(
    experiment: Experiment,
    settings: Boosted,
    task: str,
    train_set: lightgbm.Dataset,
    data: BackboneOutputs,
    stop_set: lightgbm.Dataset,
    validation: BackboneOutputs,
    held_out: Rows,
) -> lightgbm.Booster:
    """One task's model; both tasks share the binned features."""
    label = getattr(experiment.tasks, task).label
    train_set.set_label(data.labels(label)).set_weight(data.weights)
    held_out_labels = validation.labels(label)[held_out]
    judged = len(np.unique(held_out_labels)) == 2
    if judged:
        stop_set.set_label(held_out_labels).set_weight(validation.weights[held_out])
    parameters = {
        "objective": "binary",
        "metric": "auc",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "num_threads": settings.threads,
        "seed": experiment.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    rows = len(data.logits)
    with row_bar(f"boosted {task}", rows * settings.rounds) as bar:

        def count(_: lightgbm.callback.CallbackEnv) -> None:
            bar.update(rows)

        return lightgbm.train(
            parameters,
            train_set,
            settings.rounds,
            valid_sets=[stop_set] if judged else None,
            callbacks=[
                count,
                *([lightgbm.early_stopping(settings.patience, verbose=False)] if judged else []),
            ],
        )
