"""The end of a refresh: what has become of the domains, a report, and the model."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from configs import Experiment
from operations.refresh.progress_file import State
from operations.refresh.summary import (
    REFUSED,
    RELEASED,
    UNCHANGED,
    DomainChange,
    Model,
    Summary,
)
from preprocessing.dataset.manifest import Manifest
from trainer.job import Job
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import memory_read

_DAY = 86_400.0


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Gives a mapping that holds the ``seconds`` of the block, once it has ended well."""
    start = time.perf_counter()
    found: dict[str, float] = {}
    yield found
    found["seconds"] = round(time.perf_counter() - start, 2)


def served_memory(job: Job) -> int | None:
    """Version of memory that the active kernels are served with; None where they do not
    remember.
    """
    memory = memory_read(KernelStore(job))
    served = MemoryStore(job).served_or_none(memory) if memory else None
    return served.version if served else None


def summarise(
    experiment: Experiment, as_of: datetime, job: Job, data: Path | None, state: State
) -> Summary:
    """What the registry says now beside what it said when the refresh began.

    Args:
      experiment: of the refresh.
      as_of: what its windows count from.
      job: whose kernels were tuned.
      data: folder of the dataset; None where none was made.
      state: where the refresh stands.
    """
    active, memory = KernelStore(job).active(), served_memory(job)
    domains = {}
    if state.reasons is not None:
        names = dict.fromkeys((*state.reasons, *state.before, *active))
        domains = {
            name: DomainChange(
                before=state.before.get(name),
                after=active.get(name),
                outcome=_outcome(state.before.get(name), active.get(name)),
                reason=state.reasons.get(name, "not tuned: pinned, or not in the config"),
            )
            for name in names
        }
    settings, trained_with = experiment.finetune, job.experiment()
    learned = max(trained_with.splits[name].end for name in trained_with.fitted_on)
    changed = active != state.before or memory != state.memory
    return Summary(
        as_of=as_of,
        outcome=RELEASED if changed else UNCHANGED,
        config=experiment.name,
        job=str(job.folder),
        data=str(data) if data else None,
        windows={
            name: (experiment.splits[name].start, experiment.splits[name].end)
            for name in (settings.split, settings.validation)
        },
        backbone=job.fingerprint()["fingerprint"],
        backbone_days=(as_of - learned).total_seconds() / _DAY,
        memory=None if memory is None and state.memory is None else (state.memory, memory),
        auc=state.auc,
        domains=domains,
        seconds=state.seconds,
    )


def with_report(
    summary: Summary, experiment: Experiment, job: Job, data: Path, manifest: Manifest
) -> Summary:
    """Judges what is served, on the split that the config names or, where the day has no such rows
    yet, on that which judges; nothing is decided by it.
    """
    from trainer.evaluation.evaluate import evaluate
    from trainer.reports.html_report import write_report

    if not KernelStore(job).domains():
        return summary
    named = experiment.evaluation.split
    split = named if manifest.splits[named].rows else experiment.finetune.validation
    with timed() as took:
        evaluate(experiment, data, job, split)
        report = write_report(job.folder)
    seconds = summary.seconds | {"report": took["seconds"]}
    return summary.model_copy(update={"report": str(report), "seconds": seconds})


def with_model(summary: Summary, job: Job, models: Path | None) -> Summary:
    """Exports where the newest version is not what the job serves.

    Args:
      summary: of the refresh so far.
      job: that is exported.
      models: base path of the model; None to export nothing.
    """
    from operations.refresh.exporting import (
        BadExportError,
        export_checked,
        is_current,
        newest_version,
    )

    if models is None:
        return summary
    if is_current(job, models):
        model = summary.model or Model(path=str(newest_version(models)), written=False)
        # what an earlier run could not export somebody has: the failure is no longer so
        mended = {"outcome": RELEASED, "reasons": ()} if summary.registry_ahead else {}
        return summary.model_copy(update={**mended, "model": model, "registry_ahead": False})
    with timed() as took:
        try:
            path = export_checked(job, models)
        except BadExportError as error:
            reason = f"the export was not released, and the registry is ahead of it: {error}"
            failed = {"outcome": REFUSED, "reasons": (reason,), "registry_ahead": True}
            return summary.model_copy(update=failed)
    seconds = summary.seconds | {"export": took["seconds"]}
    model = Model(path=str(path), written=True)
    done = {"outcome": RELEASED, "reasons": (), "model": model, "seconds": seconds}
    return summary.model_copy(update={**done, "registry_ahead": False})


def with_repair(summary: Summary, job: Job, models: Path | None) -> Summary:
    """Exports what an earlier refresh decided and could not export. The refresh at hand was refused
    and stays so: nothing of its rows is in it.

    Args:
      summary: of a refresh that was refused.
      job: that is exported.
      models: base path of the model; None to export nothing.
    """
    if models is None:
        return summary.model_copy(update={"registry_ahead": True})
    found = with_model(summary, job, models)
    if found.registry_ahead:
        notes = (*summary.notes, *found.reasons)
    elif found.model and found.model.written:
        notes = (
            *summary.notes,
            f"{found.model.path} is what an earlier refresh decided and could not export",
        )
    else:
        notes = summary.notes
    stays = {"outcome": summary.outcome, "reasons": summary.reasons}
    return found.model_copy(update={**stays, "notes": tuple(dict.fromkeys(notes))})


def _outcome(
    before: int | None, after: int | None
) -> Literal["activated", "kept", "deactivated", "off"]:
    if after is None:
        return "off" if before is None else "deactivated"
    return "kept" if after == before else "activated"
