"""Everything that trains a small adapter for every domain on stored taps: kernels, and the
fine-tuning baselines of their size.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from pydantic import Field, PositiveInt

from benchmarks.method.activation import Judged, active_gains
from benchmarks.method.adapters.history import HistoryKernel
from benchmarks.method.bench import Bench
from benchmarks.method.options import chosen_domains, read_options, training_splits
from benchmarks.method.outcome import Outcome, auto_answers
from configs import Experiment, InputError
from configs.domains import ALL, Domain
from configs.random_streams import Purpose, random_stream
from configs.section import Section
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.kernels.gate import GATE
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights
from trainer.kernels.mutual_information import information
from trainer.kernels.scoring import score_rows
from trainer.training.gate_fitting import with_gate, with_support
from trainer.training.judging_users import judging_rows, stopping_rows
from trainer.training.kernel_training import scale_of, train_kernels
from trainer.training.warm_start import initial_kernels, levels

_DAY = 86_400
_SHARES = {"sum": 1.0, "half": 0.5}
_SERVED = {"served": None, "served_half": 0.5}
_SHOWN_ROWS = 4_000  # the contrastive estimate compares every row with every other


class Tuned(Section):
    """Options.

    Attributes:
      domains: names; every domain where None, none but all traffic where empty.
      days: the last days of the window alone; all of it where None.
      share: of the window's rows, whole users drawn by the experiment's seed.
      information: whether to note what the codes hold (``trainer.kernels.mutual_information``).
      compose: whether to add up what single-topic domains change too (``composed``), and to answer
        as ``auto`` does, by active kernels, with and without ``routing.compose``
        (``benchmarks.method.outcome.auto_answers``).
      also: further splits whose rows kernels train on, each as ``Bench.rows`` gives it: the split
        that a progressive backbone learned from, with the taps that it left before it did.
    """

    domains: tuple[str, ...] | None = None
    days: PositiveInt | None = None
    share: float = Field(1.0, gt=0.0, le=1.0)
    information: bool = False
    compose: bool = False
    also: tuple[str, ...] = ()


def kernels(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """The kernels of the experiment's ``kernel`` and ``finetune`` sections, with memory where it
    has a ``memory`` section.
    """
    width = bench.tap_width(experiment.kernel.tap)
    shape = KernelShape.of(
        experiment.kernel, width, experiment.memory, len(experiment.tasks.towers)
    )
    return tune(
        bench,
        experiment,
        splits,
        with_support(shape, experiment, bench.dataset.fitted),
        read_options(Tuned, "kernels", options),
    )


def baseline(
    build: Callable[..., Adapter],
) -> Callable[[Bench, Experiment, list[str], dict[str, Any]], dict[str, Outcome]]:
    """A method of an adapter that is built from the frozen backbone, its tasks and the study's
    options.
    """

    def run(
        bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
    ) -> dict[str, Outcome]:
        model: keras.Model = bench.backbone
        tasks = experiment.tasks.towers
        try:
            inspect.signature(build).bind(model, tasks, **options)
        except TypeError as error:
            known = list(inspect.signature(build).parameters)[2:]  # after backbone and tasks
            raise InputError(f"options: {error}; there are: {', '.join(known) or 'none'}") from None
        return tune(bench, experiment, splits, build(model, tasks, **options), Tuned())

    return run


Beside = Callable[[str, BackboneOutputs], BackboneOutputs]
"""Of a split's name and its rows: the same rows with more beside their taps."""


def as_they_are(split: str, rows: BackboneOutputs) -> BackboneOutputs:
    """Rows with nothing more."""
    return rows


