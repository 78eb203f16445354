"""Gradient-boosted trees over what the transform gives: a strong model that is no network
(LightGBM; Ke et al. 2017).
"""

import time
from collections.abc import Mapping, Sequence
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
from configs.prediction.tasks import Tasks
from configs.section import Section
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.data.progress_bar import row_bar
from trainer.kernels.kernel import Rows
from trainer.training.judging_users import stopping_rows

_CLIP = 1e-6


class Boosted(Section):
    """Options.

    Attributes:
      rounds: trees at most, for each task.
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
    """Trains a model of every task's label on all rows; one of each for all domains, which are
    among the features. So of a task that waits on another it is that of its entire product.

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
        for task in experiment.tasks.towers
    }
    seconds = time.perf_counter() - begun + (remembered.seconds if remembered else 0.0)

    remembered = bench.remembered(memory, splits) if memory else None
    logits, clipped = {}, {}
    for split in splits:
        x = features.matrix(_rows(bench, [split], settings.frozen, remembered))
        raw = {
            task: np.asarray(models[task].predict(x, raw_score=True), np.float64) for task in models
        }
        found, contradicting = task_logits(experiment.tasks, raw)
        clipped[split] = float(contradicting.mean()) if len(x) else 0.0
        logits[split] = {ALL: found}
    names = {task: _name_over_all_rows(experiment.tasks, task) for task in models}
    rounds = {names[task]: model.current_iteration() for task, model in models.items()}
    trees = [tree for model in models.values() for tree in model.dump_model()["tree_info"]]
    return {
        "": Outcome(
            logits,
            parameters=sum(2 * tree["num_leaves"] - 1 for tree in trees),
            rows=len(data.logits) * sum(rounds.values()),
            seconds=seconds,
            notes={
                "rounds": rounds,
                "best_rounds": {
                    names[task]: model.best_iteration for task, model in models.items()
                },
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


def task_logits(
    tasks: Tasks, raw: Mapping[str, npt.NDArray[np.float64]]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The towers' logits ``[N, T]`` from models' logits over all rows, and the rows ``[N]`` where
    models contradict each other.

    Let q be the probability over all rows. That of a task which waits on another is q / q_before,
    at most 1 - 1e-6, so that their product is q again: where q is greater than q_before, q_before
    stands in for it. Everywhere else rows keep the order of q, but for differences below float32's
    resolution.

    Args:
      tasks: of the config.
      raw: each task's logits over all rows ``[N]``, of an entire product where it waits on another.
    """
    logits, log_q = [], {}
    contradicting = np.zeros(len(raw[tasks.towers[0]]), bool)
    for name in tasks.towers:
        before, log_q[name] = tasks.root[name].after, -np.logaddexp(0.0, -raw[name])
        if before is None:
            logits.append(raw[name])
            continue
        contradicting |= log_q[name] >= log_q[before]
        log_p = np.minimum(log_q[name] - log_q[before], np.log1p(-_CLIP))
        logits.append(log_p - np.log(-np.expm1(log_p)))
        log_q[name] = log_q[before] + log_p
    return np.stack(logits, axis=1).astype(np.float32), contradicting


def _name_over_all_rows(tasks: Tasks, task: str) -> str:
    entire = tasks.root[task].entire
    return entire.name if entire else task


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
    """One task's model; all tasks share the binned features."""
    label = experiment.tasks.targets[task].label
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
    with row_bar(f"boosted {label}", rows * settings.rounds) as bar:

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
