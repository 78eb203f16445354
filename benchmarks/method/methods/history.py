"""Kernels that read the user's history before it is pooled."""

from typing import Any

from pydantic import NonNegativeInt

from benchmarks.method.adapters.history import History, HistoryKernel, Pool
from benchmarks.method.bench import Bench
from benchmarks.method.methods.tuned import Tuned, tune, with_memory
from benchmarks.method.options import read_options
from benchmarks.method.outcome import Outcome
from configs import Experiment
from preprocessing.features.transform import transform_outputs
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.backbone.stored_taps import split_columns


class OnHistory(Tuned):
    """Options, beside those of ``tuned.Tuned``.

    Attributes:
      pools: frozen readings of the history beside the tap (``adapters.history.HistoryKernel``).
      rank: of a domain's biases on the attention scores; 0 for none.
    """

    pools: tuple[Pool, ...] = ()
    rank: NonNegativeInt = 0


def history(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Trained as kernels are, with the experiment's ``kernel``, ``finetune`` and ``memory``
    sections.
    """
    settings = read_options(OnHistory, "history", options)
    outputs = transform_outputs(experiment, bench.dataset.fitted)
    of = History.of(bench.backbone, outputs, experiment)

    def beside(split: str, rows: BackboneOutputs) -> BackboneOutputs:
        columns = split_columns(bench.dataset, split, lambda name: name in of.columns)
        return of.beside(rows, columns)

    adapter = HistoryKernel.of(bench.backbone, of, experiment, settings.pools, settings.rank)
    finetune = experiment.finetune
    window = {finetune.split: beside(finetune.split, bench.rows(finetune.split, adapter.tap))}
    judging = (finetune.split, finetune.validation)
    window, _ = with_memory(bench, adapter, window, judging)
    adapter = adapter.standardised(window.pop(finetune.split))
    return tune(bench, experiment, splits, adapter, settings, beside)
