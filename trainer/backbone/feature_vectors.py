"""Turns what the feature transform gives into the vectors that a body reads, one a feature."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
from keras import ops

from configs import Experiment
from configs.features.settings import FeatureSettings
from preprocessing.features.output_spec import Output
from trainer.backbone.layers.embedding import IdDropout, RowEmbedding
from trainer.backbone.layers.number_encoding import Periodic, PiecewiseLinear, SoftBuckets
from trainer.backbone.layers.self_attention import SelfAttention
from trainer.backbone.layers.sequence_pooling import MeanPooling, TargetAttention, WeightedMean


def table_name(output: str) -> str:
    """The name of an output's table, a layer of the backbone."""
    return f"embedding_{output}"


def feature_vectors(
    experiment: Experiment,
    outputs: Mapping[str, Output],
    inputs: Mapping[str, Any],
    seeds: Iterator[int],
) -> dict[str, Any]:
    """Every output as a float tensor ``[B, width]``, by name and in order; lists are pooled, with
    their weights and with what is read along them, which have no vector of their own.

    Args:
      experiment: whose features they are.
      outputs: of the transform, by name.
      inputs: a symbolic tensor for each.
      seeds: of layers, in order.
    """
    return _FeatureVectors(experiment, outputs, inputs, seeds).all()


class _FeatureVectors:
    """See ``feature_vectors``."""

    def __init__(
        self,
        experiment: Experiment,
        outputs: Mapping[str, Output],
        inputs: Mapping[str, Any],
        seeds: Iterator[int],
    ) -> None:
        self._experiment, self._outputs, self._inputs = experiment, outputs, inputs
        self._seeds = seeds
        self._tables: dict[str, RowEmbedding] = {}

    def all(self) -> dict[str, Any]:
        vectors = {name: self._alone(output) for name, output in self._outputs.items()}
        # After all tables: a sequence may come before the feature whose table it shares.
        parts = set()
        for name, output in self._outputs.items():
            if output.kind == "ids" and self._settings(output).belongs_to is None:
                along = self._along(output.feature)
                settings = self._settings(output)
                weights = settings.output_names(name)[1] if settings.weighed_by else None
                parts |= {*along, weights}
                vectors[name] = self._pooled(output, vectors, along, weights)
        return {name: vector for name, vector in vectors.items() if name not in parts}

    def _settings(self, output: Output) -> FeatureSettings:
        return self._experiment.features[output.feature]

    def _along(self, feature: str) -> list[str]:
        """The outputs that are read along a list."""
        return [
            name
            for name, output in self._outputs.items()
            if self._settings(output).belongs_to == feature
        ]

    def _alone(self, output: Output) -> Any:
        """An output by itself: ``[B, width]``, of lists ``[B, L, width]``."""
        settings, given = self._settings(output), self._inputs[output.name]
        if output.kind == "number":
            return self._number(output.name, settings, given)
        if output.kind == "numbers":
            if settings.vector_size is None:
                return ops.expand_dims(given, -1)
            return given if settings.width is None else self._projected(output.name, given)
        owner = self._experiment.features[self._outputs[output.table].feature]
        if output.table not in self._tables:
            self._tables[output.table] = RowEmbedding(
                self._outputs[output.table].size,
                self._width(owner),
                next(self._seeds),
                frozen=not owner.learns_vectors,
                name=table_name(output.table),
            )
        if settings.dropped_ids:
            unseen = max(1, owner.oov_ids)  # hashed ids, shared by a list, have none: the first
            given = IdDropout(
                settings.dropped_ids, unseen, next(self._seeds), name=f"id_dropout_{output.name}"
            )(given)
        return self._tables[output.table](given)

    def _number(self, name: str, settings: FeatureSettings, number: Any) -> Any:
        """The number itself ``[B, 1]``, or a learned vector of it, a ReLU over an encoding
        (Gorishniy et al. 2022, section 3.4).
        """
        encoding, bins = settings.number_encoding
        if encoding == "value":
            return ops.expand_dims(number, -1)
        called = f"encoding_{name}"
        if encoding == "piecewise_linear":
            encoded = PiecewiseLinear(bins, name=called)(number)
        elif encoding == "periodic":
            encoded = Periodic(bins, next(self._seeds), name=called)(number)
        else:
            encoded = SoftBuckets(bins, next(self._seeds), name=called)(number)
        activation = None if encoding == "soft_buckets" else "relu"  # a mean of learned vectors
        return self._dense(self._width(settings), f"number_{name}", activation)(encoded)

    def _projected(self, name: str, vector: Any) -> Any:
        return self._dense(self._width(self._settings(self._outputs[name])), f"vector_{name}")(
            vector
        )

    def _pooled(
        self, output: Output, vectors: Mapping[str, Any], along: list[str], weights: str | None
    ) -> Any:
        """A list as ``[B, D]``. What is read along it is added to its entries, and to the query
        the vectors of the features that those share (our choice).
        """
        name, settings, ids = output.name, self._settings(output), self._inputs[output.name]
        entries = vectors[name]
        if along:
            entries = self._added(f"along_{name}", entries, [vectors[other] for other in along])
        if transformer := settings.self_attention:
            blocks, heads = transformer
            for block in range(blocks):
                positions = output.length if block == 0 else 0
                entries = SelfAttention(
                    heads, positions, next(self._seeds), name=f"transformer_{name}_{block}"
                )(entries, ids)
        if settings.pools_by_attention:
            query = vectors[output.table]
            tables = [self._outputs[other].table for other in along]
            shared = [vectors[table] for table in tables if table not in along]
            if shared:
                query = self._added(f"along_query_{name}", query, shared)
            layers = self._experiment.backbone.attention_layers
            attention = TargetAttention(layers, next(self._seeds), name=f"attention_{name}")
            return attention(query, entries, ids)
        if weights:
            return WeightedMean(name=f"pooling_{name}")(entries, ids, self._inputs[weights])
        return MeanPooling(name=f"pooling_{name}")(entries, ids)

    def _added(self, name: str, base: Any, others: list[Any]) -> Any:
        joined = others[0] if len(others) == 1 else ops.concatenate(others, axis=-1)
        return base + self._dense(base.shape[-1], name)(joined)

    def _dense(self, width: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        return keras.layers.Dense(
            width,
            activation,
            name=name,
            kernel_initializer=keras.initializers.GlorotUniform(next(self._seeds)),
        )

    def _width(self, settings: FeatureSettings) -> int:
        return settings.width or self._experiment.backbone.embedding_dimension
