"""The model of a refresh: a new version where something that is served has changed, which appears
only once it has answered its golden requests.
"""

from pathlib import Path

from configs import InputError
from serving.export.export_manifest import Record, newest, sources_of
from serving.export.version_writer import export
from serving.server.servable_loader import load
from serving.wire.errors import StatusError
from trainer.job import Job
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes, memory_read

_DECISIVE = ("backbone", "experiment", "set of topics")
"""Of what a version is made of, what a refresh may change, or whoever trains anew; another code
alone asks for no version.
"""


class BadExportError(Exception):
    """A version does not answer as the trainer computes; it has not appeared."""


def is_current(job: Job, models: Path) -> bool:
    """Whether the newest version of a model is of this backbone, and serves the kernels and the
    memory that the job says.
    """
    former = newest(models)
    record = Record.read(former) if former else None
    if record is None:
        return False
    store = KernelStore(job)
    experiment = job_routes(store, job.experiment())
    sources, memory = sources_of(job, experiment), memory_read(store)
    remembered = MemoryStore(job).served(memory).version if memory else None
    return (
        {name: kernel.version for name, kernel in record.kernels.items()} == store.active()
        and (record.memory.version if record.memory else None) == remembered
        and all(record.sources.get(name) == sources[name] for name in _DECISIVE)
    )


def export_checked(job: Job, models: Path) -> Path:
    """Exports a job as the next version. Raises ``BadExportError`` where its files, or its answers
    to the golden requests, are not what was exported; ``InputError`` as ``serving.export`` does.
    """

    def check(version: Path) -> None:
        try:
            load(0, version).close()
        except (StatusError, RuntimeError, OSError) as error:
            raise BadExportError(" ".join(str(error).split())) from None

    return export(job, models, check=check)


def newest_version(models: Path) -> Path:
    """Folder of the newest version. Raises ``InputError`` where there is none."""
    found = newest(models)
    if found is None:
        raise InputError(f"{models}: no version")
    return found
