"""Puts cross layers between the embeddings and the body (Wang et al. 2021, "DCN V2", section 3,
equation 1; the stacked structure).
"""

from typing import Any

import keras
import keras_rs

from trainer.backbone.bodies.builder import Build


@keras.saving.register_keras_serializable(package="recommender")
class Cross(keras_rs.layers.FeatureCross):
    """``keras_rs.layers.FeatureCross`` whose weights have the same paths in every process.

    Inputs: x0 B x D, x_l B x D. Output: x0 * (W x_l + b) + x_l, B x D.
    """

    def build(self, input_shape: Any) -> None:
        """Creates W and b."""
        super().build(input_shape)
        # Named, because automatic names count up within a process, and a weight's path is part of
        # the fingerprint.
        self.dense.name = "dense"
        self.dense.build(input_shape)


def cross(x: Any, build: Build) -> Any:
    """``settings.crosses`` layers over x ``[B, D]``: interactions of up to one degree more than
    there are layers; x itself for 0.
    """
    crossed = x
    for depth in range(build.settings.crosses):
        initializer = keras.initializers.GlorotUniform(next(build.seeds))
        crossed = Cross(kernel_initializer=initializer, name=f"cross_{depth}")(x, crossed)
    return crossed