def tune(
    bench: Bench,
    experiment: Experiment,
    splits: list[str],
    adapter: Adapter,
    options: Tuned,
    beside: Beside = as_they_are,
) -> dict[str, Outcome]:
    """Trains the adapter of all traffic, then every domain's from where ``finetune.warm_start``
    says.

    Args:
      bench: of the frozen backbone.
      experiment: of what is trained on it.
      splits: that are scored.
      adapter: what is trained for every domain.
      options: of training.
      beside: what the adapter reads beside the backbone's tap.

    Returns:
      ``""``: every domain under its own; ``all``: every domain under the one of all traffic; with
      ``compose`` also ``sum`` and ``half``, ``served`` and ``served_half``.
    """
    settings, tap, everyone = experiment.finetune, adapter.tap, Domain(ALL)
    start = time.perf_counter()
    more = other_splits(experiment, options, splits)
    rows = {
        split: beside(split, bench.rows(split, tap))
        for split in (settings.split, *more, settings.validation)
    }
    taps_seconds = time.perf_counter() - start
    rows, memory_seconds = with_memory(bench, adapter, rows)
    start = time.perf_counter() - taps_seconds - memory_seconds
    validation = rows[settings.validation]
    window = part_of(rows.pop(settings.split), options, experiment.seed)
    window = with_taps([window, *(rows.pop(split) for split in more)])

    trained: dict[str, KernelWeights] = {
        ALL: train_kernels(experiment, adapter, window, validation, [everyone])[0].weights
    }
    all_seconds = time.perf_counter() - start
    wanted = (
        chosen_domains(experiment, options.domains or ())
        if options.domains is None or options.domains
        else []
    )
    tuned = [domain for domain in wanted if len(window.domain_rows(domain))]
    for level in levels(settings.warm_start, tuned):
        first = initial_kernels(settings.warm_start, level, trained)
        found = (
            train_kernels(experiment, adapter, window, validation, level, first) if level else []
        )
        trained |= {domain.name: one.weights for domain, one in zip(level, found, strict=True)}
    for domain in (everyone, *tuned):
        trained[domain.name] = with_gate(
            experiment,
            adapter,
            trained[domain.name],
            window,
            validation,
            stopping_rows(validation, domain),
        )
    seconds = time.perf_counter() - start

    judged = [
        Judged(domain, rows, score_rows(adapter, trained[domain.name], validation, rows))
        for domain in (everyone, *tuned)
        for rows in [judging_rows(validation, domain)]
    ]
    active = active_gains(experiment, validation, judged)
    own, shared = {}, {}
    shares, served = (_SHARES, _SERVED) if options.compose else ({}, {})
    sums: dict[str, dict[str, dict[str, Floats]]] = {name: {} for name in (*shares, *served)}
    for split in splits:
        data = beside(split, bench.rows(split, tap))
        data = with_memory(bench, adapter, {split: data}, splits)[0][split]
        shared[split] = {ALL: score_rows(adapter, trained[ALL], data, np.arange(len(data.logits)))}
        own[split] = shared[split] | {
            domain.name: score_rows(adapter, trained[domain.name], data, data.domain_rows(domain))
            for domain in tuned
        }
        for name, share in shares.items():
            sums[name][split] = composed(data, tuned, own[split], share)
        for name, compose in served.items():
            answers = auto_answers(experiment, data, own[split], active, compose)
            sums[name][split] = {ALL: answers}
    parameters = sum(int(values.size) for values in adapter.initial(experiment.seed, ALL).values())
    notes: dict[str, Any] = {
        "taps_seconds": taps_seconds,
        "memory_seconds": memory_seconds,
        "gates": {n: k[GATE].tolist() for n, k in trained.items() if GATE in k},
    }
    if options.information and isinstance(adapter, KernelShape):
        stream = random_stream(experiment.seed, Purpose.BENCHMARK_ROWS)
        rows_shown = stream.permutation(len(validation.taps))[:_SHOWN_ROWS]
        # as training sees them, which charges the KL of these weights
        scale = scale_of(window)
        kernel = adapter.standardised(trained[ALL], scale)
        shown = np.moveaxis(replace(validation, scale=scale).inputs(rows_shown), 0, 1)
        notes["information"] = information(adapter, kernel, shown, settings.code_noise)
    rows_of_all, rows_of_domains = (
        len(window.logits),
        sum(len(window.domain_rows(domain)) for domain in tuned),
    )
    of_domains = settings if settings.warm_start == "none" else settings.of_children
    visited = rows_of_all * settings.epochs + rows_of_domains * of_domains.epochs
    return {
        name: Outcome(
            scored, parameters, visited, seconds, None if name in served else active, notes
        )
        for name, scored in sums.items()
    } | {
        "": Outcome(own, parameters, visited, seconds, active, notes),
        "all": Outcome(
            shared,
            parameters,
            rows_of_all * settings.epochs,
            all_seconds,
            {name: gain for name, gain in active.items() if name == ALL},
            notes,
        ),
    }


