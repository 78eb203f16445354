"""Scores rows under kernels: logits, probabilities, and which rows and labels a task has."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import Domain, Topic
from configs.schema import RANKING_TASKS
from configs.tensorflow_import import tf
from trainer.backbone.batch_memory import BatchMemory, tensor_on
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.gate import GATE, SUPPORT, apply_gate
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights, Rows
from trainer.kernels.routing import auto_rank, most_specific_first
from trainer.losses import log_probabilities
from trainer.metrics.task_metrics import auc, mean_defined

_CHUNK = 4_096
_AT_ONCE = 2
"""Chunks at a time: while the inputs of one are gathered, another is computed."""


Probabilities = dict[str, Floats]
"""Task -> probability of every row."""


def probabilities(logits: npt.ArrayLike) -> Probabilities:
    """CTR, CVR and CTCVR ``[N]`` from logits ``[N, 2]``."""
    return {
        task: np.exp(log_p.numpy())
        for task, log_p in log_probabilities(tf.constant(logits, tf.float32)).items()
    }


def score_rows(
    adapter: Adapter, kernel: KernelWeights, data: BackboneOutputs, rows: Rows
) -> Floats:
    """Logits ``[len(rows), 2]`` of one kernel, under its gate where it has one (then ``data``
    holds the user feature's ids), with memory where it reads it (then ``data`` has it).
    """
    weights = {
        name: tf.constant(values[np.newaxis])
        for name, values in kernel.items()
        if name not in (GATE, SUPPORT)
    }
    scored = np.empty((len(rows), 2), np.float32)
    if isinstance(adapter, KernelShape) and not adapter.memory:
        data = replace(data, memory=None)
    tasks, width = data.input_shape

    def score_chunks(first: int) -> None:
        memory = BatchMemory()
        for start in range(first * _CHUNK, len(rows), _AT_ONCE * _CHUNK):
            part = rows[start : start + _CHUNK]
            taps = data.inputs(part, memory.array((tasks, len(part), width)))
            logits = tf.constant(data.logits[part].T[np.newaxis])
            out = adapter.logits(weights, tensor_on(taps)[tf.newaxis], logits)
            scored[start : start + len(part)] = out[0].numpy().T

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(score_chunks, range(_AT_ONCE)))  # a list, so that an error is raised
    if isinstance(adapter, KernelShape) and GATE in kernel:
        buckets = kernel[SUPPORT][data.columns[f"feature/{adapter.user}"][rows]]
        scored = apply_gate(data.logits[rows], scored, kernel[GATE].T[buckets]).numpy()
    return scored


def route(
    domains: Iterable[Domain],
    topics: Mapping[str, Topic],
    data: BackboneOutputs,
    scores: Mapping[str, Floats],
    otherwise: Floats,
) -> Floats:
    """Logits of all rows ``[N, 2]`` as ``auto`` serves them: each under its most specific domain
    that has scores.

    Args:
      domains: those that may answer.
      topics: that define them, and by which the rows are cut; their order breaks ties.
      data: the rows.
      scores: domain -> logits of its rows, in order.
      otherwise: logits ``[N, 2]`` of the rows that none of these domains matches.
    """
    served = otherwise.copy()
    candidates = most_specific_first([d for d in domains if d.name in scores], topics)
    rank = auto_rank(
        {topic: tf.constant(data.columns[f"topic/{topic}"]) for topic in topics},
        candidates,
        len(served),
    ).numpy()
    for position, domain in enumerate(candidates, 1):
        inside = data.domain_rows(domain)
        routed = rank[inside] == position
        served[inside[routed]] = scores[domain.name][routed]
    return served


def task_rows(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, task: str
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Which of the rows are in a task's sample space, and the labels of those."""
    settings = getattr(experiment.tasks, task)
    inside = (
        np.ones(len(rows), bool)
        if settings.space == "all"
        else data.labels(settings.space)[rows] > 0
    )
    return inside, data.labels(settings.label)[rows][inside]


def mean_auc(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, logits: Floats
) -> float | None:
    """Mean of CTR- and CTCVR-AUC where they are defined; None where neither is."""
    return mean_defined(entire_space_aucs(experiment, data, rows, logits).values())


def entire_space_aucs(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, logits: Floats
) -> dict[str, float | None]:
    """AUC of the tasks over all impressions, ``ctr`` and ``ctcvr``; None where the rows have one
    class only.

    Args:
      experiment: names the labels.
      data: where the rows are.
      rows: indices ``[N]``.
      logits: of these rows, ``[N, 2]``.
    """
    scores = probabilities(logits)
    found = {}
    for task in RANKING_TASKS:
        _, labels = task_rows(experiment, data, rows, task)
        found[task] = auc(labels, scores[task], data.weights[rows])
    return found
