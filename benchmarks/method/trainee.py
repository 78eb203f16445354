"""A backbone all of whose weights are trained, again and again, each time from weights that are
given.
"""

import time
from collections.abc import Sequence
from math import ceil
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks.method.activation import Judged, active_gains
from benchmarks.method.options import Training
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import Domain
from configs.random_streams import Purpose, random_stream
from trainer.backbone.frozen_pass import BackboneOutputs, Floats, feature_tensors
from trainer.backbone.model import inference_model
from trainer.data.dataset import Columns
from trainer.data.progress_bar import row_bar
from trainer.kernels.kernel import Rows
from trainer.kernels.scoring import mean_auc
from trainer.training.any_rows import for_any_rows
from trainer.training.backbone_step import Learner
from trainer.training.early_stopping import EarlyStopping
from trainer.training.judging_users import judging_rows, stopping_rows

_CHUNK = 16_384

Weights = list[npt.NDArray[Any]]
"""Values of all variables of a model, in its order: weights, moving moments, states of random
draws.
"""


class Trainee:
    """A model with its learner. Every training has new optimisers; the step is traced once for all
    of them.

    Args:
      model: from ``backbone.build_backbone``, or such a one reloaded; trained in place.
      experiment: tasks, seed, and the rates where ``settings`` give none.
      settings: how it is trained.
    """

    def __init__(self, model: keras.Model, experiment: Experiment, settings: Training) -> None:
        self.model, self.experiment, self.settings = model, experiment, settings
        self._learner = Learner(
            model, experiment, settings.learning_rate, settings.embedding_learning_rate
        )
        self._inference = inference_model(model, experiment)
        self._logits = tf.function(
            lambda features: self._inference(features, training=False)["logits"]
        )
        self._optimizers = [*self._learner.adam.variables, *self._learner.adagrad.accumulators]
        self._fresh: Weights = [variable.numpy() for variable in self._optimizers]

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(int(np.prod(variable.shape)) for variable in self.model.trainable_variables)

    def weights(self) -> Weights:
        """A copy of the weights that it has."""
        return [variable.numpy() for variable in self.model.variables]

    def train(
        self,
        start: Weights,
        data: BackboneOutputs,
        validation: BackboneOutputs,
        domain: Domain,
        epochs: int | None = None,
    ) -> list[float | None]:
        """Trains on a domain's rows; leaves the best weights on its stopping rows of validation
        (see ``judging_users.stopping_rows``).

        Figures are mean AUCs of the tasks over all rows, at the start and after every epoch; the
        start may be the best. A domain that has none (one class only) keeps its last weights. The
        order of rows is a function of the experiment's seed, the epoch and the domain's name.

        Args:
          start: weights to train from.
          data: rows with their features, of ``columns.read_rows``.
          validation: rows of ``columns.read_scored_rows``.
          domain: whose rows are meant.
          epochs: passes over them; those of the settings where None.

        Returns:
          The figures, None where undefined.
        """
        _assign(self.model.variables, start)
        _assign(self._optimizers, self._fresh)
        rows, held_out = data.domain_rows(domain), stopping_rows(validation, domain)
        figures = [self._judge(validation, held_out)]
        stopping, kept = EarlyStopping(), start
        stopping.update(figures[0], 0)
        epochs = self.settings.epochs if epochs is None else epochs
        for epoch in range(epochs):
            generator = random_stream(
                self.experiment.seed, Purpose.KERNEL_ORDER, domain.name, epoch
            )
            self._pass(data, generator.permutation(rows), f"{domain.name} {epoch + 1}/{epochs}")
            figures.append(self._judge(validation, held_out))
            if stopping.update(figures[-1], epoch + 1):
                kept = self.weights()
        _assign(self.model.variables, kept)
        return figures

    def score(self, data: BackboneOutputs, rows: Rows) -> Floats:
        """Logits ``[len(rows), T]`` of the weights that it has, as at serving: the debias
        feature is not read.
        """
        features = feature_tensors(data.columns, self._inference)
        infer = for_any_rows(self._logits, features)
        logits = np.empty((len(rows), len(self.experiment.tasks.towers)), np.float32)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            logits[start : start + len(part)] = infer(_tensors(features, part)).numpy()
        return logits

    def judged(self, validation: BackboneOutputs, domain: Domain) -> Judged:
        """The weights that it has on a domain's judging rows of validation."""
        rows = judging_rows(validation, domain)
        return Judged(domain, rows, self.score(validation, rows))

    def _pass(self, data: BackboneOutputs, order: Rows, title: str) -> None:
        columns = {
            name: values
            for name, values in data.columns.items()
            if not name.startswith("row/") or name == "row/weight"
        }
        step = for_any_rows(self._learner.step, columns)
        with row_bar(title, len(order)) as bar:
            for number in range(ceil(len(order) / self.settings.batch_size)):
                part = order[
                    number * self.settings.batch_size : (number + 1) * self.settings.batch_size
                ]
                step(_tensors(columns, part))
                bar.update(len(part))

    def _judge(self, validation: BackboneOutputs, rows: Rows) -> float | None:
        return mean_auc(self.experiment, validation, rows, self.score(validation, rows))


def train_domains(
    trainee: Trainee,
    data: BackboneOutputs,
    validation: BackboneOutputs,
    domains: list[Domain],
    scored: dict[str, BackboneOutputs],
    before: Outcome,
    judged: Sequence[Judged] = (),
) -> Outcome:
    """Trains a model for every domain that has rows, each from the weights that the trainee has
    now, and scores the domain's rows.

    Args:
      trainee: what is trained; left with the weights of the last domain.
      data: rows to train on.
      validation: rows that say when a model is best, and whether it helps.
      domains: what is trained.
      scored: split -> its rows.
      before: scores of ``all`` and what they cost; ``notes["stopping_auc"]`` is gone on with.
      judged: what is decided beside the domains; nothing by default.
    """
    start, logits = (
        trainee.weights(),
        {split: dict(scores) for split, scores in before.logits.items()},
    )
    rows, seconds, models, figures = (
        before.rows,
        before.seconds,
        list(judged),
        dict(before.notes["stopping_auc"]),
    )
    for domain in domains:
        if not (count := len(data.domain_rows(domain))):
            continue
        begun = time.perf_counter()
        figures[domain.name] = trainee.train(start, data, validation, domain)
        seconds, rows = (
            seconds + time.perf_counter() - begun,
            rows + count * trainee.settings.epochs,
        )
        models.append(trainee.judged(validation, domain))
        for split, of_split in scored.items():
            logits[split][domain.name] = trainee.score(of_split, of_split.domain_rows(domain))
    active = active_gains(trainee.experiment, validation, models)
    return Outcome(logits, trainee.parameters, rows, seconds, active, {"stopping_auc": figures})


def _tensors(columns: Columns, rows: Rows) -> dict[str, tf.Tensor]:
    return {name: tf.constant(values[rows]) for name, values in columns.items()}


def _assign(variables: list[Any], values: Weights) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
