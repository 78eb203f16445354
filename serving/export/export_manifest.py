"""Writes down what a version is made of: ``assets.extra/export.json`` traces every
``served_domain`` back to a stored kernel.

Only versions of the same backbone, experiment, code and libraries share files; what differs is
never mixed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer

from configs import Experiment, InputError
from configs.digests.code import code_digest
from configs.digests.listed_files import Listed, check_files, sha256_of
from configs.digests.sealed_json import write_sealed
from configs.section import Section, read_section
from serving.export.kernel_slots import Layout
from serving.wire.version_files import EXTRA as EXTRA
from serving.wire.version_files import RECORD
from trainer.job import COMPOSE, Job
from trainer.kernels.kernel import KernelShape
from trainer.memory.memory_store import StoredMemory
from trainer.registry.kernel_registry import StoredKernel


def _read_layout(content: Any) -> Any:
    """A layout from what ``_layout_to_json`` gave; a layout itself as it is."""
    if not isinstance(content, dict):
        return content
    try:
        shape, others = KernelShape.from_json(content["shape"]), tuple(content["others"])
        return Layout(shape, int(content["slots"]), others)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a layout: {error!r}") from None


def _layout_to_json(layout: Layout) -> dict[str, Any]:
    return {**asdict(layout), "shape": layout.shape.to_json()}


class KernelEntry(Section):
    """A kernel of a version: its slot, the stored version, and the sha256 of its arrays."""

    slot: int
    version: int
    sha256: str


class MemoryEntry(Section):
    """The memory of a version: the stored version, the refresh at which it counted, ISO 8601, and
    the keys that it has, by name.
    """

    version: int
    until: str
    keys: dict[str, int]


class FileEntry(Section):
    """A file of a version: its size in bytes and its sha256."""

    bytes: int
    sha256: str


class Record(Section):
    """What a version is made of.

    Attributes:
      sources: digest or version of all that decides what kernels do not change, by what it is of
        (``sources_of``).
      layout: what the graph is built for.
      kernels: by domain, in the order of the slots.
      memory: what they remember; None where they do not.
      scores: domain -> the expression that ranks its pages, ``all`` that of all others; empty
        where domains have none of their own.
      compose: share of the changes that kernels add up under ``auto``; None where the most specific
        domain's answers alone.
      ancestors: fingerprints of the backbones that this one went on from, the nearest first; empty
        where it began anew.
      files: every other file of the version, by name.
    """

    sources: dict[str, str]
    layout: Annotated[
        InstanceOf[Layout], BeforeValidator(_read_layout), PlainSerializer(_layout_to_json)
    ]
    kernels: dict[str, KernelEntry]
    memory: MemoryEntry | None = None
    scores: dict[str, str] = Field(default_factory=dict)
    compose: float | None = None
    ancestors: tuple[str, ...] = ()
    files: dict[str, FileEntry]

    @classmethod
    def load(cls, version: Path) -> "Record":
        """A version's record. Raises ``InputError`` where it has none or a damaged one."""
        return read_section(version / RECORD, cls)

    @classmethod
    def read(cls, version: Path) -> "Record | None":
        """A version's record; None where it has none that can be read."""
        try:
            return cls.load(version)
        except InputError:
            return None

    def write(self, version: Path) -> None:
        """Writes it into a version's folder."""
        absent = {
            name for name in ("memory", "scores", "ancestors", COMPOSE) if not getattr(self, name)
        }
        write_sealed(version / RECORD, self.model_dump(mode="json", exclude=absent))

    def unusable(self, version: Path, sources: dict[str, str]) -> str:
        """Why a new version of such sources cannot share this one's files, read from its folder;
        empty where it can. Every file is hashed: what is linked is what was written.
        """
        other = [name for name in sources if self.sources.get(name) != sources[name]]
        if other:
            return f"was made of another {', '.join(other)}"
        if "saved_model.pb" not in self.files:
            return "is damaged: saved_model.pb"
        try:
            check_files(
                (Listed(version / name, known.sha256) for name, known in self.files.items()),
                RECORD.name,
                "",
            )
        except InputError as error:
            return f"is damaged: {str(error).removeprefix(f'{version}/').partition(': ')[0]}"
        return ""


def newest(models: Path) -> Path | None:
    """Folder of the newest version; None where there is none."""
    versions = (
        [path for path in models.iterdir() if path.name.isdecimal() and path.is_dir()]
        if models.is_dir()
        else []
    )
    return max(versions, key=lambda path: int(path.name), default=None)


def sources_of(job: Job, experiment: Experiment) -> dict[str, str]:
    """What decides the graph, the weights of a job's backbone and its outputs for the golden
    rows in an export.

    Args:
      job: whose backbone it is.
      experiment: of the job, as its kernels route it.
    """
    settings = experiment.model_dump(mode="json")
    topics = list(settings.pop("topics").items())  # their order counts
    libraries = ", ".join(f"{name} {installed(name)}" for name in ("tensorflow", "keras"))
    return {
        "backbone": job.fingerprint()["fingerprint"],
        "experiment": _digest(settings),
        "set of topics": _digest(topics),
        "golden requests": sha256_of(job.golden),
        "code": code_digest(),
        "libraries": libraries,
    }


def kernels_of(kernels: Sequence[StoredKernel], slots: dict[str, int]) -> dict[str, KernelEntry]:
    """``Record.kernels`` of what is served, in the order of the slots."""
    by_domain = {kernel.domain: kernel for kernel in kernels}
    digests = {domain: hashlib.sha256() for domain in slots}
    for domain, digest in digests.items():
        for name, array in sorted(by_domain[domain].weights.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return {
        domain: KernelEntry(
            slot=slot, version=by_domain[domain].version, sha256=digests[domain].hexdigest()
        )
        for domain, slot in slots.items()
    }


def memory_entry(memory: StoredMemory | None) -> MemoryEntry | None:
    """``Record.memory`` of what is served."""
    if memory is None:
        return None
    keys = {name: len(found.hashes) for name, found in memory.counts.keys.items()}
    return MemoryEntry(version=memory.version, until=memory.until.isoformat(), keys=keys)


def files_of(
    version: Path, former: Path | None, known: dict[str, FileEntry]
) -> dict[str, FileEntry]:
    """``Record.files`` of a version's folder; what it shares with a former version has the
    digest that is known of it.
    """
    files = {}
    for path in sorted(path for path in version.rglob("*") if path.is_file()):
        name = path.relative_to(version).as_posix()
        shared = (
            former is not None
            and name in known
            and (former / name).exists()
            and path.samefile(former / name)
        )
        files[name] = (
            known[name] if shared else FileEntry(bytes=path.stat().st_size, sha256=sha256_of(path))
        )
    return files


def _digest(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
