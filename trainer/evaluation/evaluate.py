"""Evaluation: every domain and task, the kernel beside backbone and kernel of all traffic, with
intervals; the best reachable figures where the truth is known.
"""

import sys
from dataclasses import replace
from pathlib import Path

from configs import Experiment, InputError
from configs.domains import ALL, AUTO
from configs.files import write_json
from preprocessing.profile.data_profile import copy_profile
from trainer.backbone.frozen_pass import BackboneOutputs, Floats
from trainer.data.dataset import Dataset
from trainer.data.raw_columns import RawColumns
from trainer.evaluation.comparison import compare_with_both
from trainer.evaluation.judged_kernels import JudgedKernels
from trainer.evaluation.judged_rows import JudgedRows, TaskFigures
from trainer.evaluation.kernel_rows import KernelRows
from trainer.evaluation.mean_gain import MeanGains
from trainer.evaluation.oracle import true_probabilities
from trainer.evaluation.provenance import (
    config_digest,
    last_decision,
    seen_by_backbone,
    seen_by_kernel,
)
from trainer.evaluation.reliability import Reliability
from trainer.evaluation.segments import Segments
from trainer.job import Job
from trainer.kernels.fallback import answering_domain
from trainer.kernels.kernel import Rows
from trainer.metrics.results import DomainResult, EvaluationResult, SegmentResult
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes, names_known
from trainer.reports.text_table import describe_ancestor, describe_seen, describe_teacher


def evaluate(
    experiment: Experiment, data: Path, job: Job, split: str | None = None
) -> EvaluationResult:
    """Evaluates a split (``evaluation.split`` where None) and writes
    ``<job>/reports/metrics.json``, and beside it a copy of the dataset's profile.

    A domain's kernel is its active version, else its newest; where there is none, the kernel's
    figures are undefined. Where the split overlaps days that backbone or kernels were trained or
    judged by, a line on stderr says so.

    Returns:
      What the file holds; figures that are undefined (a slice with one class) are the string
      "undefined".

    Raises:
      InputError: no finished backbone, an unknown split, a dataset that the backbone was not
        trained for, or one that lacks a column of ``evaluation.segments``.
    """
    split = split or experiment.evaluation.split
    if split not in experiment.splits:
        raise InputError(
            f"--split: '{split}' is no split; the config has: {', '.join(experiment.splits)}"
        )
    store, trained_with = KernelStore(job), job.experiment()
    served_by = JudgedKernels.open(experiment, store)
    topics, active, kernels = served_by.topics, served_by.active, served_by.kernels
    known = names_known(store, job_routes(store, trained_with))
    named = [domain.name for domain in experiment.domains]
    decisions = store.decisions()
    gains = {name: kernels[name].measured_gain for name in active}
    source = KernelRows.open(experiment, data, job, list(kernels.values()), topics)
    dataset = source.dataset
    raw = RawColumns(dataset.folder, dataset.manifest)
    segments = Segments(raw, experiment.evaluation.segments)
    source = replace(source, dataset=dataset.keeping(segments.columns))
    rows = source.of_split(split, f"evaluate {split}")
    dataset.tell_unknown(split)

    window = experiment.splits[split]
    judged = JudgedRows(experiment, rows, kernels.get(ALL))
    domains: dict[str, DomainResult] = {}
    scores: dict[str, Floats] = {}
    means = MeanGains(experiment, rows)
    for name, domain in served_by.domains.items():
        inside = rows.domain_rows(domain)
        kernel = kernels.get(name)
        manifest = kernel.manifest if kernel else None
        logits = judged.logits(kernel, inside)
        if name in active:
            scores[name] = logits
        if name not in named:
            continue  # served, so `overall` is not right without it; but not asked for
        if kernel:
            of_all = judged.logits_of_all(inside)
            figures = compare_with_both(experiment, rows, inside, logits, of_all)
            means.add(name, inside, logits, of_all, figures)
        else:
            figures = judged.without_kernel(inside)
        domains[name] = DomainResult(
            rows=len(inside),
            active=name in active,
            served_domain=answering_domain(domain, gains) if name in known else AUTO,
            version=kernel.version if kernel else None,
            decision=last_decision(decisions.get(name), manifest),
            seen=seen_by_kernel(manifest, trained_with, window) if manifest else (),
            positives=judged.positives(inside),
            undecided=judged.undecided(inside),
            tasks=figures,
        )

    page, served = None, served_by.routed(rows, scores)
    if experiment.evaluation.page:
        page = judged.pages(served, experiment.evaluation.page, topics)
    sides = {"backbone": rows.logits, "all": judged.logits_of_all(judged.every), "kernel": served}
    present = {side: logits for side, logits in sides.items() if logits is not None}
    reliability = Reliability(experiment, rows, present)
    cut = {
        column: {
            name: _segment(experiment, rows, judged, served, inside)
            for name, inside in values.items()
        }
        for column, values in segments.of(rows.columns).items()
    }
    result = EvaluationResult(
        split=split,
        overall=judged.overall(served),
        domains=domains,
        oracle=_oracle(experiment, dataset, rows, judged),
        mean=means.results(domains),
        config=config_digest(experiment),
        backbone_seen=seen_by_backbone(trained_with, window, job.learned_before()),
        ranking=experiment.tasks.ranking,
        page=page,
        rows=len(rows.logits),
        positives=judged.positives(judged.every),
        undecided=judged.undecided(judged.every),
        segments=cut or None,
        calibration=reliability.calibration(),
        order_agreement=reliability.order_agreement(),
        compose=served_by.compose,
    )
    if page and page.scores != trained_with.ranked_by:
        print(
            "note: pages are judged by the scores of this config; the next export serves by those"
            " that the job has (trainer.task score makes them this config's)",
            file=sys.stderr,
        )
    if teacher := job.teacher():
        print(f"the backbone was {describe_teacher(teacher)}", file=sys.stderr)
    if ancestor := job.ancestor():
        print(f"the backbone {describe_ancestor(ancestor)}", file=sys.stderr)
    if line := describe_seen(result):
        print(line, file=sys.stderr)
    copy_profile(dataset.folder, dataset.manifest, job.judged_profile)
    write_json(job.reports / "metrics.json", result.to_json())
    return result


def _segment(
    experiment: Experiment,
    rows: BackboneOutputs,
    judged: JudgedRows,
    served: Floats,
    inside: Rows,
) -> SegmentResult:
    """A segment's rows as they are served beside both references, as domains are reported."""
    of_all = judged.logits_of_all(inside)
    return SegmentResult(
        rows=len(inside),
        positives=judged.positives(inside),
        undecided=judged.undecided(inside),
        tasks=compare_with_both(experiment, rows, inside, served[inside], of_all),
    )


def _oracle(
    experiment: Experiment, dataset: Dataset, rows: BackboneOutputs, judged: JudgedRows
) -> TaskFigures | None:
    """The metrics of the true probabilities: the best that any model can reach, on average. None
    where the truth is not at hand.
    """
    truth = true_probabilities(experiment, dataset, rows)
    return None if truth is None else judged.figures(truth, judged.every)