def composed(
    data: BackboneOutputs, domains: list[Domain], own: dict[str, Floats], share: float
) -> dict[str, Floats]:
    """What domains would get from the kernels of all domains that a row is of: the logits of the
    kernel of all traffic, and a share of what each single-topic domain's kernel changes in them.
    Unlike what is served (``trainer.kernels.routing.composed_ranks``), also of rows that have a
    cross-topic kernel, and with kernels that are not active.

    Args:
      data: the rows.
      domains: that have kernels.
      own: domain -> logits of its rows under its own kernel.
      share: of each change that is added.
    """
    total = own[ALL].copy()
    rows = {domain.name: data.domain_rows(domain) for domain in domains}
    for domain in domains:
        if len(domain.conditions) == 1:
            inside = rows[domain.name]
            total[inside] += share * (own[domain.name] - own[ALL][inside])
    return {ALL: total} | {name: total[inside] for name, inside in rows.items()}


def with_memory(
    bench: Bench,
    adapter: Adapter,
    rows: dict[str, BackboneOutputs],
    together: Sequence[str] | None = None,
) -> tuple[dict[str, BackboneOutputs], float]:
    """Rows of splits with what they remember where the adapter reads it, and the seconds that
    working it out took.

    Args:
      bench: of the rows.
      adapter: that reads them.
      rows: split -> its rows.
      together: splits whose memory is worked out in one pass; those of ``rows`` where None.
    """
    memory = adapter.remembers if isinstance(adapter, KernelShape | HistoryKernel) else None
    if memory is None:
        return rows, 0.0
    found = bench.remembered(memory, together or list(rows))
    given = {split: replace(of, memory=found.memory[split]) for split, of in rows.items()}
    return given, found.seconds


def other_splits(experiment: Experiment, options: Tuned, scored: list[str]) -> tuple[str, ...]:
    """The splits of ``options.also``.

    Raises:
      InputError: one is unknown, the window itself, or holds rows that judge.
    """
    if options.also:
        training_splits(experiment, options.also, scored)
    if experiment.finetune.split in options.also:
        raise InputError(
            f"options.also: '{experiment.finetune.split}' is finetune.split; name others"
        )
    return options.also


def with_taps(parts: Sequence[BackboneOutputs]) -> BackboneOutputs:
    """Rows of splits, one after the other, with their taps, and memory where all have it."""
    first, *others = parts
    if not others:
        return first
    memory = [part.memory for part in parts if part.memory is not None]
    return BackboneOutputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.taps for part in parts]),
        {
            name: np.concatenate([part.columns[name] for part in parts])
            for name in first.columns
            if all(name in part.columns for part in others)
        },
        np.concatenate(memory) if len(memory) == len(parts) else None,
    )


def part_of(window: BackboneOutputs, options: Tuned, seed: int) -> BackboneOutputs:
    """The last days of a window, of a share of its users."""
    if options.days is None and options.share == 1.0:
        return window
    moments, users = window.columns["row/timestamp"].astype(np.int64), window.columns["row/user"]
    kept = np.ones(len(moments), bool)
    if options.days is not None:
        kept &= moments > moments.max() - options.days * _DAY
    if options.share < 1.0:
        unique, inverse = np.unique(users, return_inverse=True)
        drawn = random_stream(seed, Purpose.BENCHMARK_USERS).random(len(unique))
        kept &= (drawn < options.share)[inverse]
    return BackboneOutputs(
        window.logits[kept],
        window.taps[kept],
        {name: values[kept] for name, values in window.columns.items()},
        None if window.memory is None else window.memory[kept],
    )
