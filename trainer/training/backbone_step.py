"""One training step of a backbone: what pre-training, and everything else that changes a
backbone's weights, repeats.
"""

from typing import Any

import keras

from configs import Experiment
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.layers.embedding import learned_tables
from trainer.backbone.model import BIAS, add_bias, intercepts_of
from trainer.data.batch_cut import PLACE
from trainer.distillation.objective import TEACHER_LOGITS, distilled
from trainer.distribution.batch_share import BatchShare, sharing
from trainer.distribution.workers import ALONE, Rows, Workers
from trainer.losses import Objectives, learned_scores
from trainer.training.optimizers import FusedAdam, RowSums, RowWiseAdagrad, summed_by_row


class Learner:
    """A backbone with its objectives and optimisers: Adam for dense weights, row-wise Adagrad for
    embedding tables.

    Args:
      model: from ``backbone.build_backbone``; trained in place.
      experiment: tasks and, where no rate is given, the rates of its ``pretrain`` section.
      learning_rate: of Adam.
      embedding_learning_rate: of the tables; 0 leaves them as they are.
      workers: that take every step together, each with its part of the batch
        (``trainer.data.batch_cut``).
    """

    def __init__(
        self,
        model: keras.Model,
        experiment: Experiment,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
        workers: Workers = ALONE,
    ) -> None:
        settings = experiment.pretrain
        self.workers = workers
        self.model, self.objectives = model, Objectives(experiment)
        self.experiment = experiment
        tables = [layer.table for layer in learned_tables(model)]
        self.tables = [table.value for table in tables]
        self.dense = [
            weight
            for weight in model.trainable_variables
            if all(weight is not table for table in tables)
        ]
        self.adam = FusedAdam(settings.learning_rate if learning_rate is None else learning_rate)
        self.adam.build(self.dense)
        rate = (
            settings.embedding_learning_rate
            if embedding_learning_rate is None
            else embedding_learning_rate
        )
        self.adagrad = RowWiseAdagrad(
            self.tables, rate, settings.embedding_accumulator, count_updates=settings.progressive
        )
        self.step = tf.function(self._step, reduce_retracing=True)
        self.steps = tf.function(self._steps, reduce_retracing=True)

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the optimisers."""
        return {
            "adam": [variable.value for variable in self.adam.variables],
            "adagrad": self.adagrad,
        }

    def _step(self, columns: dict[str, tf.Tensor]) -> tf.Tensor:
        """Learns from a batch of record columns, or this worker's part of one, and from its
        teacher's scores where it has them. Returns the loss of the batch.
        """
        columns = dict(columns)
        place = columns.pop(PLACE, (0, None))
        with sharing(self.workers, place[0]) as share:
            loss, gradients = self._gradients(columns)
            dense, rows, loss = self._over_workers(share, gradients, loss)
        self.adam.apply(dense, self.dense)
        self.adagrad.apply_sums(rows, self.tables)
        return loss

    def _gradients(self, columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, list[Any]]:
        """What the rows here add to the loss, and to the gradients of dense weights and tables."""
        with tf.GradientTape() as tape:
            heads = self.model(feature_tensors(columns, self.model), training=True)
            logits = heads["logits"]
            served = intercepts_of(self.model)
            if served is not None:
                logits -= served.value  # they jump, and are not learned
            served_logits, tasks = logits, self.experiment.tasks
            if BIAS in heads:
                logits = add_bias(tasks, logits, heads[BIAS])
            loss = self.objectives.loss(learned_scores(tasks, logits), columns)
            if TEACHER_LOGITS in columns:
                loss = distilled(self.experiment, loss, served_logits, columns)
        sources = [weight.value for weight in self.dense]
        return loss, tape.gradient(loss, sources + self.tables)

    def _over_workers(
        self, share: BatchShare, gradients: list[Any], loss: tf.Tensor
    ) -> tuple[list[Any], list[RowSums], tf.Tensor]:
        """Gradients of dense weights, those of tables by row, and the loss, each summed over all
        workers: small ones as one, rows of large tables by themselves.
        """
        dense, rows = gradients[: len(self.dense)], gradients[len(self.dense) :]
        by_row = summed_by_row(rows, self.tables)
        if self.workers.size == 1:
            return dense, by_row, loss
        small = [*dense, *(None if isinstance(held, Rows) else held for held in by_row), loss]
        held_here = [tf.convert_to_tensor(held) for held in small if held is not None]
        there = iter(share.add(held_here))
        *small, loss = [held if held is None else next(there) for held in small]
        large = iter(share.add_rows([held for held in by_row if isinstance(held, Rows)]))
        tables = [
            next(large) if isinstance(held, Rows) else summed
            for held, summed in zip(by_row, small[len(dense) :], strict=True)
        ]
        return small[: len(dense)], tables, loss

    def _steps(self, batches: Any, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Learns from the next ``count`` batches of a dataset's iterator, in one call: Python takes
        a tenth of a step's time.

        Returns the loss of each, ``[count]``, and how many rows they held, on all workers together.
        """
        losses, n_rows = tf.TensorArray(tf.float32, count), tf.constant(0)
        for index in tf.range(count):
            columns = next(batches)
            losses = losses.write(index, self._step(columns))
            n_rows += columns[PLACE][1] if PLACE in columns else tf.shape(columns["row/weight"])[0]
        return losses.stack(), n_rows
