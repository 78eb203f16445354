"""Kernels that read the user's history before it is pooled: entries of the sequence under other
weights than the frozen backbone's attention gives them.

That a domain should act on a sequence before it is pooled is the idea of SFPNet (arXiv 2404.09709)
and MDL (arXiv 2602.07520); a bias of low rank on the scores of frozen attention is our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from configs import Experiment, InputError
from configs.memory import Memory
from configs.random_streams import Purpose, random_stream
from preprocessing.features.output_spec import Output
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.backbone.input_scale import InputScale
from trainer.backbone.layers.sequence_pooling import TargetAttention, pooled
from trainer.backbone.model import read_tap
from trainer.data.dataset import Columns
from trainer.kernels.kernel import KernelShape, KernelWeights, Weights, kernel_logits

Pool = Literal["mean", "last", "last_three", "entries", "products"]

_SHOWN_ROWS = 32_768  # as many as say how a kernel's own inputs are standardised
_CHUNK = 16_384


@dataclass(frozen=True, eq=False)
class History:
    """A list of a row's earlier items as the frozen backbone reads it, newest first.

    Attributes:
      name: of the feature.
      query: the feature that it shares a table with, the candidate.
      length: L, of the list.
      table: the frozen embeddings, float32 ``[V, d]``.
      attention: the frozen layer that pools the list; None where its mean does.
    """

    name: str
    query: str
    length: int
    table: Floats
    attention: TargetAttention | None

    @classmethod
    def of(
        cls, backbone: keras.Model, outputs: dict[str, Output], experiment: Experiment
    ) -> "History":
        """The first list of an experiment that shares a table with another feature.

        Args:
          backbone: frozen.
          outputs: of the transform.
          experiment: of the backbone.

        Raises:
          InputError: there is no such list.
        """
        shared = (one for one in outputs.values() if one.kind == "ids" and one.table != one.name)
        found = next(shared, None)
        if found is None or found.length is None:
            raise InputError(
                "features: a kernel on the history expected a list with 'shares', found none"
            )
        pools = experiment.features[found.feature].pools_by_attention
        return cls(
            found.name,
            found.table,
            found.length,
            backbone.get_layer(f"embedding_{found.table}").table.numpy(),
            backbone.get_layer(f"attention_{found.name}") if pools else None,
        )

    @property
    def columns(self) -> tuple[str, str]:
        """The record columns that are read."""
        return f"feature/{self.name}", f"feature/{self.query}"

    @property
    def width(self) -> int:
        """Numbers that ``beside`` puts beside a tap."""
        return 2 * self.length + 1

    def beside(self, rows: BackboneOutputs, columns: Columns) -> BackboneOutputs:
        """Rows whose taps end with the ids of the list, the candidate's id, and the score that
        frozen attention gives each entry: ``[N, T, d + 2 L + 1]``. Ids below 2^24 are exact as
        float32.

        Args:
          rows: with a tap.
          columns: ``History.columns`` of the same rows.
        """
        ids, candidates = (columns[name] for name in self.columns)
        count, tasks, width = rows.taps.shape
        taps = np.empty((count, tasks, width + self.width), np.float32)
        taps[..., :width] = rows.taps
        taps[..., width : width + self.length] = ids[:, np.newaxis]
        taps[..., width + self.length] = candidates[:, np.newaxis]
        for start in range(0, count, _CHUNK):
            part = slice(start, start + _CHUNK)
            scores = self.scores(self.table[candidates[part]], self.table[ids[part]])
            taps[part, :, width + self.length + 1 :] = scores[:, np.newaxis]
        return replace(rows, taps=taps)

    def scores(self, query: Floats, keys: Floats) -> Floats:
        """Of frozen attention ``[N, L]``, padding included; 0 where the mean pools."""
        if self.attention is None:
            return np.zeros(keys.shape[:2], np.float32)
        found: Floats = self.attention.scores(tf.constant(query), tf.constant(keys)).numpy()
        return found


@dataclass(frozen=True, eq=False)
class HistoryKernel:
    """A kernel that reads, beside its tap (and memory), the history pooled in other ways.

    Each pool is a frozen function of the row. With a rank, a domain also has biases on the scores
    s_t of frozen attention over the embedded entries k_t, q the embedded candidate, both divided
    by the deviation of the table's entries:

      b_t = (q Q / sqrt(d)) . (k_t K / sqrt(d)) / sqrt(rank) + r_t,

    and the kernel reads  pooled(s + b) - pooled(s). Q ~ N(0, I), K = 0 and r = 0, and the last
    layer is 0, so it starts exactly at zero-shot. Inputs are standardised here, over the window, as
    those of kernels are.

    Attributes:
      shape: of encoder and decoder, over everything that is read.
      width: of the backbone's tap.
      history: of the backbone.
      pools: what is read beside the tap: ``mean`` of the entries, the ``last`` one, the mean of the
        ``last_three``, all ``entries``, the ``products`` q . k_t.
      rank: of the biases; 0 for none.
      deviation: of the table's entries.
      scale: of the inputs; None where they are read as they are.
    """

    shape: KernelShape
    width: int
    history: History
    pools: tuple[Pool, ...]
    rank: int
    deviation: float
    scale: InputScale | None = None

    @classmethod
    def of(
        cls,
        backbone: keras.Model,
        history: History,
        experiment: Experiment,
        pools: Sequence[Pool],
        rank: int,
    ) -> "HistoryKernel":
        """An adapter of an experiment's ``kernel`` and ``memory`` sections, not standardised yet.

        Raises:
          InputError: kernels with a gate, or that are not residual.
        """
        settings = experiment.kernel
        if not settings.residual or settings.gate != "none":
            raise InputError(
                "kernel.residual and kernel.gate: a kernel on the history expected true and 'none',"
                f" received {str(settings.residual).lower()} and '{settings.gate}'"
            )
        width, size = int(read_tap(backbone.output, settings.tap).shape[-1]), history.table.shape[1]
        of_pool = {
            "mean": size,
            "last": size,
            "last_three": size,
            "entries": size * history.length,
            "products": history.length,
        }
        more = sum(of_pool[pool] for pool in pools) + (size if rank else 0)
        shape = KernelShape.of(
            settings, width + more, experiment.memory, len(experiment.tasks.towers)
        )
        deviation = float(history.table.std()) or 1.0
        return cls(shape, width, history, tuple(pools), rank, deviation)

    def standardised(self, window: BackboneOutputs) -> "HistoryKernel":
        """The same, on inputs that are standardised over rows with ``History.beside`` (and
        memory).
        """
        every = len(window.logits)
        shown = np.linspace(0, every - 1, min(every, _SHOWN_ROWS)).astype(np.int64)
        weights = {
            name: tf.constant(values[np.newaxis]) for name, values in self.initial(0, "").items()
        }
        inputs = replace(self, scale=None).inputs(weights, window.inputs(shown)[np.newaxis])
        return replace(self, scale=InputScale.of(np.moveaxis(inputs[0].numpy(), 0, 1)))

    @property
    def tap(self) -> str:
        """The kernel's."""
        return self.shape.tap

    @property
    def remembers(self) -> Memory | None:
        """The kernel's."""
        return self.shape.remembers

    @property
    def informed(self) -> tuple[str, ...]:
        """The kernel's: the weights of encoder and decoder."""
        return self.shape.informed

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """As a kernel's, and Q ~ N(0, I), K and r 0."""
        weights = self.shape.initial(seed, domain)
        if self.rank:
            size = (self.shape.towers, self.history.table.shape[1], self.rank)
            stream = random_stream(seed, Purpose.KERNEL_WEIGHTS, f"{domain}|history")
            weights |= {
                "query": stream.standard_normal(size, np.float32),
                "key": np.zeros(size, np.float32),
                "recency": np.zeros((self.shape.towers, self.history.length), np.float32),
            }
        return weights

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; taps are those of ``History.beside``."""
        inputs = self.inputs(weights, taps)
        if self.scale is not None:
            inputs = (inputs - self.scale.mean[:, np.newaxis]) / self.scale.deviation[
                :, np.newaxis, np.newaxis
            ]
        return kernel_logits(self.shape, weights, inputs, logits, 1.0)

    def inputs(self, weights: Weights, taps: tf.Tensor) -> tf.Tensor:
        """What the encoder reads, ``[M, T, R, d_in]``, not standardised."""
        end, length = self.width + self.history.width, self.history.length
        found = taps[:, 0, :, self.width : end]  # the same for all tasks
        ids = tf.cast(found[..., :length], tf.int32)
        keys = tf.gather(self.history.table, ids)  # [M, R, L, d]
        query = tf.gather(self.history.table, tf.cast(found[..., length], tf.int32))
        present = tf.cast(ids > 0, tf.float32)
        more = [self._pool(pool, query, keys, ids, present) for pool in self.pools]
        parts = [taps[..., : self.width], taps[..., end:]]
        tasks = tf.shape(taps)[1]
        parts += [tf.repeat(values[:, tf.newaxis], tasks, axis=1) for values in more]
        if self.rank:
            parts.append(self._difference(weights, query, keys, ids, found[..., length + 1 :]))
        return tf.concat(parts, axis=-1)

    def _pool(
        self, pool: Pool, query: tf.Tensor, keys: tf.Tensor, ids: tf.Tensor, present: tf.Tensor
    ) -> tf.Tensor:
        if pool == "mean":
            return pooled(tf.zeros_like(present), keys, ids)
        if pool == "last":
            return keys[..., 0, :] * present[..., :1]
        if pool == "last_three":
            return pooled(tf.zeros_like(present)[..., :3], keys[..., :3, :], ids[..., :3])
        if pool == "entries":
            entries = keys * present[..., tf.newaxis]
            return tf.reshape(entries, [*tf.unstack(tf.shape(ids))[:-1], -1])
        return tf.einsum("mrd,mrld->mrl", query, keys) * present / self.deviation

    def _difference(
        self,
        weights: Weights,
        query: tf.Tensor,
        keys: tf.Tensor,
        ids: tf.Tensor,
        scores: tf.Tensor,
    ) -> tf.Tensor:
        """How the pooled vector changes under a domain's biases, ``[M, 2, R, d]``."""
        scale = (self.history.table.shape[1] ** 0.5 * self.deviation) ** -1
        wanted = tf.einsum("mrd,mtdk->mtrk", query * scale, weights["query"])
        # q Q K' first, so that no entry has a code of its own
        direction = tf.einsum("mtrk,mtdk->mtrd", wanted, weights["key"]) * self.rank**-0.5
        bias = tf.einsum("mtrd,mrld->mtrl", direction, keys * scale)
        bias += weights["recency"][:, :, tf.newaxis]
        every, present = keys[:, tf.newaxis], ids[:, tf.newaxis]
        before = scores[:, tf.newaxis]
        return pooled(before + bias, every, present) - pooled(before, every, present)
