"""The kernel's encoder and decoder, with a delta that enters before the tower."""

from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from benchmarks.method.adapters.compressed_input import CompressedInput
from benchmarks.method.adapters.tower_input import TowerInput
from benchmarks.method.bench import Bench
from benchmarks.method.methods.tuned import Tuned, tune
from benchmarks.method.options import read_options
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import ALL
from configs.section import Section
from trainer.kernels.scoring import score_rows


class Entering(Section):
    """Options.

    Attributes:
      enters: where the delta enters: ``tower``, ``both`` tower and logit, or ``compressed``: it is
        added to the compressed representation, which the tower then reads.
      rank: of the compressed representation; its full width where None.
    """

    enters: Literal["tower", "both", "compressed"] = "tower"
    rank: PositiveInt | None = None

    @model_validator(mode="after")
    def _rank_of_compressed(self) -> "Entering":
        if self.rank is not None and self.enters != "compressed":
            raise ValueError("'rank' is for 'enters: compressed' alone")
        return self


def tower_input(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trained as kernels are, with the experiment's ``kernel`` and ``finetune`` sections; of
    ``compressed`` also ``start``, what it is before it learns: the tower on the compressed
    representation.
    """
    settings, kernel = read_options(Entering, "tower_input", options), experiment.kernel
    if settings.enters != "compressed":
        plain = TowerInput.of(bench.backbone, experiment.tasks.towers, kernel, settings.enters)
        return tune(bench, experiment, splits, plain, Tuned())
    window = bench.rows(experiment.finetune.split, kernel.tap)
    adapter = CompressedInput.of(
        bench.backbone, experiment.tasks.towers, kernel, window, settings.rank
    )
    found = tune(bench, experiment, splits, adapter, Tuned())
    start, scored = adapter.initial(experiment.seed, ALL), {}
    for split in splits:
        data = bench.rows(split, kernel.tap)
        every = np.arange(len(data.logits))
        scored[split] = {ALL: score_rows(adapter, start, data, every)}
    return found | {"start": Outcome(scored, parameters=0, rows=0, seconds=0.0)}
