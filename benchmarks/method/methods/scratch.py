"""One model from scratch for every domain: what a domain's own rows are worth without anybody
else's.
"""

import time
from typing import Any

from benchmarks.method.bench import Bench
from benchmarks.method.columns import read_rows, read_scored_rows
from benchmarks.method.options import Training, chosen_domains, read_options, training_splits
from benchmarks.method.outcome import Outcome
from benchmarks.method.trainee import Trainee, train_domains
from configs import Experiment
from configs.domains import ALL
from preprocessing.features.transform import transform_outputs
from trainer.backbone.model import build_backbone


class Scratch(Training):
    """Options: of ``Training``, with the rates of pre-training where none is given.

    Attributes:
      splits: trained on; ``pretrain.split`` and ``finetune.split`` where empty.
      domains: names; every domain where empty.
    """

    splits: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


def scratch(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Builds the backbone's model anew for every domain, from the experiment's seed, and trains it
    on the domain's rows alone.

    Vocabularies are those of the dataset, so ids that the domain never saw keep their random rows.
    ``all``, and with it a domain without rows, is scored by the study's backbone.
    """
    settings = read_options(Scratch, "scratch", options)
    domains = chosen_domains(experiment, settings.domains)
    training = training_splits(experiment, settings.splits, splits)
    begun = time.perf_counter()
    data = read_rows(bench.dataset, training)
    validation = read_scored_rows(bench, experiment.finetune.validation)
    trainee = Trainee(
        build_backbone(experiment, transform_outputs(experiment, bench.dataset.fitted)),
        experiment,
        settings,
    )
    seconds = time.perf_counter() - begun

    scored = {split: read_rows(bench.dataset, [split]) for split in splits}
    logits = {split: {ALL: bench.rows(split).logits} for split in splits}
    before = Outcome(logits, trainee.parameters, 0, seconds, notes={"stopping_auc": {}})
    return {"": train_domains(trainee, data, validation, domains, scored, before)}
