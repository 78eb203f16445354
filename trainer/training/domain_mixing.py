"""Rows of other domains in a domain's training (``finetune.mixing``); the paper mixes with fixed
weights, e.g. 70/30, and leaves learned ones open.

Outside rows are drawn without replacement, as many as make up their share at the weight of own rows
where there are that many, and are then weighted so that together they carry exactly that share of
the weight.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domains import Domain
from configs.random_streams import Purpose, random_stream
from configs.tensorflow_import import tf
from configs.training import Finetune
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.kernel import Adapter, KernelWeights, Rows
from trainer.losses import learned_scores, loss_by_group
from trainer.training.batch_schedule import DomainData

SAMPLE = 20_000
"""Rows of a domain from which its gradient is taken, at most."""

Floats = npt.NDArray[np.float64]


def training_data(
    experiment: Experiment,
    adapter: Adapter,
    window: BackboneOutputs,
    domains: Sequence[Domain],
    start: Sequence[KernelWeights],
) -> list[DomainData]:
    """What every domain trains on.

    ``none``: its own rows. ``fixed``: also rows drawn uniformly from the rest of the window, which
      carry ``mixing_share`` of the weight.
    ``learned``: also rows of every other single-topic domain j, less the domain's own; j's part of
    the outside weight is in proportion to a_j = max(0, cos(g, g_j)), g and g_j the gradients of the
    mean cross-entropy over own rows and over j's, at the kernel that the domain starts from, and
    the outside weight is ``mixing_share`` times the mean of the a_j above 0, so that domains that
    hardly agree with any other stay nearly alone (our choice). KL(w || w0) is the same for all rows
    and left out of the gradients.

    Args:
      experiment: settings, topics and seed.
      adapter: what is trained.
      window: rows of the fine-tuning split, with taps.
      domains: what is trained.
      start: the kernels that training starts from, in the order of ``domains``.

    Returns:
      In the order of ``domains``; a function of the arguments and the seed, for each domain apart
      from the others.
    """
    settings = experiment.finetune
    own = [window.domain_rows(domain) for domain in domains]
    if settings.mixing == "none":
        return [DomainData(domain.name, rows) for domain, rows in zip(domains, own, strict=True)]
    mixed = []
    for domain, rows, kernel in zip(domains, own, start, strict=True):
        if settings.mixing == "fixed":
            rest = np.setdiff1d(np.arange(len(window.logits)), rows, assume_unique=True)
            sources, shares = [rest], np.array([settings.mixing_share])
        else:
            singles = [
                single
                for single in experiment.domains
                if len(single.conditions) == 1 and single.name != domain.name
            ]
            sources = [
                np.setdiff1d(window.domain_rows(single), rows, assume_unique=True)
                for single in singles
            ]
            sources = [source for source in sources if len(source)]
            agreement = (
                agreements(experiment, adapter, kernel, window, rows, sources)
                if len(rows)
                else np.zeros(len(sources))
            )
            shares = learned_shares(agreement, settings.mixing_share)
        mixed.append(mix(experiment, window, domain.name, rows, sources, shares))
    return mixed


def expected_rows(settings: Finetune, own: int, window: int) -> int:
    """How many rows a domain trains on: its own, and those that mixing adds to them, at most where
    their shares are learned.

    Args:
      settings: the section.
      own: rows of the domain.
      window: rows of the window.
    """
    if settings.mixing == "none":
        return own
    share = settings.mixing_share
    return own + min(window - own, round(own * share / (1.0 - share)))


def learned_shares(agreement: Floats, most: float) -> Floats:
    """Share of every source in a domain's weight ``[J]``, from cosines ``[J]``: see
    ``training_data``; none where nothing agrees.
    """
    positive = np.maximum(agreement, 0.0)
    if not positive.any():
        return np.zeros(len(agreement))
    shares: Floats = most * positive[positive > 0].mean() * positive / positive.sum()
    return shares


def agreements(
    experiment: Experiment,
    adapter: Adapter,
    kernel: KernelWeights,
    window: BackboneOutputs,
    own: Rows,
    sources: Sequence[Rows],
) -> Floats:
    """Cosine between the gradient of the domain's own rows and of every source's ``[J]``, at a
    kernel; 0 where a gradient is zero.
    """
    gradients = np.stack(
        [_gradient(experiment, adapter, kernel, window, rows) for rows in (own, *sources)]
    )
    norms = np.linalg.norm(gradients, axis=1)
    cosines: Floats = np.divide(
        gradients[1:] @ gradients[0],
        norms[1:] * norms[0],
        out=np.zeros(len(sources)),
        where=norms[1:] * norms[0] > 0,
    )
    return cosines


def mix(
    experiment: Experiment,
    window: BackboneOutputs,
    name: str,
    own: Rows,
    sources: Sequence[Rows],
    shares: Floats,
) -> DomainData:
    """A domain's own rows, and of every source as much as makes up its share of the total weight.

    Args:
      experiment: has the seed.
      window: has the sample weights.
      name: of the domain; draws are a function of seed and name.
      own: the domain's rows, ascending.
      sources: J sets of rows outside; they may overlap each other, then a row has the sum of what
        it is given.
      shares: of each source in the total weight, ``[J]``, in sum below 1.
    """
    generator = random_stream(experiment.seed, Purpose.MIXED_ROWS, name)
    weights = window.weights.astype(np.float64)
    planned = [
        min(len(source), round(len(own) * share / (1.0 - shares.sum())))
        for source, share in zip(sources, shares, strict=True)
    ]
    drawn = [
        np.sort(generator.choice(source, count, replace=False))
        for source, count in zip(sources, planned, strict=True)
    ]
    given = [
        (part, share) for part, share in zip(drawn, shares, strict=True) if weights[part].sum() > 0
    ]
    if not given:
        return DomainData(name, own)
    total = weights[own].sum() / (1.0 - sum(share for _, share in given))
    rows, factors = [own], [np.ones(len(own))]
    for part, share in given:
        rows.append(part)
        factors.append(np.full(len(part), share * total / weights[part].sum()))
    distinct, place = np.unique(np.concatenate(rows), return_inverse=True)
    return DomainData(
        name, distinct, np.bincount(place, np.concatenate(factors)).astype(np.float32), len(own)
    )


def _gradient(
    experiment: Experiment,
    adapter: Adapter,
    kernel: KernelWeights,
    window: BackboneOutputs,
    rows: Rows,
) -> Floats:
    """Gradient of the mean cross-entropy over rows (a fixed draw of ``SAMPLE`` of them) by all
    weights of a kernel, as one vector.
    """
    if len(rows) > SAMPLE:
        rows = np.sort(
            random_stream(experiment.seed, Purpose.GRADIENT_ROWS).choice(
                rows, SAMPLE, replace=False
            )
        )
    found = window.loss_columns(experiment.tasks, rows)
    columns = {name: tf.constant(values) for name, values in found.items()}
    taps, logits = window.inputs(rows)[np.newaxis], window.logits[rows].T[np.newaxis]
    weights = {name: tf.constant(values[np.newaxis]) for name, values in kernel.items()}
    with tf.GradientTape() as tape:
        tape.watch(weights)
        out = adapter.logits(weights, tf.constant(taps), tf.constant(logits))
        scores = learned_scores(experiment.tasks, tf.transpose(out[0]))
        loss = tf.reduce_sum(
            loss_by_group(experiment.tasks, scores, columns, tf.zeros([len(rows)], tf.int32), 1)
        )
    gradients = tape.gradient(loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return np.concatenate([gradients[name].numpy().ravel() for name in sorted(gradients)]).astype(
        np.float64
    )
