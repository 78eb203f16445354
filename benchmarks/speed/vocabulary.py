"""Flat in vocabulary: the training step of a backbone over one embedding table, by the table's
rows, beside plain Keras.

One id feature, ids uniform over the table, the other widths as configured. Ours reads and updates a
batch's rows alone; the bound is memory's latency for rows that no cache holds. Keras's Adam goes
over the table, its two moments and a gradient of the table's size, so it is measured up to a few
million rows.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.speed.hardware import fastest
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.peers.handed import Column, Handed
from benchmarks.speed.peers.with_keras import build
from configs import Experiment
from configs.load import parse_experiment
from preprocessing.features.transform import Output
from trainer.backbone.model import build_backbone
from trainer.training.backbone_step import Learner

_ROWS, _QUICK_ROWS = (100_000, 1_000_000, 10_000_000, 50_000_000), (1_000, 10_000)
_KERAS_ROWS = (100_000, 1_000_000, 4_000_000)
_BATCH, _BATCHES = 4096, 8
_EXPERIMENT = """
name: vocabulary
data: {timestamp: moment, request: request, user: user}
tasks:
  click: {label: click}
  order: {label: conversion, after: click, loss_weight: 0.0, entire: {name: both}}
splits:
  pretrain: {start: 2025-01-01T00:00:00Z, end: 2025-01-02T00:00:00Z}
  finetune: {start: 2025-01-02T00:00:00Z, end: 2025-01-03T00:00:00Z}
  validation: {start: 2025-01-03T00:00:00Z, end: 2025-01-04T00:00:00Z}
  test: {start: 2025-01-04T00:00:00Z, end: 2025-01-05T00:00:00Z}
features:
  user: {kind: categorical, side: user, hash_buckets: 1}
"""


def measure(options: Options) -> Figures:
    """See the module."""
    experiment = parse_experiment(_EXPERIMENT)
    sizes, repeats = (_QUICK_ROWS, 2) if options.quick else (_ROWS, 20)
    ours = {rows: 1e3 * _ours(experiment, rows, repeats) for rows in sizes}
    figures: Figures = {f"ours_{rows}_rows_ms": ours[rows] for rows in sizes}
    figures["ours_largest_to_smallest_ratio"] = ours[sizes[-1]] / ours[sizes[0]]
    for rows in _QUICK_ROWS if options.quick else _KERAS_ROWS:
        figures[f"plain_keras_{rows}_rows_ms"] = 1e3 * _keras(
            experiment, rows, max(2, repeats // 4)
        )
    return figures


def _batches(rows: int) -> list[dict[str, Any]]:
    """Record columns with fresh ids each, so that no batch finds its rows in a cache because the
    one before had them.
    """
    generator = np.random.default_rng(rows)
    labels = generator.random((_BATCHES, 2, _BATCH)) < 0.3
    return [
        {
            "feature/user": tf.constant(generator.integers(1, rows, _BATCH), tf.int32),
            "label/click": tf.constant(click, tf.float32),
            "label/conversion": tf.constant(click & bought, tf.float32),
            "row/weight": tf.ones([_BATCH]),
        }
        for click, bought in labels
    ]


def _ours(experiment: Experiment, rows: int, repeats: int) -> float:
    """Seconds of a step."""
    learner = Learner(
        build_backbone(experiment, {"user": Output("user", "user", "id", "user", rows)}), experiment
    )
    batches = _batches(rows)
    return fastest(lambda: [float(learner.step(batch)) for batch in batches], repeats) / len(
        batches
    )


def _keras(experiment: Experiment, rows: int, repeats: int) -> float:
    """Seconds of a step of the same model in plain Keras."""
    settings = experiment.backbone
    columns = (Column("user", "id", "user", rows, 0),)
    widths = (
        settings.embedding_dimension,
        settings.experts,
        settings.expert_layers,
        settings.tower_layers,
    )
    model = build(Handed(columns, *widths, _BATCH, experiment.pretrain.learning_rate, 0, 1))
    batches = [
        ({"user": batch["feature/user"]}, [batch["label/click"], batch["label/conversion"]])
        for batch in _batches(rows)
    ]
    return fastest(
        lambda: [model.train_on_batch(inputs, labels) for inputs, labels in batches], repeats
    ) / len(batches)
