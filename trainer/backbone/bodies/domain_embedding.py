"""Gives the bodies that read topics the row's domain as a vector."""

from typing import Any

from keras import ops

from trainer.backbone.bodies.builder import Build
from trainer.backbone.layers.embedding import RowEmbedding


def domain_vector(build: Build) -> Any:
    """The embeddings of the row's value in every topic side by side, ``[B, topics *
    embedding_dimension]``.
    """
    dimension = build.settings.embedding_dimension
    vectors = [
        RowEmbedding(build.values[name], dimension, next(build.seeds), name=f"domain_{name}")(index)
        for name, index in build.topics.items()
    ]
    return ops.concatenate(vectors, axis=-1) if len(vectors) > 1 else vectors[0]
