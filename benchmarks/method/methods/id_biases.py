"""Kernels that see ids: on a model's logits, a number for every user or item of the domain's
window, shrunk towards 0 (our choice).
"""

import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from benchmarks.method.activation import Judged, active_gains
from benchmarks.method.bench import Bench
from benchmarks.method.bias_tables import PASSES, Table, fit_biases
from benchmarks.method.methods.tuned import kernels
from benchmarks.method.options import chosen_domains, read_options
from benchmarks.method.outcome import Outcome
from configs import Experiment, InputError
from configs.domains import ALL, Domain
from configs.section import Section
from preprocessing.features.transform import transform_outputs
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.backbone.stored_taps import split_columns
from trainer.kernels.scoring import task_rows
from trainer.training.judging_users import judges

Logits = dict[str, Floats]
"""Split -> logits ``[rows of a domain, T]``."""


class IdBiases(Section):
    """Options.

    Attributes:
      features: categorical features; each has a table of its own.
      precision: of each table's prior N(0, 1 / precision), in the order of ``features``.
      tasks: whose logits are changed; all of the config's where empty.
      base: what is added to: the backbone's logits, or those of the experiment's kernels, trained
        first.
    """

    features: tuple[str, ...] = Field(min_length=1)
    precision: tuple[PositiveFloat, ...]
    tasks: tuple[str, ...] = ()
    base: Literal["backbone", "kernels"] = "kernels"

    @model_validator(mode="after")
    def _a_precision_each(self) -> "IdBiases":
        if len(set(self.features)) != len(self.features):
            raise ValueError("expected different features")
        if len(self.precision) != len(self.features):
            raise ValueError(
                f"expected a precision for each of {len(self.features)} features, received"
                f" {len(self.precision)}"
            )
        return self


def id_biases(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Fits every domain's biases on its rows of ``finetune.split``; kernels, where there are, stay
    as they are trained.

    The kernels have learned from the same rows, so the biases add to logits that are in-sample. A
    domain that has no rows there has no biases of its own.

    Returns:
      As ``tuned.tune``: ``""``, every domain under its own; ``all``, every domain under those of
      all traffic. ``parameters`` counts every id that may have a bias, seen or not.
    """
    settings = read_options(IdBiases, "id_biases", options)
    settings = settings.model_copy(update={"tasks": _chosen_tasks(experiment, settings.tasks)})
    ranges = _id_ranges(bench, experiment, settings.features)
    window, validation = experiment.finetune.split, experiment.finetune.validation
    scored = list(dict.fromkeys([window, validation, *splits]))
    plain = (kernels if settings.base == "kernels" else _of_backbone)(bench, experiment, scored, {})
    rows = {split: _with_ids(bench, split, settings.features) for split in scored}

    own: dict[str, dict[str, Floats]] = {split: {} for split in splits}
    judged, seconds = [], {}
    for domain in [
        domain for domain in experiment.domains if domain.name in plain[""].logits[window]
    ]:
        begun = time.perf_counter()
        before = {split: by_domain[domain.name] for split, by_domain in plain[""].logits.items()}
        after = _biased(experiment, settings, ranges, rows, domain, before)
        seconds[domain.name] = time.perf_counter() - begun
        inside = rows[validation].domain_rows(domain)
        kept = judges(rows[validation], inside)
        judged.append(Judged(domain, inside[kept], after[validation][kept]))
        for split in splits:
            own[split][domain.name] = after[split]

    active = active_gains(experiment, rows[validation], judged)
    count = len(settings.tasks) * sum(size - shared for size, shared in ranges.values())

    def outcome(suffix: str, names: list[str]) -> Outcome:
        under = plain[suffix]
        return replace(
            under,
            logits={
                split: {name: by_domain[name] for name in names} for split, by_domain in own.items()
            },
            parameters=under.parameters + count,
            rows=under.rows
            + PASSES
            * sum(
                len(rows[window].domain_rows(domain))
                for domain in experiment.domains
                if domain.name in names
            ),
            seconds=under.seconds + sum(seconds[name] for name in names),
            active={name: active[name] for name in names if name in active},
        )

    return {"": outcome("", list(seconds)), "all": outcome("all", [ALL])}


def _biased(
    experiment: Experiment,
    settings: IdBiases,
    ranges: dict[str, tuple[int, int]],
    rows: dict[str, BackboneOutputs],
    domain: Domain,
    before: Logits,
) -> Logits:
    """A domain's logits by split with the biases of its rows of the window, from those without."""
    fitted_on = experiment.finetune.split
    window, inside = (
        rows[fitted_on],
        {split: data.domain_rows(domain) for split, data in rows.items()},
    )
    after = {split: logits.copy() for split, logits in before.items()}
    for task in settings.tasks:
        place = experiment.tasks.towers.index(task)
        chosen, labels = task_rows(experiment, window, inside[fitted_on], task)
        learned = inside[fitted_on][chosen]
        tables = [
            Table(
                window.columns[f"feature/{name}"][learned].astype(np.int64),
                *ranges[name],
                precision,
            )
            for name, precision in zip(settings.features, settings.precision, strict=True)
        ]
        fitted = fit_biases(
            before[fitted_on][chosen, place], labels, window.weights[learned], tables
        )
        for name, biases in zip(settings.features, fitted, strict=True):
            for split, logits in after.items():
                logits[:, place] += biases[
                    rows[split].columns[f"feature/{name}"][inside[split]]
                ].astype(np.float32)
    return after


def _chosen_tasks(experiment: Experiment, names: tuple[str, ...]) -> tuple[str, ...]:
    towers = experiment.tasks.towers
    for name in names:
        if name not in towers:
            raise InputError(
                f"options of id_biases.tasks: '{name}' is no task with a logit of its own; there"
                f" are: {', '.join(towers)}"
            )
    return tuple(dict.fromkeys(names)) or towers


def _with_ids(bench: Bench, split: str, features: tuple[str, ...]) -> BackboneOutputs:
    data = bench.any_rows(split)
    return replace(
        data,
        columns=data.columns
        | split_columns(
            bench.dataset, split, {f"feature/{name}" for name in features}.__contains__
        ),
    )


def _id_ranges(
    bench: Bench, experiment: Experiment, features: tuple[str, ...]
) -> dict[str, tuple[int, int]]:
    """Of every feature the number of its ids, and how many of the first are shared by several
    values (as in ``gate_fit``).
    """
    outputs, debias = (
        transform_outputs(experiment, bench.dataset.fitted),
        experiment.backbone.debias,
    )
    ranges = {}
    for name in features:
        spec = experiment.features.get(name)
        if spec is None or not spec.gives_value_ids or (debias and name == debias.feature):
            known = [other for other, found in experiment.features.items() if found.gives_value_ids]
            raise InputError(
                f"options.features: '{name}' is no categorical feature known at serving; there are:"
                f" {', '.join(other for other in known if not debias or other != debias.feature)}"
            )
        ranges[name] = outputs[name].size, spec.shared_ids
    return ranges


def _of_backbone(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """The backbone's logits as ``kernels`` gives a kernel's: by domain, of those that have rows
    in the window.
    """
    window, everyone = bench.any_rows(experiment.finetune.split), Domain(ALL)
    domains = [
        everyone,
        *(domain for domain in chosen_domains(experiment, ()) if len(window.domain_rows(domain))),
    ]
    rows = {split: bench.any_rows(split) for split in splits}
    own = {
        split: {domain.name: data.logits[data.domain_rows(domain)] for domain in domains}
        for split, data in rows.items()
    }
    nothing = Outcome(own, parameters=0, rows=0, seconds=0.0)
    return {"": nothing, "all": nothing}
