"""What a job directory and the folder of its refreshes say, as entries; nothing of them is changed,
and no model is loaded.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from configs import InputError
from configs.files import read_json
from configs.section import read_section
from operations.mlflow_export.entry import (
    Entry,
    params_of,
    points_of,
    spelled,
    tags_of,
)
from operations.refresh.progress_file import SUMMARY
from operations.refresh.summary import Summary
from trainer.job import Job
from trainer.metrics.results import EvaluationResult
from trainer.registry.history import Event
from trainer.registry.kernel_registry import KernelStore

_TRAINED = ("seed", "as_of", "splits", "tasks", "backbone", "pretrain", "kernel", "memory")
"""Sections of an experiment that say what was trained; where logs are read from, which may hold
what opens them, is not among them."""


def job_entries(job: Job, work: Path | None, leave_out: Callable[[str], None]) -> list[Entry]:
    """Everything, the pre-training first.

    Args:
      job: with a finished backbone.
      work: folder of all refreshes; None to leave them out.
      leave_out: is given one line for each file that is damaged, which is left out.

    Raises:
      InputError: the backbone is not finished, or its files are damaged.
    """
    store, found = KernelStore(job), [pretraining(job)]

    makers: list[Callable[[], Entry]] = []
    if (path := job.reports / "metrics.json").exists():
        makers.append(partial(evaluation, path, store.fingerprint))
    for domain in store.domains():
        makers += [partial(kernel, store, domain, version) for version in store.versions(domain)]
    makers += [
        partial(refresh, path) for path in sorted(work.glob(f"*Z/{SUMMARY}") if work else ())
    ]
    for make in makers:
        try:
            found.append(make())
        except InputError as error:
            leave_out(str(error))
    return [*found, *changes(store)]


def pretraining(job: Job) -> Entry:
    """The backbone: its settings, and the course of its training by step."""
    fingerprint, experiment = job.fingerprint()["fingerprint"], job.raw_experiment()
    history = job.backbone / "history.json"
    points = [
        point
        for number, validation in enumerate(read_json(history) if history.exists() else ())
        for point in points_of(
            {name: value for name, value in validation.items() if name != "step"},
            "",
            int(validation.get("step", number)),
        )
    ]
    return Entry(
        "pretraining",
        f"{experiment['name']}: pre-training",
        fingerprint,
        _changed(job.backbone / "experiment.json"),
        _changed(job.backbone / "fingerprint.json"),
        params_of({name: experiment[name] for name in _TRAINED if name in experiment}),
        tuple(points),
        tags_of(backbone=fingerprint, job=job.folder),
    )


def evaluation(path: Path, fingerprint: str) -> Entry:
    """What ``evaluate`` found last: all rows, the mean of the domains, and each domain."""
    result = read_section(path, EvaluationResult).model_dump(mode="json")
    domains = {spelled(name): figures for name, figures in result["domains"].items()}
    parts = {"rows": result["rows"], "overall": result["overall"], "mean": result["mean"]}
    return Entry(
        "evaluation",
        f"evaluation on {result['split']}",
        [fingerprint, result],
        _changed(path),
        _changed(path),
        points=(*points_of(parts, ""), *points_of(domains, "domains")),
        tags=tags_of(backbone=fingerprint, split=result["split"], config=result["config"]),
    )


def kernel(store: KernelStore, domain: str, version: int) -> Entry:
    """A stored version: how it was tuned, and how it was judged."""
    manifest, stored = store.manifest(domain, version), store.stored_at(domain, version)
    content = manifest.model_dump(mode="json")
    figures = {name: content[name] for name in ("rows", "validation")}
    return Entry(
        "kernel",
        f"{domain}, version {version}",
        [store.fingerprint, content],
        stored,
        stored,
        params_of({name: content[name] or {} for name in ("kernel", "finetune")}),
        tuple(points_of(figures, "")),
        tags_of(
            domain=domain,
            version=version,
            backbone=manifest.backbone,
            better=manifest.activated,
            reason=manifest.reason,
            run=manifest.judges,
            windows=manifest.windows,
        ),
        note=store.card(domain, version),
    )


def changes(store: KernelStore) -> Iterator[Entry]:
    """Every line of the job's history. Equal lines of one second are told apart by their order."""
    seen: dict[str, int] = {}
    for event in store.history.events():
        text = event.model_dump_json()
        seen[text] = seen.get(text, 0) + 1
        yield _change(event, [store.fingerprint, text, seen[text]])


def _change(event: Event, identity: Any) -> Entry:
    served = "" if event.version == event.before else f": version {event.version or 'none'}"
    content = event.model_dump(mode="json", exclude={"moment"})
    return Entry(
        "change",
        f"{event.action} {event.domain}{served}",
        identity,
        event.moment,
        event.moment,
        tags=tags_of(**content | {"reason": event.reason or None}),
    )


def refresh(path: Path) -> Entry:
    """The summary of a day's refresh."""
    summary, end = read_section(path, Summary), _changed(path)
    content = summary.model_dump(mode="json")
    numbers = {name: content[name] for name in ("rejected", "backbone_days", "auc", "rows")}
    return Entry(
        "refresh",
        f"refresh as of {summary.as_of:%Y-%m-%d %H:%M}Z: {summary.outcome}",
        content,
        end - timedelta(seconds=sum(summary.seconds.values())),
        end,
        points=(
            *points_of({**numbers, "domains_changed": len(summary.changed)}, ""),
            *points_of(content["seconds"], "seconds"),
        ),
        tags=tags_of(
            as_of=summary.as_of.isoformat(),
            outcome=summary.outcome,
            reasons="; ".join(summary.reasons) or None,
            notes="; ".join(summary.notes) or None,
            changed=", ".join(summary.changed) or None,
            backbone=summary.backbone,
            memory=None if summary.memory is None else summary.memory[1],
            data=summary.data,
            model=summary.model.path if summary.model else None,
        ),
    )


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
