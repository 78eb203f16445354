"""Scores two versions of a domain's kernel on the same rows of a dataset."""

from dataclasses import replace
from pathlib import Path

from configs import Experiment, InputError
from configs.domain_definitions import merged_topics
from configs.domains import Domain
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.evaluation.comparison import compare
from trainer.evaluation.kernel_rows import KernelRows
from trainer.job import Job
from trainer.kernels.scoring import score_rows
from trainer.registry.kernel_registry import KernelStore, StoredKernel
from trainer.registry.routes import definition
from trainer.registry.version_diff import ScoredRows


def score_both(
    experiment: Experiment,
    data: Path,
    job: Job,
    split: str | None,
    domain: str,
    versions: list[int],
) -> ScoredRows:
    """Compares two versions on the rows of the domain, as the second version defines it.

    Args:
      experiment: of the dataset.
      data: folder of the dataset.
      job: the job.
      split: its rows; ``evaluation.split`` where None.
      domain: exact name.
      versions: first and second.

    Raises:
      InputError: a version is missing or damaged, the dataset is not the backbone's or does not
        hold a column of the domain's, or the split has no row of the domain.
    """
    store = KernelStore(job)
    first, second = (store.load(domain, version) for version in versions)
    memories = {first.shape.memory, second.shape.memory}
    trained = job.experiment()
    topics = merged_topics({domain: definition(second.manifest, trained)}, trained.topics)
    split = split or experiment.evaluation.split
    both = first.shape.tap == second.shape.tap and len({"", *memories}) < 3

    def passed(*kernels: StoredKernel) -> BackboneOutputs:
        title = f"{split}, version {kernels[0].version}"
        source = KernelRows.open(experiment, data, job, kernels, topics)
        return source.of_split(split, split if both else title)

    rows = passed(second, *([first] if both else []))
    rows_of_first = rows if both else passed(first)
    inside = rows.domain_rows(Domain.parse(domain, topics))
    if not len(inside):
        raise InputError(f"{data}: split '{split}' has no row of domain '{domain}'")
    reference = rows.logits.copy()
    reference[inside] = score_rows(first.shape, first.weights, rows_of_first, inside)
    scores = score_rows(second.shape, second.weights, rows, inside)
    figures = compare(experiment, replace(rows, logits=reference), inside, scores)
    return ScoredRows(data=str(data), split=split, rows=len(inside), figures=figures)
