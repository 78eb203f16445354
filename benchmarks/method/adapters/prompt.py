"""A learned domain prompt (after Lester et al. 2021, "The Power of Scale for ... Prompt Tuning";
adding it is our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from configs import InputError
from trainer.backbone.model import TOPIC_PREFIX
from trainer.kernels.kernel import KernelWeights, Weights


@dataclass(frozen=True, eq=False)
class Prompt:
    """A vector for each domain, added to the input x of the frozen body; a body of one vector has
    no sequence to put a prompt before.

    Every row runs through body and towers again in every step, the costliest of the adapters.

    Attributes:
      after: the frozen backbone from x ``[B, D]`` to logits ``[B, T]``.
      tasks: T.
    """

    tap: ClassVar[str] = "input"
    informed: ClassVar[tuple[str, ...]] = ()  # no KL term

    after: keras.Model
    tasks: int

    @classmethod
    def of(cls, backbone: keras.Model, tasks: Sequence[str]) -> "Prompt":
        """The prompt of a frozen backbone of these tasks, whose body and towers may be any that
        read x alone.

        Raises:
          InputError: a backbone whose body reads topics.
        """
        topics = [name for name in backbone.input if name.startswith(TOPIC_PREFIX)]
        if topics:
            raise InputError(
                f"prompt of backbone '{backbone.name}': expected a body without topics, it reads"
                f" {', '.join(topics)}"
            )
        operation, node, _ = backbone.output[
            "input"
        ]._keras_history  # the head is x with an axis put in
        (x,) = operation._inbound_nodes[node].input_tensors
        return cls(keras.Model(x, backbone.output["logits"], name="after_prompt"), len(tasks))

    @property
    def parameters(self) -> int:
        """Trained numbers of one domain."""
        return int(self.after.input.shape[-1])

    def initial(self, seed: int, domain: str) -> KernelWeights:
        """Zero, whatever the seed and the domain."""
        return {"prompt": np.zeros((1, self.parameters), np.float32)}

    def logits(self, weights: Weights, taps: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """See ``trainer.kernels.kernel.Adapter``; the backbone's logits are not read."""
        groups, _, rows, size = tf.unstack(tf.shape(taps))
        x = taps + weights["prompt"][:, :, tf.newaxis, :]
        out = self.after(tf.reshape(x, [groups * rows, size]), training=False)
        return tf.transpose(tf.reshape(out, [groups, rows, self.tasks]), [0, 2, 1])
