"""Scores rows in memory by the backbone alone and as they are served, the way ``evaluate`` does."""

from dataclasses import dataclass

import keras
import numpy as np

from configs import Experiment
from configs.memory import Memory
from trainer.backbone.frozen_pass import (
    BackboneOutputs,
    Floats,
    feature_tensors,
    frozen_heads,
)
from trainer.evaluation.judged_kernels import JudgedKernels
from trainer.explanation.inputs import InputRows, read_parts
from trainer.kernels.kernel import user_columns
from trainer.kernels.scoring import Predictions, predicted_rows
from trainer.metrics.results import Pair
from trainer.registry.kernel_registry import common_memory, common_tap


@dataclass(frozen=True)
class Scored:
    """Rows and what is made of them.

    Attributes:
      rows: with all their parts.
      backbone: logits and taps of the backbone alone, with what kernels read beside them.
      served: logits ``[N, T]`` of each row as it is served.
    """

    rows: InputRows
    backbone: BackboneOutputs
    served: Floats


@dataclass(frozen=True)
class Scorer:
    """A job's backbone with its active kernels.

    Attributes:
      experiment: that explains.
      model: the frozen backbone.
      kernels: all of the job's.
    """

    experiment: Experiment
    model: keras.Model
    kernels: JudgedKernels

    @property
    def memory(self) -> Memory | None:
        """What active kernels remember."""
        return common_memory(self.kernels.serving)

    @property
    def kept(self) -> tuple[str, ...]:
        """Parts that gated kernels read."""
        return user_columns(*(kernel.shape for kernel in self.kernels.serving))

    def scored(self, rows: InputRows, like: Scored | None = None) -> Scored:
        """Logits of rows.

        Args:
          rows: with topics, and all parts that are read.
          like: the same rows with other values of some parts. What does not depend on these is
            taken from it, so that an input that nobody reads changes nothing.
        """
        model, kept, memory = self.model, self.kept, self.memory
        of_memory = tuple(part for part in rows.parts if part.startswith("memory/"))
        if like and _same(rows, like.rows, (*read_parts(model), *kept, *of_memory)):
            return Scored(rows, like.backbone, like.served)
        if like and _same(rows, like.rows, read_parts(model)):
            logits, taps = like.backbone.logits, like.backbone.taps
        else:
            tap = common_tap(self.kernels.serving)
            logits, taps = frozen_heads(model, feature_tensors(rows.parts, model), tap)
        columns = rows.columns | {name: rows.parts[name] for name in kept}
        remembered = (
            np.concatenate([rows.parts[name] for name in of_memory], axis=1) if memory else None
        )
        outputs = BackboneOutputs(logits, taps, columns, remembered)
        return Scored(rows, outputs, self.kernels.served(outputs))

    def predictions(self, scored: Scored) -> dict[str, Predictions]:
        """``backbone`` and ``kernel`` -> target -> prediction of every row ``[N]``."""
        return {
            side: predicted_rows(self.experiment.tasks, logits)
            for side, logits in sides(scored).items()
        }


def sides(scored: Scored) -> dict[str, Floats]:
    """Logits ``[N, T]`` of the backbone alone and of what serves, by the names of ``Pair``."""
    return dict(zip(Pair.model_fields, (scored.backbone.logits, scored.served), strict=True))


def _same(rows: InputRows, other: InputRows, parts: tuple[str, ...]) -> bool:
    return all(rows.parts[part] is other.parts[part] for part in parts)
