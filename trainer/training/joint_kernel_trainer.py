"""Trains several kernels at once on stored taps: one batched product for all domains, one
optimiser state for each.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.random_streams import Purpose, random_stream
from configs.tensorflow_import import tf
from trainer.backbone.batch_memory import BatchMemory, tensor_on
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.kernel import (
    Adapter,
    KernelShape,
    KernelWeights,
    Rows,
    stack,
)
from trainer.kernels.kl_regularizers import (
    moments_kl,
    parent_kl,
    variational_kl,
    variational_parent_kl,
)
from trainer.kernels.mutual_information import coding_rate
from trainer.kernels.whole_vectors import in_whole_vectors
from trainer.losses import learned_scores, loss_by_group
from trainer.training.any_rows import for_any_rows
from trainer.training.batch_schedule import DomainData, Timetable

TILE = 64
"""Rows of one kernel that are multiplied together; a domain's rows in a batch are padded to a
multiple of it.
"""

_WARM_UP = 0.1
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7


def one_cycle(done: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Factor of the learning rate, by the share of training that is done: up in a line to 1, then
    down to 0 along half a cosine (after Smith and Topin 2019; the cosine is our choice).
    """
    down = 0.5 * (1.0 + np.cos(np.pi * (done - _WARM_UP) / (1.0 - _WARM_UP)))
    return np.where(done < _WARM_UP, done / _WARM_UP, down).astype(np.float32)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _of_tiles(weight: tf.Tensor, tile_domain: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """The weights ``[A, ...]`` of each tile's domain, ``[T, ...]``; a domain's tiles lie side by
    side. The gradient sums each domain's tiles by themselves, which takes a third of the time of
    TensorFlow's own, for tiles in any order.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.segment_sum(upstream, tile_domain), None

    return tf.gather(weight, tile_domain), gradient


class _Batch(NamedTuple):
    """What one step reads, gathered: T tiles of ``TILE`` rows, each of one domain; a domain's
    last tile is padded with weight 0.
    """

    columns: dict[str, tf.Tensor]
    """What losses read, ``[T * TILE]``."""
    taps: tf.Tensor
    """``[T, K, TILE, d]`` of K towers, or ``[T, 1, TILE, d]`` where tasks share them."""
    logits: tf.Tensor
    """``[T, K, TILE]``."""
    tile_domain: tf.Tensor
    """Each tile's domain, as its place in ``active``, int32 ``[T]``."""
    active: tf.Tensor
    """Indices of the domains that have rows, int32 ``[A]``."""
    rates: tf.Tensor
    """Learning rate of each of them, ``[A]``."""
    noise: dict[str, tf.Tensor]
    """Standard normal draws for each of them, in the variational reading."""


class JointTrainer:
    """Kernels of K domains under training.

    The objective of domain k is  mean CE over its rows + beta * KL(w_k || w0) / N_k  with N_k its
    number of own training rows, so no domain's gradient depends on another's. Each has its own Adam
    state; a domain with no row in a batch is untouched, state included, and costs nothing. With
    ``coding_rate`` it is  mean CE + code_beta * R(z_k), R in nats a row, of the domain's rows in
    the batch (``trainer.kernels.mutual_information``).

    Args:
      experiment: settings, tasks and seed.
      adapter: what is trained for every domain; with ``coding_rate`` a ``KernelShape``.
      domains: their rows.
      start: the kernels that training starts from, in the order of ``domains``.
      parents: w0 of every domain where it is not N(0, I) (``finetune.prior``).
      table: of the level that the domains belong to: what else trains there counts in their rates,
        here or elsewhere; None where they are the level.
    """

    def __init__(
        self,
        experiment: Experiment,
        adapter: Adapter,
        domains: list[DomainData],
        start: list[KernelWeights],
        parents: list[KernelWeights] | None = None,
        table: Timetable | None = None,
    ) -> None:
        self.experiment, self.settings, self.adapter, self.domains = (
            experiment,
            experiment.finetune,
            adapter,
            domains,
        )
        self.table = table
        if self.settings.regulariser == "coding_rate" and not isinstance(adapter, KernelShape):
            raise ValueError(
                "finetune.regulariser: 'coding_rate' needs a kernel's code; expected a KernelShape"
            )
        self.parents = (
            {name: tf.constant(values) for name, values in stack(parents).items()}
            if parents
            else {}
        )
        count = len(domains)
        stacked = stack(start)
        self.means = {name: tf.Variable(values) for name, values in stacked.items()}
        self.trained = dict(self.means)
        if self.settings.regulariser == "variational":
            inverse_softplus = float(np.log(np.expm1(self.settings.initial_sigma)))
            for name in self.adapter.informed:
                self.trained[f"rho/{name}"] = tf.Variable(
                    tf.fill(stacked[name].shape, inverse_softplus)
                )
        self.moments = {
            name: (tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v)))
            for name, v in self.trained.items()
        }
        self.updates = tf.Variable(tf.zeros([count]))
        self.rows_total = tf.constant([float(max(domain.own_rows, 1)) for domain in domains])
        self._noise = [
            random_stream(experiment.seed, Purpose.KERNEL_NOISE, domain.name) for domain in domains
        ]
        self._traced = tf.function(self._step, autograph=False)  # no control flow of Python's
        self._gathered = BatchMemory()

    def kernel(self, index: int) -> KernelWeights:
        """A domain's kernel as it would be served: the means, in the variational reading."""
        return {name: variable[index].numpy() for name, variable in self.means.items()}

    def train_batch(
        self,
        data: BackboneOutputs,
        rows: list[Rows],
        rate: float | npt.NDArray[np.float32] = 1.0,
    ) -> npt.NDArray[np.float32]:
        """One update from the given rows of every domain. Returns every domain's cross-entropy
        ``[K]``, 0 where it had no rows.

        Args:
          data: where the rows are.
          rows: indices, of every domain.
          rate: what the learning rates are multiplied by, of every domain where it is ``[K]``.
        """
        return self._update(self._batch(data, rows, rate))

    def train_epoch(
        self, data: BackboneOutputs, batches: list[list[Rows]], epoch: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """``train_batch`` of every batch in order, each gathered while the one before it is
        computed, at the rates of an epoch, which counts from 0. In a step that has rows of other
        domains of the level alone nothing is computed, and every cross-entropy is 0.
        """
        rates = self._cycle(batches, epoch)
        filled = [step for step, rows in enumerate(batches) if any(map(len, rows))]
        after = dict(pairwise([*filled, None]))
        with ThreadPoolExecutor(max_workers=1) as ahead:

            def gather(step: int | None) -> Any:
                if step is None:
                    return None
                rows = None if self.table is None else self.table.rows[step]
                return ahead.submit(self._batch, data, batches[step], rates[step], rows)

            following = gather(filled[0] if filled else None)
            for step in range(len(batches)):
                if step not in after:
                    yield np.zeros(len(self.domains), np.float32)
                    continue
                batch = following.result()
                following = gather(after[step])
                yield self._update(batch)

    def _cycle(self, batches: list[list[Rows]], epoch: int) -> npt.NDArray[np.float32]:
        """Factors of the learning rate ``[steps, K]`` in an epoch: each domain goes through the
        cycle by its own steps, so that others do not change its rates.
        """
        present = np.array([[len(part) > 0 for part in rows] for rows in batches])
        if self.settings.rates == "constant":
            return np.ones(present.shape, np.float32)
        own = np.cumsum(present, axis=0) - 0.5
        done = (epoch + own / np.maximum(present.sum(axis=0), 1)) / self.settings.epochs
        return one_cycle(done)

    def step(self, *batch: Any) -> tf.Tensor:
        """Learns from the parts of a batch, in one graph for any number of rows and domains.
        Returns every domain's cross-entropy ``[K]``.
        """
        return for_any_rows(self._traced, *batch)(*batch)

    def _update(self, batch: _Batch) -> npt.NDArray[np.float32]:
        losses: npt.NDArray[np.float32] = self.step(*batch).numpy()
        return losses

    def _batch(
        self,
        data: BackboneOutputs,
        rows: list[Rows],
        rate: float | npt.NDArray[np.float32],
        level_rows: np.float32 | None = None,
    ) -> _Batch:
        counts = np.array([len(part) for part in rows], np.float32)
        tiles = [ceil(len(part) / TILE) for part in rows]
        active = np.flatnonzero(counts).astype(np.int32)
        tile_domain = np.repeat(np.arange(len(active), dtype=np.int32), np.array(tiles)[active])
        index = np.zeros(len(tile_domain) * TILE, np.int64)
        present = np.zeros(len(index), np.float32)
        start = 0
        for domain, part, tile_count in zip(self.domains, rows, tiles, strict=True):
            index[start : start + len(part)] = part
            present[start : start + len(part)] = domain.factors_of(part)
            start += tile_count * TILE
        columns = data.loss_columns(self.experiment.tasks, index)
        columns["row/weight"] = columns["row/weight"].astype(np.float32, copy=False) * present
        tiled = index.reshape(-1, TILE)
        tasks, width = data.input_shape
        inputs = self._gathered.array((len(tiled), tasks, TILE, width))
        data.inputs(tiled, inputs)
        return _Batch(
            {name: tf.constant(values) for name, values in columns.items()},
            tensor_on(inputs),
            tf.constant(
                data.logits[tiled[:, np.newaxis], np.arange(data.logits.shape[1])[:, np.newaxis]]
            ),
            tf.constant(tile_domain),
            tf.constant(active),
            tf.constant((self._rates(counts, level_rows) * np.float32(rate))[active]),
            self._draw_noise(counts) if self.settings.regulariser == "variational" else {},
        )

    def _rates(
        self, counts: npt.NDArray[np.float32], level_rows: np.float32 | None = None
    ) -> npt.NDArray[np.float32]:
        """Batch-aware learning rates ``[K]``: lr * (n_k / (B / K))^p, the factor clipped to
        [0.1, 1]; 0 without rows (our choice). B are the rows of all K domains of the level in the
        step, those of ``counts`` where None.
        """
        domains = len(self.domains) if self.table is None else len(self.table.places)
        share = counts * domains / max(counts.sum() if level_rows is None else level_rows, 1.0)
        factor = np.clip(share**self.settings.rate_power, 0.1, 1.0)
        return np.where(counts > 0, self.settings.learning_rate * factor, 0.0).astype(np.float32)

    def _draw_noise(self, counts: npt.NDArray[np.float32]) -> dict[str, tf.Tensor]:
        """Standard normal draws for every weight of the domains with rows; each has a generator of
        its own, so that others do not change its draws.
        """
        noise = {}
        for name in self.adapter.informed:
            size = self.means[name].shape[1:]
            draws = [
                generator.standard_normal(size, np.float32)
                for generator, count in zip(self._noise, counts, strict=True)
                if count
            ]
            noise[name] = tf.constant(np.stack(draws))
        return noise

    def regulariser(self) -> tf.Tensor:
        """KL of every domain's kernel ``[K]``."""
        return self._kl(self.trained, self.parents, len(self.domains))

    def _kl(
        self, trained: dict[str, Any], parents: dict[str, Any], count: int | tf.Tensor
    ) -> tf.Tensor:
        total, sigma = tf.zeros([count]), self.settings.prior_sigma
        for name in self.adapter.informed:
            mean, parent = trained[name], parents.get(name)
            if self.settings.regulariser == "moments":
                total += moments_kl(mean) if parent is None else parent_kl(mean, parent, sigma)
            elif self.settings.regulariser == "variational":
                own = in_whole_vectors(tf.nn.softplus, trained[f"rho/{name}"])
                total += (
                    variational_kl(mean, own)
                    if parent is None
                    else variational_parent_kl(mean, own, parent, sigma)
                )
        return total

    def _weights(
        self, trained: dict[str, tf.Tensor], noise: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The weights that a step computes with: the means, or a reparameterised sample."""
        weights = {name: trained[name] for name in self.means}
        if self.settings.regulariser == "variational":
            for name in self.adapter.informed:
                sigma = in_whole_vectors(tf.nn.softplus, trained[f"rho/{name}"])
                weights[name] += sigma * noise[name]
        return weights

    def _step(
        self,
        columns: dict[str, tf.Tensor],
        taps: tf.Tensor,
        logits: tf.Tensor,
        tile_domain: tf.Tensor,
        active: tf.Tensor,
        rates: tf.Tensor,
        noise: dict[str, tf.Tensor],
    ) -> tf.Tensor:
        """Learns from a ``_Batch``. Returns every domain's cross-entropy ``[K]``."""
        trained = {name: tf.gather(variable, active) for name, variable in self.trained.items()}
        parents = {name: tf.gather(values, active) for name, values in self.parents.items()}
        count = tf.size(active)
        with tf.GradientTape() as tape:
            tape.watch(trained)
            weights = {
                name: _of_tiles(weight, tile_domain)
                for name, weight in self._weights(trained, noise).items()
            }
            out = self.adapter.logits(weights, taps, logits)
            scores = learned_scores(
                self.experiment.tasks,
                tf.reshape(tf.transpose(out, [0, 2, 1]), [-1, out.shape[1]]),
            )
            row_domain = tf.repeat(tile_domain, TILE)
            entropy = loss_by_group(self.experiment.tasks, scores, columns, row_domain, count)
            own_rows = tf.gather(self.rows_total, active)
            loss = tf.reduce_sum(
                entropy + self.settings.beta * self._kl(trained, parents, count) / own_rows
            )
            if self.settings.regulariser == "coding_rate" and isinstance(self.adapter, KernelShape):
                codes, row_weights = (
                    self.adapter.code(weights, taps),
                    tf.reshape(columns["row/weight"], [-1, TILE]),
                )
                rate = coding_rate(codes, row_weights, tile_domain, count, self.settings.code_noise)
                loss += self.settings.code_beta * tf.reduce_sum(rate)
        self._apply(tape.gradient(loss, trained), trained, active, rates)
        return tf.scatter_nd(active[:, tf.newaxis], entropy, [len(self.domains)])

    def _apply(
        self,
        gradients: dict[str, Any],
        trained: dict[str, tf.Tensor],
        active: tf.Tensor,
        rates: tf.Tensor,
    ) -> None:
        """Adam (Kingma and Ba 2015) for every active domain by itself; nothing of the others is
        read or written.

        The moments are kept without their factors 1 - beta, which go into the rate: every pass over
        all weights counts here.
        """
        self.updates.scatter_add(tf.IndexedSlices(tf.ones_like(rates), active))
        count = tf.gather(self.updates, active)
        scaled = (
            rates
            * (1.0 - _BETA_1)
            / (1.0 - in_whole_vectors(lambda n: _BETA_1**n, count))
            * tf.sqrt((1.0 - in_whole_vectors(lambda n: _BETA_2**n, count)) / (1.0 - _BETA_2))
        )
        epsilon = _EPSILON / (1.0 - _BETA_2) ** 0.5
        for name, value in trained.items():
            gradient, (first, second) = tf.convert_to_tensor(gradients[name]), self.moments[name]
            new_first = _BETA_1 * tf.gather(first, active) + gradient
            new_second = _BETA_2 * tf.gather(second, active) + tf.square(gradient)
            rate = tf.reshape(scaled, [-1] + [1] * (len(value.shape) - 1))
            new_value = value - rate * (new_first / (tf.sqrt(new_second) + epsilon))
            for variable, new in (
                (first, new_first),
                (second, new_second),
                (self.trained[name], new_value),
            ):
                variable.scatter_update(tf.IndexedSlices(new, active))
