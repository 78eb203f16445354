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
from trainer.distillation.objective import TEACHER_LOGITS, distilled
from trainer.losses import Objectives, learned_scores
from trainer.training.optimizers import FusedAdam, RowWiseAdagrad


class Learner:
    """A backbone with its objectives and optimisers: Adam for dense weights, row-wise Adagrad for
    embedding tables.

    Args:
      model: from ``backbone.build_backbone``; trained in place.
      experiment: tasks and, where no rate is given, the rates of its ``pretrain`` section.
      learning_rate: of Adam.
      embedding_learning_rate: of the tables; 0 leaves them as they are.
    """

    def __init__(
        self,
        model: keras.Model,
        experiment: Experiment,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
    ) -> None:
        settings = experiment.pretrain
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
        """Learns from a batch of record columns, and from its teacher's scores where it has them.
        Returns its loss.
        """
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
        gradients = tape.gradient(loss, sources + self.tables)
        self.adam.apply(gradients[: len(sources)], self.dense)
        self.adagrad.apply(gradients[len(sources) :], self.tables)
        return loss

    def _steps(self, batches: Any, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Learns from the next ``count`` batches of a dataset's iterator, in one call: Python takes
        a tenth of a step's time.

        Returns the loss of each, ``[count]``, and how many rows they held.
        """
        losses, n_rows = tf.TensorArray(tf.float32, count), tf.constant(0)
        for index in tf.range(count):
            columns = next(batches)
            losses = losses.write(index, self._step(columns))
            n_rows += tf.shape(columns["row/weight"])[0]
        return losses.stack(), n_rows
