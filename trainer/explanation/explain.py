"""Says what a job's model reads: on a split, or in one request."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domains import ALL
from configs.files import write_json
from trainer.backbone.saving import load_fitting
from trainer.data.dataset import Columns
from trainer.evaluation.judged_kernels import JudgedKernels
from trainer.evaluation.kernel_rows import KernelRows
from trainer.evaluation.provenance import config_digest
from trainer.explanation.dataset_rows import (
    USER,
    DrawnBy,
    request_places,
    sample_rows,
    split_rows,
)
from trainer.explanation.dependence import dependent_inputs
from trainer.explanation.expert_use import expert_use
from trainer.explanation.importance import PermutedInputs
from trainer.explanation.inputs import Input, inputs_of
from trainer.explanation.request import RawRows, explained_rows
from trainer.explanation.scorer import Scorer
from trainer.job import Job
from trainer.metrics.explanation_results import Importance, RequestExplanation
from trainer.registry.kernel_registry import KernelStore
from trainer.reports.explanation_page import write_explanation
from trainer.reports.html_report import write_report

RESULT = "explanation.json"
"""In the folder of reports; beside it is the page."""


def explain(
    experiment: Experiment,
    data: Path,
    job: Job,
    split: str | None = None,
    *,
    rows: int = 20_000,
    permutations: int = 3,
    output: Path | None = None,
) -> Importance:
    """Permutes every input of the model among rows of a split, and writes ``explanation.json`` and
    ``explanation.html``.

    Args:
      experiment: that names domains, and how many users are resampled.
      data: folder of the dataset.
      job: with the backbone; its active kernels serve.
      split: ``evaluation.split`` where None.
      rows: at most so many are taken, of whole users.
      permutations: of each input.
      output: folder of both files; the job's reports where None.

    Raises:
      InputError: as ``trainer.evaluation.evaluate.evaluate``; or a request has more rows.
    """
    split = split or experiment.evaluation.split
    scorer, source = _open(experiment, data, job)
    source.dataset.tell_unknown(split)
    drawn_by: DrawnBy = None

    def choose(columns: Columns) -> npt.NDArray[np.intp]:
        nonlocal drawn_by
        places, drawn_by = sample_rows(columns, rows, experiment.seed)
        return places

    taken = split_rows(source, split, choose)
    inputs, whole = _inputs(scorer), scorer.scored(taken)
    domains = {
        domain.name: scorer.kernels.domains[domain.name]
        for domain in experiment.domains
        if domain.name != ALL
    }
    trained = job.experiment()
    overall, by_domain = PermutedInputs(scorer, whole, inputs, permutations).losses(domains)
    result = Importance(
        split=split,
        config=config_digest(experiment),
        backbone=job.fingerprint()["fingerprint"],
        body=trained.backbone.body,
        of_rows=source.dataset.rows(split),
        rows=len(taken),
        users=len(np.unique(taken.columns[USER])),
        drawn_by=drawn_by,
        permutations=permutations,
        resamples=experiment.evaluation.bootstrap,
        compose=scorer.kernels.compose,
        ranking=experiment.tasks.ranking,
        inputs={one.name: one.about for one in inputs},
        overall=overall,
        domains=by_domain,
        experts=expert_use(scorer, trained, whole, domains),
        dependent=dependent_inputs(inputs, taken, experiment.seed),
    )
    folder = output or job.reports
    write_json(folder / RESULT, result.model_dump(mode="json"))
    write_explanation(folder, result)
    if output is None and (folder / "report.html").exists():
        write_report(job.folder)  # which links the page
    return result


def explain_request(
    experiment: Experiment, data: Path, job: Job, request: str, split: str | None = None
) -> RequestExplanation:
    """Explains the rows of a request of a split, with what they remembered then.

    Args:
      experiment: with the expressions of the score.
      data: folder of the dataset.
      job: with the backbone; its active kernels serve.
      request: its id as the logs have it.
      split: ``evaluation.split`` where None.

    Raises:
      InputError: the split has no row of the request; and as ``explain``.
    """
    split = split or experiment.evaluation.split
    scorer, source = _open(experiment, data, job)

    def choose(columns: Columns) -> npt.NDArray[np.intp]:
        places = request_places(experiment, request, columns)
        if not len(places):
            others = ", ".join(name for name in experiment.splits if name != split)
            raise InputError(
                f"--request {request}: no row of split '{split}' of {data} has this"
                f" {experiment.data.request}; look in another --split: {others}"
            )
        return places

    taken = split_rows(source, split, choose)
    found = explained_rows(scorer, _inputs(scorer), taken, RawRows(scorer, job))
    return _of_request(experiment, job, request=request, split=split, rows=found)


def explain_example(
    experiment: Experiment, job: Job, requests: Sequence[dict[str, Any]], where: str
) -> RequestExplanation:
    """Explains rows as a client sends them, with what is served of memory.

    Args:
      experiment: as of ``explain_request``.
      job: see there.
      requests: raw features by name; what is left out is missing.
      where: they came from; errors begin with it.

    Raises:
      InputError: a value cannot be read; and as ``explain``.
    """
    kernels = JudgedKernels.open(experiment, KernelStore(job))
    scorer = Scorer(experiment, load_fitting(job, experiment), kernels)
    raw = RawRows(scorer, job)
    found = explained_rows(scorer, _inputs(scorer), raw.of(requests, where), raw)
    return _of_request(experiment, job, request=None, split=None, rows=found)


def _of_request(experiment: Experiment, job: Job, **found: Any) -> RequestExplanation:
    return RequestExplanation(
        config=config_digest(experiment), backbone=job.fingerprint()["fingerprint"], **found
    )


def _open(experiment: Experiment, data: Path, job: Job) -> tuple[Scorer, KernelRows]:
    kernels = JudgedKernels.open(experiment, KernelStore(job))
    source = KernelRows.open(experiment, data, job, kernels.serving, kernels.topics)
    return Scorer(experiment, source.backbone, kernels), source


def _inputs(scorer: Scorer) -> list[Input]:
    return inputs_of(
        scorer.experiment,
        scorer.kernels.topics,
        scorer.memory,
        scorer.model,
        scorer.kept,
    )
