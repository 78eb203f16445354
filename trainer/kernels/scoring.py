"""Scores rows under kernels: logits, probabilities, and which rows and labels a task has."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import BACKBONE, Domain, Topic
from configs.prediction.score import SCORE
from configs.prediction.tasks import Tasks
from configs.tensorflow_import import tf
from trainer.backbone.batch_memory import BatchMemory, tensor_on
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.gate import GATE, SUPPORT, apply_gate
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights, Rows
from trainer.kernels.page_scores import PageScores
from trainer.kernels.routing import auto_rank, composed_ranks, most_specific_first
from trainer.losses import learned_scores, predicted
from trainer.metrics.task_metrics import auc, mean_defined
from trainer.target_rows import defining_columns, is_defined

_CHUNK = 4_096
_AT_ONCE = 2
"""Chunks at a time: while the inputs of one are gathered, another is computed."""

Predictions = dict[str, Floats]
"""Target -> probability, or amount in the label's unit, of every row."""


def predicted_rows(tasks: Tasks, logits: npt.ArrayLike) -> Predictions:
    """Of every target ``[N]``, from the towers' logits ``[N, T]``."""
    found = {}
    for name, score in learned_scores(tasks, tf.constant(logits, tf.float32)).items():
        target = tasks.targets[name]
        # TensorFlow's exponential of a row depends on its place among others in the last bit.
        found[name] = predicted(target, score).numpy() if target.amount else np.exp(score.numpy())
    return found


def served_outputs(pages: PageScores, logits: npt.ArrayLike, places: tf.Tensor) -> Predictions:
    """What a model is to answer: the prediction of every target and the score, ``[N]``.

    Args:
      pages: ranks the rows.
      logits: of the towers, ``[N, T]``.
      places: of the expression that ranks each row, int32 ``[N]``.
    """
    answers = predicted_rows(pages.tasks, logits)
    tensors = {name: tf.constant(values) for name, values in answers.items()}
    return {**answers, SCORE: pages.values(tensors, places).numpy()}


def score_rows(
    adapter: Adapter, kernel: KernelWeights, data: BackboneOutputs, rows: Rows
) -> Floats:
    """Logits ``[len(rows), T]`` of one kernel, under its gate where it has one (then ``data``
    holds the user feature's ids), with memory where it reads it (then ``data`` has it).
    """
    weights = {
        name: tf.constant(values[np.newaxis])
        for name, values in kernel.items()
        if name not in (GATE, SUPPORT)
    }
    scored = np.empty((len(rows), data.logits.shape[1]), np.float32)
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


def auto_logits(
    domains: Iterable[Domain],
    topics: Mapping[str, Topic],
    data: BackboneOutputs,
    score: Callable[[Domain, Rows], Floats],
    otherwise: Floats,
    compose: float | None = None,
) -> tuple[list[str], Floats]:
    """How ``auto`` serves rows.

    Args:
      domains: those whose kernels are served.
      topics: that define them, and by which the rows are cut; their order breaks ties.
      data: the rows.
      score: gives the logits ``[n, T]`` of rows of a domain under its kernel.
      otherwise: logits ``[N, T]`` of the rows that none of these domains matches.
      compose: share of the changes that are added up (``routing.composed_ranks``); None where each
        row's most specific domain answers alone.

    Returns:
      Of every row the name of the most specific domain that it matches, ``backbone`` where there is
      none, and the logits ``[N, T]``.
    """
    served = np.array(otherwise, np.float32)
    candidates = most_specific_first(domains, topics)
    indices = {topic: tf.constant(data.columns[f"topic/{topic}"]) for topic in topics}
    own = auto_rank(indices, candidates, len(served))
    together = own[:, tf.newaxis]
    if compose is not None:
        together = composed_ranks(own, indices, candidates, len(served))
    first, *parts = together.numpy().T
    for rank, domain in enumerate(candidates, 1):
        chosen = np.flatnonzero(first == rank)
        served[chosen] = score(domain, chosen)
    start = served.copy() if parts else served
    share = np.float32(compose or 0.0)
    for part in parts:
        for rank in np.unique(part[part > 0]):
            chosen = np.flatnonzero(part == rank)
            served[chosen] += share * (score(candidates[rank - 1], chosen) - start[chosen])
    names = [BACKBONE, *(domain.name for domain in candidates)]
    return [names[rank] for rank in own.numpy()], served


def route(
    domains: Iterable[Domain],
    topics: Mapping[str, Topic],
    data: BackboneOutputs,
    scores: Mapping[str, Floats],
    otherwise: Floats,
    compose: float | None = None,
) -> Floats:
    """Logits of all rows ``[N, T]`` as ``auto`` serves them, by kernels that have scored theirs.

    Args:
      domains: those that may answer; they do where they have scores.
      topics: as of ``auto_logits``.
      data: the rows.
      scores: domain -> logits of its rows, in order.
      otherwise: as of ``auto_logits``, and so the next.
      compose: see there.
    """

    def score(domain: Domain, chosen: Rows) -> Floats:
        return scores[domain.name][np.searchsorted(data.domain_rows(domain), chosen)]

    served = [domain for domain in domains if domain.name in scores]
    return auto_logits(served, topics, data, score, otherwise, compose)[1]


def task_rows(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, name: str
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """On which of the rows a target is defined, and the labels of those: 0, 1, or amounts."""
    target = experiment.tasks.targets[name]
    read = {name: data.columns[name][rows] for name in defining_columns(target)}
    inside = is_defined(target, read, len(rows))
    return inside, data.labels(target.label)[rows][inside]


def mean_auc(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, logits: Floats
) -> float | None:
    """Mean AUC of the targets over all rows where it is defined; None where none is."""
    return mean_defined(entire_space_aucs(experiment, data, rows, logits).values())


def entire_space_aucs(
    experiment: Experiment, data: BackboneOutputs, rows: Rows, logits: Floats
) -> dict[str, float | None]:
    """AUC of the targets over all rows (``Tasks.ranking``); None where the rows have one class
    only.

    Args:
      experiment: names the labels.
      data: where the rows are.
      rows: indices ``[N]``.
      logits: of these rows, ``[N, T]``.
    """
    scores = predicted_rows(experiment.tasks, logits)
    found = {}
    for task in experiment.tasks.ranking:
        inside, labels = task_rows(experiment, data, rows, task)
        high = labels > experiment.tasks.targets[task].threshold
        found[task] = auc(high, scores[task][inside], data.weights[rows][inside])
    return found
