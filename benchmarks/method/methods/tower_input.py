"""The kernel's encoder and decoder, with a delta that enters before the tower."""

from typing import Any

from benchmarks.method.adapters.tower_input import Enters, TowerInput
from benchmarks.method.bench import Bench
from benchmarks.method.methods.tuned import Tuned, tune
from benchmarks.method.options import read_options
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.section import Section


class Entering(Section):
    """Options.

    Attributes:
      enters: where the delta enters: ``tower``, or ``both`` tower and logit.
    """

    enters: Enters = "tower"


def tower_input(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trained as kernels are, with the experiment's ``kernel`` and ``finetune`` sections."""
    settings = read_options(Entering, "tower_input", options)
    return tune(
        bench,
        experiment,
        splits,
        TowerInput.of(bench.backbone, experiment.tasks.towers, experiment.kernel, settings.enters),
        Tuned(),
    )
