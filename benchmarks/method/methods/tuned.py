"""Everything that trains a small adapter for every domain on stored taps: kernels, and the fine-tuning baselines of their size."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import ALL, Domain
from trainer.finetune import judging_rows, train_kernels
from trainer.judge import compare, helps, score_rows
from trainer.kernels import Adapter, KernelShape


def kernels(bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]) -> dict[str, Outcome]:
    """The kernels of the experiment's ``kernel`` and ``finetune`` sections."""
    shape = KernelShape.of(experiment.kernel, bench.tap_width(experiment.kernel.tap))
    return tune(bench, experiment, splits, shape, **options)


def baseline(build: Callable[..., Adapter]) -> Callable[[Bench, Experiment, list[str], dict[str, Any]], dict[str, Outcome]]:
    """A method of an adapter that is built from the frozen backbone and the study's options."""

    def run(bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]) -> dict[str, Outcome]:
        model: keras.Model = bench.backbone
        return tune(bench, experiment, splits, build(model, **options))

    return run


def tune(bench: Bench, experiment: Experiment, splits: list[str], adapter: Adapter, domains: list[str] | None = None) -> dict[str, Outcome]:
    """Trains the adapter of all traffic, then every domain's from it (or from its own start: ``finetune.warm_start``).

    Args:
      bench: the frozen backbone.
      experiment: settings of the training.
      splits: what is scored.
      adapter: what is trained.
      domains: which, beside all traffic; every domain of the experiment where None.

    Returns:
      ``""``: every domain under its own; ``all``: every domain under the one of all traffic.
    """
    settings, tap = experiment.finetune, adapter.tap
    start = time.perf_counter()
    window, validation = bench.rows(settings.split, tap), bench.rows(settings.validation, tap)
    taps_seconds = time.perf_counter() - start

    everyone = [Domain(ALL)]
    (of_all,) = train_kernels(experiment, adapter, window, validation, everyone)
    all_seconds = time.perf_counter() - start
    wanted = [domain for domain in experiment.domains if domain.conditions and (domains is None or domain.name in domains)]
    tuned = [domain for domain in wanted if len(window.domain_rows(domain))]
    trained = (
        train_kernels(experiment, adapter, window, validation, tuned, of_all if settings.warm_start == "all" else None) if tuned else []
    )
    seconds = time.perf_counter() - start

    active = []
    for domain, kernel in [(everyone[0], of_all), *zip(tuned, trained, strict=True)]:
        judged = judging_rows(validation, domain)
        if helps(compare(experiment, validation, judged, score_rows(adapter, kernel, validation, judged))):
            active.append(domain.name)
    own, shared = {}, {}
    for split in splits:
        data = bench.rows(split, tap)
        shared[split] = {ALL: score_rows(adapter, of_all, data, np.arange(len(data.logits)))}
        own[split] = shared[split] | {
            domain.name: score_rows(adapter, kernel, data, data.domain_rows(domain)) for domain, kernel in zip(tuned, trained, strict=True)
        }
    parameters = sum(int(values.size) for values in of_all.values())
    rows_of_all, rows_of_domains = len(window.logits), sum(len(window.domain_rows(domain)) for domain in tuned)
    notes = {"taps_seconds": taps_seconds}
    return {
        "": Outcome(own, parameters, (rows_of_all + rows_of_domains) * settings.epochs, seconds, active, notes),
        "all": Outcome(shared, parameters, rows_of_all * settings.epochs, all_seconds, [ALL] if ALL in active else [], notes),
    }
